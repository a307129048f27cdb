"""New text through Qwen2.5-VL's language model: of one dialogue or of many, one token of each or hundreds.

A decoding step of a small model spends three quarters of its time in what surrounds it: masks for one row, positions on three
axes that are equal, keys and values copied to be one longer. Here the new tokens of all dialogues stand in one row, so that
every weight is multiplied once, and each dialogue attends to its own cache. Weights and cache are upstream's (transformers,
``models/qwen2_5_vl``), and so are the numbers (a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.cache_utils import Cache, DynamicLayer

from duogen.models.kernels import Blocks, in_blocks, linear
from duogen.models.norms import rms_norm
from duogen.models.seeing import Eyes, SeeingFunction

ROOM = 256
"""Tokens by which a full cache grows at least."""
TABLE = 1024
"""Positions of text whose cosines and sines are worked out together, once."""
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
    """A layer of a KV cache with room behind its keys and values, so that one more token isn't a copy of all.

    Args:
        like: a tensor of the type and on the device of the keys. heads, size: theirs.
    """

    def __init__(self, like: Tensor, heads: int, size: int) -> None:
        super().__init__()
        self.rooms = [like.new_zeros(1, heads, ROOM, size) for _ in range(2)]
        self.show(0)
        self.dtype, self.device, self.is_initialized = like.dtype, like.device, True

    def make_room(self, more: int) -> None:
        """Sees to it that so many tokens can be added."""
        length, room = self.keys.shape[2], self.rooms[0].shape[2]
        if length + more > room:
            wanted = length + more + max(ROOM, length // 2)
            # Zeros: what is masked must be finite.
            self.rooms = [F.pad(each, (0, 0, 0, wanted - room)) for each in self.rooms]
            self.show(length)

    def show(self, length: int) -> None:
        """Has the keys and values be those of the first `length` tokens in the room."""
        self.keys, self.values = (room[:, :, :length] for room in self.rooms)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Adds keys and values [1, heads, n, head_dim]; returns all of them."""
        length, more = self.keys.shape[2], key_states.shape[2]
        self.make_room(more)
        for room, part in zip(self.rooms, (key_states, value_states), strict=True):
            room[:, :, length : length + more] = part
        self.show(length + more)
        return self.keys, self.values


