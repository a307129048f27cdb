"""The multimodal language model behind a small interface: tokens in; logits and every layer's hidden states out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.cache_utils import Cache

from duogen.models.decoding import Chunk, MLLMOutput, PackedDecoder, ReadingFunction, new_cache
from duogen.models.processor import (
    END_OF_TEXT,
    IM_END,
    IMAGE_PAD,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
    DuoGenProcessor,
)
from duogen.models.seeing import SeeingFunction
from duogen.models.upstream import Model, UpstreamMLLM, language_inputs


class MLLM(Protocol):
    """What the session needs of a multimodal language model."""

    def new_cache(self, reading: ReadingFunction | None = None, seeing: SeeingFunction | None = None) -> Cache:
        """An empty KV cache.

        Args:
            reading, seeing: what runs chunks that come alone, and the vision encoder, from now on; torch, where they are None.
        """

    def extend(self, chunks: Sequence[Chunk]) -> list[MLLMOutput]:
        """Runs new tokens of one or more dialogues on top of their caches and adds them to these."""


class QwenVL:
    """Qwen2.5-VL as an `MLLM` (upstream: transformers, ``models/qwen2_5_vl``)."""

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        self.model = model
        self._decoder: Callable[[Sequence[Chunk]], list[MLLMOutput]] | None = None

    def new_cache(self, reading: ReadingFunction | None = None, seeing: SeeingFunction | None = None) -> Cache:
        self._decoder = PackedDecoder(self.model, reading, seeing)  # the weights may have moved since the last dialogue
        return new_cache(self.model)

    def extend(self, chunks: Sequence[Chunk]) -> list[MLLMOutput]:
        if self._decoder is None:
            raise RuntimeError("chunks need a cache of new_cache")
        return self._decoder(chunks)


def language_of(model: Model, plain: bool = False, device: torch.device | None = None) -> MLLM:
    """The fastest way there is to run a model; with `plain`, one that calls every layer as a module, on `device`."""
    fast = isinstance(model, Qwen2_5_VLForConditionalGeneration) and not plain
    return QwenVL(model) if fast else UpstreamMLLM(model, device)


def batch_states(
    model: Model,
    ids: Tensor,
    positions: Tensor,
    pixels: Tensor | None,
    grids: Tensor | None,
    order: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A training batch through the MLLM at once, on the model's device.

    Args:
        ids: [B, L], right-padded. positions: [3, B, L]. pixels, grids: of all pictures of the batch, in order.
        order: [B, L], where each token stands in its dialogue, of rows in which several dialogues follow one another. None of
            them sees another then. Without it a row is one dialogue.

    Returns:
        The last layer's states [B, L, hidden], all layers' states [B, L, layers, hidden], and the embeddings of words and
        pictures [B, L, hidden] that went in. Padding is not masked: it stands to the right, where causal attention never
        looks.
    """
    device = model.device
    pixels, grids = (None if part is None else part.to(device) for part in (pixels, grids))
    whole = torch.arange(ids.shape[1], device=device).expand(ids.shape)
    own = whole if order is None else order.to(device)
    given = language_inputs(model, ids.to(device), positions.to(device), pixels, grids, own)
    # Upstream finds the bounds of packed dialogues where positions begin anew, if it is told of no mask.
    mask = torch.ones_like(whole) if order is None else None
    out = model.model.language_model(**given, attention_mask=mask, output_hidden_states=True, use_cache=False)
    return out.last_hidden_state, torch.stack(out.hidden_states[1:], dim=2), given["inputs_embeds"]


def small_qwen(
    processor: DuoGenProcessor,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    vision_hidden: int,
    vision_layers: int,
) -> Qwen2_5_VLForConditionalGeneration:
    """A Qwen2.5-VL of any size with random weights, for the default model and for tests."""
    sections = hidden // heads // 2
    images = processor.image_processor
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocabulary(processor),
            "hidden_size": hidden,
            "intermediate_size": hidden * 8 // 3 // 32 * 32,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [sections - 2 * (sections * 3 // 8), sections * 3 // 8, sections * 3 // 8],
            },
            "bos_token_id": processor.id(END_OF_TEXT),
            "eos_token_id": processor.id(IM_END),
            "pad_token_id": processor.id(END_OF_TEXT),
            "tie_word_embeddings": True,
            "initializer_range": hidden**-0.5,
        },
        vision_config={
            "depth": vision_layers,
            "hidden_size": vision_hidden,
            "intermediate_size": vision_hidden * 2,
            "num_heads": vision_hidden // 32,
            "patch_size": images.patch_size,
            "spatial_merge_size": images.merge_size,
            "temporal_patch_size": images.temporal_patch_size,
            "out_hidden_size": hidden,
            "fullatt_block_indexes": list(range(vision_layers)),
            "window_size": 8 * images.patch_size,
            "initializer_range": vision_hidden**-0.5,
        },
        **token_ids(processor),
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def vocabulary(processor: DuoGenProcessor) -> int:
    """The number of embeddings for a tokenizer: its tokens, rounded up to a multiple of 64."""
    return -(-len(processor.tokenizer) // 64) * 64


def token_ids(processor: DuoGenProcessor) -> dict[str, int]:
    """The marks around and for pictures, as a model's config names them."""
    return {
        "image_token_id": processor.id(IMAGE_PAD),
        "video_token_id": processor.id(VIDEO_PAD),
        "vision_start_token_id": processor.id(VISION_START),
        "vision_end_token_id": processor.id(VISION_END),
    }
