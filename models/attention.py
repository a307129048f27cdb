"""Attention behind one function: xformers on CUDA where it is installed, torch's SDPA everywhere else.

While a network is exported to ONNX, plain products: of SDPA the exporter makes thrice as many operations, one of which copies all keys.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST_BIAS = 2**28
"""Numbers in a bias that is spread over all heads, at most."""


class Block(NamedTuple):
    """A document in a pack, which sees nothing of the others: where its queries stand, and the keys that they may see, [start, end).

    `mask`: boolean, broadcastable to [B, heads, queries, keys], or the bias of one; None lets all of it see all of it.
    """

    queries: tuple[int, int]
    keys: tuple[int, int]
    mask: Tensor | None


Mask = Tensor | Sequence[Block]


@cache
def _has_xformers() -> bool:
    return importlib.util.find_spec("xformers") is not None


def backend(device: torch.device | str) -> str:
    """The backend that `attend` uses for tensors on a device: ``xformers`` or ``sdpa``."""
    return "xformers" if torch.device(device).type == "cuda" and _has_xformers() else "sdpa"


def as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores for a boolean mask, True where a query sees a key: 0 there, minus infinity elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))


def biased(mask: Mask | None, dtype: torch.dtype) -> Mask | None:
    """`as_bias` of any mask."""
    if mask is None or isinstance(mask, Tensor):
        return None if mask is None else as_bias(mask, dtype)
    return [each._replace(mask=None if each.mask is None else as_bias(each.mask, dtype)) for each in mask]


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Mask | None = None) -> Tensor:
    """Softmax attention.

    A pack's blocks are attended one by one: nothing is computed of what they don't see of each other, and a block without a mask
    of its own takes the fast kernels, which know no masks.

    Args:
        query: [B, heads, N, head_dim]. key, value: [B, heads, M, head_dim].
        bias: of `as_bias`, broadcastable to [B, heads, N, M]; or blocks, whose queries are all of them, in order. None lets all see all.

    Returns:
        [B, heads, N, head_dim].
    """
    if not (bias is None or isinstance(bias, Tensor)):
        parts = [
            attend(
                query[:, :, slice(*each.queries)],
                key[:, :, slice(*each.keys)],
                value[:, :, slice(*each.keys)],
                each.mask,
            )
            for each in bias
        ]
        return torch.cat(parts, dim=2)
    if torch.compiler.is_exporting():
        return _by_products(query * query.shape[-1] ** -0.5, key, value, bias)
    # xformers wants a bias of each head's own; those of packs are too large for that.
    wide = bias is not None and query.shape[1] * bias.numel() > LARGEST_BIAS
    if backend(query.device) == "sdpa" or wide:
        if bias is not None and torch.is_autocast_enabled("cpu") and query.device.type == "cpu":
            # In bfloat16 on a CPU SDPA's masked backward takes twice as long.
            kind, scaled = torch.get_autocast_dtype("cpu"), query * query.shape[-1] ** -0.5
            return _by_products(*(part.to(kind) for part in (scaled, key, value, bias)))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    from xformers.ops import memory_efficient_attention

    if bias is not None:
        shape = (*query.shape[:3], key.shape[2])
        # xformers wants the bias' last dimension aligned in memory to eight elements.
        aligned = -(-shape[3] // 8) * 8
        bias = query.new_zeros(*shape[:3], aligned)[..., : shape[3]].copy_(bias.expand(shape))
    out = memory_efficient_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_bias=bias)
    return out.transpose(1, 2)


def _by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """`attend` as two matrix products, of queries that are scaled already."""
    scores = query @ key.transpose(-1, -2)
    return (scores if bias is None else scores + bias).softmax(-1) @ value