class RoomyCache(Cache):
    """Layers of a KV cache with room, which a `ReadingFunction` fills; `waves`, the cosines and sines [room, head_dim / 2] of the tokens
    that it has filled them with."""

    def __init__(self, layers: list[RoomyLayer]) -> None:
        super().__init__(layers=layers)
        self.waves = [layers[0].rooms[0].new_zeros(0, layers[0].rooms[0].shape[-1] // 2) for _ in range(2)]

    def make_room(self, waves: Sequence[Tensor]) -> None:
        """Gets ready for tokens whose cosines and sines [n, head_dim / 2] these are."""
        length, more = self.get_seq_length(), len(waves[0])
        for layer in self.roomy:
            layer.make_room(more)
        missing = self.roomy[0].rooms[0].shape[2] - len(self.waves[0])
        if missing:
            self.waves = [F.pad(each, (0, 0, 0, missing)) for each in self.waves]
        for each, own in zip(self.waves, waves, strict=True):
            each[length : length + more] = own

    @property
    def roomy(self) -> list[RoomyLayer]:
        """The layers."""
        return cast(list[RoomyLayer], self.layers)


def new_cache(model: Qwen2_5_VLForConditionalGeneration) -> RoomyCache:
    """An empty cache of a model."""
    config = model.config.get_text_config()
    size = config.hidden_size // config.num_attention_heads
    layers: Any = model.model.language_model.layers
    return RoomyCache([RoomyLayer(each.self_attn.k_proj.weight, config.num_key_value_heads, size) for each in layers])


Product = tuple[Tensor | Blocks, Tensor | None]
"""A matrix and a bias."""


class LayerWeights(NamedTuple):
    """A decoder layer's weights; queries, keys and values, and the two halves of the gate, each in one product or in several."""

    norm: Tensor
    qkv: list[Product]
    out: Tensor | Blocks
    norm_after: Tensor
    gate_up: list[Product]
    down: Tensor | Blocks

    def in_blocks(self) -> LayerWeights:
        """The same with matrices in 8 bit."""

        def packed(weight: Tensor | Blocks) -> Blocks:
            return in_blocks(weight) if isinstance(weight, Tensor) else weight

        def all_packed(products: list[Product]) -> list[Product]:
            return [(packed(weight), bias) for weight, bias in products]

        qkv, gate_up = all_packed(self.qkv), all_packed(self.gate_up)
        return self._replace(qkv=qkv, out=packed(self.out), gate_up=gate_up, down=packed(self.down))


class Weights:
    """The language model's weights as they are now, of small models in copies, and what is done to tokens [n, hidden] alone.

    Args:
        int8: with the matrices of layers and head in 8 bit, for export.
    """

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, int8: bool = False) -> None:
        config = model.config.get_text_config()
        text = model.model.language_model
        self.eps = config.rms_norm_eps
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = config.hidden_size // self.heads
        self.embedding, self.norm = text.embed_tokens.weight, text.norm.weight
        head: Tensor = model.lm_head.weight
        self._head, self._head_bias = in_blocks(head.detach()) if int8 else head, model.lm_head.bias
        copied = sum(weight.numel() for weight in text.parameters()) <= LARGEST_COPY
        self.layers = [_layer(layer, copied) for layer in text.layers]
        if int8:
            self.layers = [layer.in_blocks() for layer in self.layers]
        self._frequencies = text.rotary_emb.inv_freq.float()
        self._scale = float(text.rotary_emb.attention_scaling)
        # Which of the three positions turns which pair of channels.
        sections = torch.tensor(config.rope_parameters["mrope_section"])
        self._axes = torch.arange(3).repeat_interleave(sections).to(self._frequencies.device)

    @cached_property
    def _of_text(self) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the first positions of text, which are the same on all axes."""
        return self._half_waves(torch.arange(TABLE).expand(3, -1))

    def half_waves(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [n, head_dim / 2] of positions [3, n], which lie in the host's memory."""
        if positions.shape[1] == 1:
            time, row, column = positions[:, 0].tolist()
            if time == row == column < TABLE:
                cosine, sine = self._of_text
                return cosine[time : time + 1], sine[time : time + 1]
        return self._half_waves(positions)

    def _half_waves(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        angle = positions.to(self._axes.device)[self._axes].T * self._frequencies
        cosine, sine = ((wave * self._scale).to(self.embedding.dtype) for wave in (angle.cos(), angle.sin()))
        return cosine, sine

    def waves(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The same for both halves, [n, 1, head_dim]; of the first half the sines with a minus."""
        cosine, sine = self.half_waves(positions)
        return torch.cat([cosine, cosine], dim=-1).unsqueeze(1), torch.cat([-sine, sine], dim=-1).unsqueeze(1)

    def split(self, hidden: Tensor, layer: LayerWeights, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [n, heads, head_dim], keys and values [n, kv_heads, head_dim] of a layer."""
        heads = project(rms_norm(hidden, layer.norm, self.eps), layer.qkv).unflatten(-1, (-1, self.size))
        turned, values = heads[:, : -self.kv_heads], heads[:, -self.kv_heads :]
        real, imaginary = turned.chunk(2, dim=-1)
        turned = turned * cosine + torch.cat([imaginary, real], dim=-1) * sine
        return turned[:, : self.heads], turned[:, self.heads :], values

    def join(self, hidden: Tensor, layer: LayerWeights, mixed: Tensor) -> Tensor:
        """The layer's output, of its input and what attention has mixed, [.., heads * head_dim]."""
        hidden = hidden + linear(mixed, layer.out)
        gate, up = project(rms_norm(hidden, layer.norm_after, self.eps), layer.gate_up).chunk(2, dim=-1)
        return hidden + linear(F.silu(gate) * up, layer.down)

    def logits(self, state: Tensor) -> Tensor:
        """[.., vocabulary], of the last layer's states."""
        return linear(state, self._head, self._head_bias)

    def finish(self, hidden: Tensor) -> Tensor:
        return rms_norm(hidden, self.norm, self.eps)


class ReadingFunction(Protocol):
    """The language model on new tokens of one dialogue; `duogen.models.reading` is what is exported of it."""

    def __call__(
        self, hidden: Tensor, total: int, waves: Sequence[Tensor], keys: list[Tensor], values: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The decoder layers on tokens [n, hidden], the last of `total`.

        Args:
            waves: cosines and sines [room, head_dim / 2] of the tokens.
            keys, values: of each layer, [1, kv_heads, room, head_dim]; those of the new tokens are put in their places.

        Returns:
            Logits [vocabulary] after the last token, and states [n, layers, hidden].
        """


class PackedDecoder:
    """The language model over new tokens of any number of dialogues.

    Holds the weights as they are now, of small models in copies; those of a model that is trained on or moved go stale.

    Args:
        reading: runs a chunk that comes alone. seeing: runs the vision encoder. Without them torch runs all.
    """

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        reading: ReadingFunction | None = None,
        seeing: SeeingFunction | None = None,
    ) -> None:
        self.model, self.reading, self.eyes = model, reading, Eyes(model, seeing)
        self.weights = Weights(model)

    @torch.no_grad()
    def __call__(self, chunks: Sequence[Chunk]) -> list[MLLMOutput]:
        """Runs the chunks and adds each to its own cache."""
        w, device = self.weights, self.weights.embedding.device
        hidden = self._embed(chunks, device)
        if self.reading is not None and len(chunks) == 1:
            return [self._read(self.reading, chunks[0], hidden)]
        counts = [len(chunk.ids) for chunk in chunks]
        cosine, sine = w.waves(torch.cat([chunk.positions for chunk in chunks], dim=1))
        masks = [_mask(chunk, device) for chunk in chunks]
        states = []
        for number, layer in enumerate(w.layers):
            parts = [part.split(counts) for part in w.split(hidden, layer, cosine, sine)]
            mixed = []
            for chunk, mask, query, key, value in zip(chunks, masks, *parts, strict=True):
                query, key, value = (part.transpose(0, 1)[None] for part in (query, key, value))
                all_keys, all_values = chunk.cache.update(key, value, number)
                mixed.append(
                    F.scaled_dot_product_attention(
                        query, all_keys, all_values, mask, is_causal=mask is None and query.shape[2] > 1,
                        enable_gqa=w.kv_heads != w.heads,
                    )[0].transpose(0, 1)
                )  # fmt: skip
            hidden = w.join(hidden, layer, (torch.cat(mixed) if len(mixed) > 1 else mixed[0]).flatten(1))
            states.append(hidden)
        states[-1] = w.finish(hidden)
        last = torch.tensor(counts).cumsum(0) - 1
        logits = w.logits(states[-1][last.to(device)])
        return list(map(MLLMOutput, logits, torch.stack(states, dim=1).split(counts)))

    def _read(self, reading: ReadingFunction, chunk: Chunk, hidden: Tensor) -> MLLMOutput:
        """A chunk that comes alone, through `reading`."""
        cache, total = cast(RoomyCache, chunk.cache), chunk.cache.get_seq_length() + len(hidden)
        cache.make_room(self.weights.half_waves(chunk.positions))
        keys, values = ([layer.rooms[which] for layer in cache.roomy] for which in (0, 1))
        logits, states = reading(hidden, total, cache.waves, keys, values)
        for layer in cache.roomy:
            layer.show(total)
        return MLLMOutput(logits, states)

    def _embed(self, chunks: Sequence[Chunk], device: torch.device) -> Tensor:
        """Words and pictures as the first layer takes them, [tokens, hidden]."""
        ids = torch.cat([chunk.ids for chunk in chunks]).to(device)
        hidden = F.embedding(ids, self.weights.embedding)
        shown = [
            (chunk.pixels, chunk.grids) for chunk in chunks if chunk.pixels is not None and chunk.grids is not None
        ]
        if shown:
            pixels, grids = (torch.cat(parts).to(device) for parts in zip(*shown, strict=True))
            hidden[ids == self.model.config.image_token_id] = self.eyes(pixels, grids).to(hidden.dtype)
        return hidden


def project(x: Tensor, weights: list[Product]) -> Tensor:
    """One product, or several side by side."""
    parts = [linear(x, weight, bias) for weight, bias in weights]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _mask(chunk: Chunk, device: torch.device) -> Tensor | None:
    """What new tokens see where neither all nor a plain triangle is right: those of a chunk behind cached ones."""
    before, count = chunk.cache.get_seq_length(), len(chunk.ids)
    if count == 1 or before == 0:
        return None
    return torch.ones(count, before + count, dtype=torch.bool, device=device).tril(before)


def _layer(layer: Any, copied: bool) -> LayerWeights:
    attention, mlp = layer.self_attn, layer.mlp
    three, two = (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)
    qkv: list[Product] = [(part.weight, part.bias) for part in three]
    gate_up: list[Product] = [(part.weight, None) for part in two]
    if copied:
        qkv = [(torch.cat([part.weight for part in three]), torch.cat([part.bias for part in three]))]
        gate_up = [(torch.cat([part.weight for part in two]), None)]
    return LayerWeights(
        norm=layer.input_layernorm.weight,
        qkv=qkv,
        out=attention.o_proj.weight,
        norm_after=layer.post_attention_layernorm.weight,
        gate_up=gate_up,
        down=mlp.down_proj.weight,
    )
