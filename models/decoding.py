"""New text through Qwen2.5-VL's language model: of one dialogue or of many, one token of each or hundreds.

A decoding step of a small model spends three quarters of its time in what surrounds it: masks for one row, positions on three
axes that are equal, keys and values copied to be one longer. Here the new tokens of all dialogues stand in one row, so that
every weight is multiplied once, and each dialogue attends to its own cache. Weights and cache are upstream's (transformers,
``models/qwen2_5_vl``), and so are the numbers (a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 256
"""Tokens by which a full cache grows at least."""
LARGEST_COPY = 2**28
"""Models of up to so many parameters have weights that are used together copied into one."""


class Chunk(NamedTuple):
    """New tokens of one dialogue: `ids` [L], their multimodal RoPE `positions` [3, L], and the cache that they are added to.

    `pixels` and `grids` are the patches and grids of the pictures among them, or None.
    """

    ids: Tensor
    positions: Tensor
    cache: Cache
    pixels: Tensor | None = None
    grids: Tensor | None = None


class MLLMOutput(NamedTuple):
    """`logits` [vocabulary] after the last token; `states` [L, layers, hidden], after each decoder layer."""

    logits: Tensor
    states: Tensor


class RoomyLayer(DynamicLayer):
    """A layer of a KV cache with room behind its keys and values, so that one more token isn't a copy of all."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Adds keys and values [B, heads, n, head_dim]; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
            self._room = [part.new_empty(0) for part in (key_states, value_states)]
        length, more = self.keys.shape[2], key_states.shape[2]
        if self._room[0].numel() == 0 or length + more > self._room[0].shape[2]:
            size = length + more + max(ROOM, length // 2)
            for index, part in enumerate((self.keys, self.values)):
                grown = part.new_empty(*part.shape[:2], size, part.shape[3])
                grown[:, :, :length] = part
                self._room[index] = grown
        for room, part in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, length : length + more] = part
        self.keys, self.values = (room[:, :, : length + more] for room in self._room)
        return self.keys, self.values


def new_cache(model: Qwen2_5_VLForConditionalGeneration) -> Cache:
    """An empty cache of a model."""
    return Cache(layers=[RoomyLayer() for _ in range(model.config.get_text_config().num_hidden_layers)])


class _Layer(NamedTuple):
    """A decoder layer's weights; queries, keys and values, and the two halves of the gate, each in one product or in several."""

    norm: Tensor
    qkv: list[tuple[Tensor, Tensor | None]]
    out: Tensor
    norm_after: Tensor
    gate_up: list[tuple[Tensor, Tensor | None]]
    down: Tensor


