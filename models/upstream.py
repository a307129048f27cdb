"""Qwen2.5-VL, Qwen3-VL and LLaVA-OneVision through transformers' own layers.

What differs between the families is how pictures become embeddings, and whether positions have one axis or three; their language
models take both alike. This path serves every family, and every way of keeping weights elsewhere than on the device, since each layer is
called as a module. `duogen.models.decoding` is the fast one, for Qwen2.5-VL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from transformers import (
    LlavaOnevisionForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)
from transformers.cache_utils import Cache, DynamicCache

from duogen.models.decoding import Chunk, MLLMOutput, ReadingFunction
from duogen.models.seeing import SeeingFunction

Model: TypeAlias = (
    Qwen2_5_VLForConditionalGeneration | Qwen3VLForConditionalGeneration | LlavaOnevisionForConditionalGeneration
)


class Seen(NamedTuple):
    """Pictures in a row as the language model takes them: `embeddings` [tokens, hidden], and, of Qwen3-VL, what is added to
    the states at their places behind the first layers, `deep`, [tokens, hidden] each (DeepStack, arXiv 2406.04334)."""

    embeddings: Tensor
    deep: list[Tensor]


def see(model: Model, pixels: Tensor, grids: Tensor) -> Seen:
    """Pictures through the vision encoder.

    Args:
        pixels, grids: of `DuoGenProcessor.pixels`.
    """
    inner: Any = model.model
    if isinstance(model, LlavaOnevisionForConditionalGeneration):
        config = model.config
        tower = inner.vision_tower(pixels.to(model.dtype), output_hidden_states=True)
        features = tower.hidden_states[config.vision_feature_layer]
        if config.vision_feature_select_strategy == "default":
            features = features[:, 1:]
        features = inner.multi_modal_projector(features)
        newline = inner.image_newline.to(features).expand(len(features), 1, -1)
        return Seen(torch.cat([features, newline], dim=1).flatten(0, 1), [])
    out = inner.get_image_features(pixels, grids)
    deep = getattr(out, "deepstack_features", None) or []
    return Seen(torch.cat(list(out.pooler_output)), [torch.cat(list(each)) for each in deep])


def language_inputs(
    model: Model, ids: Tensor, positions: Tensor, pixels: Tensor | None, grids: Tensor | None, order: Tensor
) -> dict[str, Any]:
    """What the language model is called with.

    Args:
        ids: [B, L]. positions: [3, B, L]. pixels, grids: of all pictures among them, in order, or None.
        order: [B, L], where tokens stand in their own dialogue; it begins anew where the next one of a packed row does.
    """
    hidden = model.get_input_embeddings()(ids)
    multimodal = not isinstance(model, LlavaOnevisionForConditionalGeneration)
    given: dict[str, Any] = {"position_ids": torch.cat([order[None], positions]) if multimodal else order}
    if pixels is not None and grids is not None:
        seen = see(model, pixels, grids)
        place = ids == model.config.image_token_id
        hidden = hidden.masked_scatter(place[..., None], seen.embeddings.to(hidden.dtype))
        if seen.deep:
            given |= {"visual_pos_masks": place, "deepstack_visual_embeds": seen.deep}
    return given | {"inputs_embeds": hidden}


class UpstreamMLLM:
    """Any of the families as an `duogen.models.mllm.MLLM`, one dialogue after the other.

    Args:
        device: where it runs; where its weights are, unless they come there layer by layer.
    """

    def __init__(self, model: Model, device: torch.device | None = None) -> None:
        self.model, self.device = model, device

    def new_cache(self, reading: ReadingFunction | None = None, seeing: SeeingFunction | None = None) -> Cache:
        return DynamicCache(config=self.model.config.get_text_config())

    @torch.no_grad()
    def extend(self, chunks: Sequence[Chunk]) -> list[MLLMOutput]:
        return [self._extend(chunk) for chunk in chunks]

    def _extend(self, chunk: Chunk) -> MLLMOutput:
        device = self.device or self.model.device
        before, count = chunk.cache.get_seq_length(), len(chunk.ids)
        pixels, grids = (None if part is None else part.to(device) for part in (chunk.pixels, chunk.grids))
        # One axis for LLaVA: its words and pictures count alike.
        order = torch.arange(before, before + count, device=device)[None]
        given = language_inputs(
            self.model, chunk.ids[None].to(device), chunk.positions[:, None].to(device), pixels, grids, order
        )
        out = self.model.model.language_model(
            **given, attention_mask=torch.ones(1, before + count, dtype=torch.long, device=device),
            past_key_values=chunk.cache, use_cache=True, output_hidden_states=True,
        )  # fmt: skip
        logits = self.model.lm_head(out.last_hidden_state[0, -1])
        return MLLMOutput(logits, torch.stack([state[0] for state in out.hidden_states[1:]], dim=1))
