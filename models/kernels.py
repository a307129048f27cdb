"""Operators that onnxruntime has beyond the ONNX standard, for networks while they are exported.

One of them stands for ten or twenty of the standard's, each of which costs a small network as much time for being started as for its
work. (onnxruntime, ``docs/ContribOperators.md``.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

DOMAIN = "com.microsoft"
BLOCK = 32
"""Numbers of a row of `Blocks` that have one scale."""


def grouped_query_attention(
    packed: Tensor, past: tuple[Tensor, Tensor], last: Tensor, total: Tensor, waves: Sequence[Tensor], heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention with rotary positions, behind a cache that may be written in place.

    Args:
        packed: [1, n, (heads + 2 kv_heads) * head_dim], queries, keys and values of new tokens.
        past: keys and values [1, kv_heads, room, head_dim], `total` - n of them in use.
        last, total: int32 [1], the last token's index, and how many tokens there are then.
        waves: cosines and sines [at least total, head_dim / 2] of all tokens.

    Returns:
        [1, n, heads * head_dim], and the keys and values, with the new ones in their places.
    """
    keys, values = past
    _, kv_heads, _, size = keys.shape
    attributes: dict[str, Any] = {"num_heads": heads, "kv_num_heads": kv_heads, "do_rotary": 1}
    mixed, keys, values = torch.onnx.ops.symbolic_multi_out(
        f"{DOMAIN}::GroupQueryAttention", (packed, None, None, keys, values, last, total, *waves), attributes,
        dtypes=[packed.dtype] * 3, shapes=[(*packed.shape[:2], heads * size), keys.shape, values.shape], version=1,
    )  # fmt: skip
    return mixed, keys, values


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Attention to keys and values.

    Args:
        query: [P, N, heads * head_dim]. key, value: the same of M tokens, or [P, heads, M, head_dim].
        mask: int32 [P, M], 1 for what is seen; None where all is.

    Returns:
        [P, N, heads * head_dim].
    """
    mixed: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::MultiHeadAttention", (query, key, value, None, mask), {"num_heads": heads},
        dtype=query.dtype, shape=query.shape, version=1,
    )  # fmt: skip
    return mixed


def rotated(x: Tensor, order: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions: tokens [P, N, heads * head_dim], each half of a head turned by the other.

    Args:
        order: int64 [P, N], which row each token is turned by. cosines, sines: [.., rows, head_dim / 2].
    """
    waves = (wave.flatten(0, -2) for wave in (cosines, sines))
    turned: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::RotaryEmbedding", (x, order, *waves), dtype=x.dtype, shape=x.shape, version=1
    )
    return turned


def written(room: Tensor, part: Tensor, places: Tensor) -> Tensor:
    """What `room` [P, heads, M, head_dim] is with `part` [P, N, heads, head_dim] put into it; in place where it is bound to the same memory.

    Args:
        places: int64 [P, N, heads, 3], where each head's values go in the room.
    """
    put: Tensor = torch.onnx.ops.symbolic("ScatterND", (room, places, part), dtype=room.dtype, shape=room.shape)
    return put


class Blocks(NamedTuple):
    """A matrix [N, K] in 8 bit: `packed` uint8 [N, K / BLOCK, BLOCK], 128 where it is 0, and `scales` [N, K / BLOCK]."""

    packed: Tensor
    scales: Tensor
    columns: int


def in_blocks(weight: Tensor) -> Blocks:
    """A matrix [N, K], rounded to 8 bit; the largest number of each block stays as it is."""
    padded = F.pad(weight, (0, -weight.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
    scales = (padded.abs().amax(-1) / 127).clamp_min(torch.finfo(weight.dtype).tiny)
    packed = (padded / scales.unsqueeze(-1)).round().add(128).to(torch.uint8)
    return Blocks(packed, scales, weight.shape[1])


def linear(x: Tensor, weight: Tensor | Blocks, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, of a matrix of either kind; by `Blocks`, `x` is rounded to 8 bit, too."""
    if isinstance(weight, Tensor):
        return F.linear(x, weight, bias)
    rows = len(weight.packed)
    attributes: dict[str, Any] = {"K": weight.columns, "N": rows, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    product: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::MatMulNBits", (x, weight.packed, weight.scales), attributes,
        dtype=x.dtype, shape=(*x.shape[:-1], rows), version=1,
    )  # fmt: skip
    return product if bias is None else product + bias