class PackedDecoder:
    """The language model over new tokens of any number of dialogues.

    Holds the weights as they are now, of small models in copies; those of a model that is trained on or moved go stale.
    """

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        config = model.config.get_text_config()
        text = model.model.language_model
        self.model, self._eps = model, config.rms_norm_eps
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._size = config.hidden_size // self._heads
        self._embedding, self._norm = text.embed_tokens.weight, text.norm.weight
        copied = sum(weight.numel() for weight in text.parameters()) <= LARGEST_COPY
        self._layers = [_layer(layer, copied) for layer in text.layers]
        self._frequencies = text.rotary_emb.inv_freq.float()
        self._scale = float(text.rotary_emb.attention_scaling)
        # Which of the three positions turns which pair of channels.
        sections = torch.tensor(config.rope_parameters["mrope_section"])
        self._axes = torch.arange(3).repeat_interleave(sections).to(self._frequencies.device)

    @torch.no_grad()
    def __call__(self, chunks: Sequence[Chunk]) -> list[MLLMOutput]:
        """Runs the chunks and adds each to its own cache."""
        device = self._embedding.device
        counts = [len(chunk.ids) for chunk in chunks]
        hidden = self._embed(chunks, device)
        positions = torch.cat([chunk.positions for chunk in chunks], dim=1).to(device)
        angle = positions[self._axes].T * self._frequencies
        angle = torch.cat([angle, angle], dim=-1).unsqueeze(1)
        cosine, sine = ((wave * self._scale).to(hidden.dtype) for wave in (angle.cos(), angle.sin()))
        masks = [_mask(chunk, device) for chunk in chunks]
        grouped = self._kv_heads != self._heads
        states = []
        for number, layer in enumerate(self._layers):
            normed = F.rms_norm(hidden, hidden.shape[-1:], layer.norm, self._eps)
            heads = _project(normed, layer.qkv).unflatten(-1, (-1, self._size))  # tokens, heads, size
            turned, values = heads[:, : -self._kv_heads], heads[:, -self._kv_heads :]
            real, imaginary = turned.chunk(2, dim=-1)
            turned = turned * cosine + torch.cat([-imaginary, real], dim=-1) * sine
            mixed = []
            for chunk, mask, query, value in zip(
                chunks, masks, turned.split(counts), values.split(counts), strict=True
            ):
                query, value = query.transpose(0, 1)[None], value.transpose(0, 1)[None]
                all_keys, all_values = chunk.cache.update(query[:, self._heads :], value, number)
                mixed.append(
                    F.scaled_dot_product_attention(
                        query[:, : self._heads], all_keys, all_values, mask, is_causal=mask is None and query.shape[2] > 1,
                        enable_gqa=grouped,
                    )[0].transpose(0, 1)
                )  # fmt: skip
            hidden = hidden + F.linear((torch.cat(mixed) if len(mixed) > 1 else mixed[0]).flatten(1), layer.out)
            normed = F.rms_norm(hidden, hidden.shape[-1:], layer.norm_after, self._eps)
            gate, up = _project(normed, layer.gate_up).chunk(2, dim=-1)
            hidden = hidden + F.linear(F.silu(gate) * up, layer.down)
            states.append(hidden)
        states[-1] = F.rms_norm(hidden, hidden.shape[-1:], self._norm, self._eps)
        last = torch.tensor(counts).cumsum(0) - 1
        logits = self.model.lm_head(states[-1][last.to(device)])
        return list(map(MLLMOutput, logits, torch.stack(states, dim=1).split(counts)))

    def _embed(self, chunks: Sequence[Chunk], device: torch.device) -> Tensor:
        """Words and pictures as the first layer takes them, [tokens, hidden]."""
        ids = torch.cat([chunk.ids for chunk in chunks]).to(device)
        hidden = F.embedding(ids, self._embedding)
        shown = [
            (chunk.pixels, chunk.grids) for chunk in chunks if chunk.pixels is not None and chunk.grids is not None
        ]
        if shown:
            pixels, grids = (torch.cat(parts).to(device) for parts in zip(*shown, strict=True))
            pictures = torch.cat(self.model.model.get_image_features(pixels, grids).pooler_output)
            hidden[ids == self.model.config.image_token_id] = pictures.to(hidden.dtype)
        return hidden


def _project(x: Tensor, weights: list[tuple[Tensor, Tensor | None]]) -> Tensor:
    parts = [F.linear(x, weight, bias) for weight, bias in weights]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _mask(chunk: Chunk, device: torch.device) -> Tensor | None:
    """What new tokens see where neither all nor a plain triangle is right: those of a chunk behind cached ones."""
    before, count = chunk.cache.get_seq_length(), len(chunk.ids)
    if count == 1 or before == 0:
        return None
    return torch.ones(count, before + count, dtype=torch.bool, device=device).tril(before)


def _layer(layer: Any, copied: bool) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv = [(part.weight, part.bias) for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
    gate_up: list[tuple[Tensor, Tensor | None]] = [(mlp.gate_proj.weight, None), (mlp.up_proj.weight, None)]
    if copied:
        qkv = [(torch.cat([weight for weight, _ in qkv]), torch.cat([bias for _, bias in qkv]))]
        gate_up = [(torch.cat([weight for weight, _ in gate_up]), None)]
    return _Layer(
        norm=layer.input_layernorm.weight,
        qkv=qkv,
        out=attention.o_proj.weight,
        norm_after=layer.post_attention_layernorm.weight,
        gate_up=gate_up,
        down=mlp.down_proj.weight,
    )
