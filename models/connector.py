"""The connector: all hidden states of a token become one vector that the DiT can read.

Each decoder layer's state is normalised over its channels, all layers are concatenated, and one projection follows
(paper, section 3; the normalisation is Cosmos-Predict2.5's own). The projection has the form and names of that
checkpoint's ``crossattn_proj``, which is its natural start.
"""

from __future__ import annotations

from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn


class Connector(ModelMixin, ConfigMixin):
    """Hidden states [B, S, layers, hidden] -> cross-attention input [B, S, out_channels].

    Args:
        in_channels: layers x hidden of the MLLM.
        out_channels: the DiT's ``text_embed_dim``.
    """

    @register_to_config
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.crossattn_proj = nn.Sequential(nn.Linear(in_channels, out_channels), nn.GELU())

    def forward(self, states: Tensor) -> Tensor:
        mean = states.mean(-1, keepdim=True)
        normalised = (states - mean) / (states.std(-1, keepdim=True) + 1e-8)
        return self.crossattn_proj(normalised.flatten(2))
