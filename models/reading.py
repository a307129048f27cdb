"""New tokens of one dialogue through the language model, as it is exported to ONNX: the cache is written in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from duogen.models.decoding import Weights, project
from duogen.models.kernels import grouped_query_attention
from duogen.models.norms import rms_norm


class Reading(nn.Module):
    """A `ReadingFunction` for export; outside of one there is nothing to run it.

    Args:
        int8: with matrices in 8 bit, of which a single token reads a quarter of the bytes.
    """

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, int8: bool = False) -> None:
        super().__init__()
        self.weights = Weights(model, int8)

    def forward(
        self, hidden: Tensor, total: Tensor, waves: Sequence[Tensor], past_keys: list[Tensor], past_values: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """As `ReadingFunction`, with `total` int32 [1].

        Returns:
            Logits, states, and each layer's keys and values with the new ones among them; bound to where the past lies, nothing of it is
            copied.
        """
        w, states = self.weights, []
        keys, values = list(past_keys), list(past_values)
        hidden = hidden.unsqueeze(0)
        last = total - 1
        for number, layer in enumerate(w.layers):
            packed = project(rms_norm(hidden, layer.norm, w.eps), layer.qkv)
            past = (keys[number], values[number])
            mixed, keys[number], values[number] = grouped_query_attention(packed, past, last, total, waves, w.heads)
            hidden = w.join(hidden, layer, mixed)
            states.append(hidden)
        states[-1] = w.finish(hidden)
        together = torch.cat(states, dim=-1).squeeze(0).unflatten(-1, (len(states), -1))
        return w.logits(states[-1][0, -1]), together, keys, values
