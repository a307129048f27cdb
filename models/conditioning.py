"""From the MLLM's hidden states to what the DiT's cross-attention reads, as it is exported to ONNX: the connector, and all blocks'
keys and values in one product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duogen.models.connector import Connector
from duogen.models.dit import CosmosDiT
from duogen.models.norms import rms_norm


class Conditioning(nn.Module):
    """A `Connector` and `CosmosDiT.context`."""

    def __init__(self, connector: Connector, dit: CosmosDiT) -> None:
        super().__init__()
        self.connector = connector
        attentions: list[Any] = [block.attn2 for block in dit.blocks]
        self.heads, self.eps = attentions[0].heads, attentions[0].norm_k.eps
        self.weight = torch.cat([a.to_k.weight for a in attentions] + [a.to_v.weight for a in attentions]).detach()
        self.norms = torch.stack([a.norm_k.weight for a in attentions]).detach()[:, None, None, None]
        self.ones = torch.ones_like(attentions[0].norm_k.weight)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [L, 1, heads, S, head_dim] of hidden states [1, S, layers, hidden]."""
        flat = F.linear(self.connector(states), self.weight)
        keys, values = flat.unflatten(-1, (2, len(self.norms), self.heads, -1)).permute(2, 3, 0, 4, 1, 5).unbind(0)
        return rms_norm(keys, self.ones, self.eps) * self.norms, values
