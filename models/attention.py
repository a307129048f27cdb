"""Attention behind one function: xformers on CUDA where it is installed, torch's SDPA everywhere else."""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


@cache
def _has_xformers() -> bool:
    return importlib.util.find_spec("xformers") is not None


def backend(device: torch.device | str) -> str:
    """The backend that `attend` uses for tensors on a device: ``xformers`` or ``sdpa``."""
    return "xformers" if torch.device(device).type == "cuda" and _has_xformers() else "sdpa"


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention.

    Args:
        query: [B, heads, N, head_dim]. key, value: [B, heads, M, head_dim].
        mask: boolean, broadcastable to [B, heads, N, M]; True lets a query see a key. None lets all see all.

    Returns:
        [B, heads, N, head_dim].
    """
    if backend(query.device) == "sdpa":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    from xformers.ops import memory_efficient_attention

    bias = None
    if mask is not None:
        shape = (*query.shape[:3], key.shape[2])
        # xformers wants the bias' last dimension aligned in memory to eight elements.
        aligned = -(-shape[3] // 8) * 8
        bias = query.new_zeros(*shape[:3], aligned)[..., : shape[3]]
        bias.masked_fill_(~mask.expand(shape), float("-inf"))
    out = memory_efficient_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_bias=bias)
    return out.transpose(1, 2)
