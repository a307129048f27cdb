"""The diffusion transformer on a flat sequence of picture tokens.

diffusers' `CosmosTransformer3DModel` stacks frames of one size along time and lets all see all. `CosmosDiT` runs the
same weights on pictures of any sizes, one after the other in one sequence, with a mask, with key-value pairs kept from
earlier calls, and with the cross-attention's keys and values computed once. For frames of one size and no mask the
numbers are those of the upstream ``forward`` (a test compares them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from diffusers import CosmosTransformer3DModel
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from duogen.models.attention import Mask, attend, biased
from duogen.models.modulations import Modulations

KeyValue = tuple[Tensor, Tensor]
"""Keys and values of one block, [B, heads, N, head_dim] each."""

CONDITION_SIGMA = 1e-4
"""The timestep that condition frames are shown at (Cosmos-Predict2.5's own near-zero)."""

PREDICTIONS = ("velocity", "sample")
SMALLEST_SIGMA = 0.05
"""Noise levels below this count as this much where a velocity is made from a clean sample."""


class Frame(NamedTuple):
    """One picture for the DiT.

    `latent` [B, C, h, w]; `time` its place among the pictures; `sigma` [B] its noise level; `condition` tells whether it is a
    clean condition frame or the picture being painted.
    """

    latent: Tensor
    time: int
    sigma: Tensor
    condition: bool


class DiTOutput(NamedTuple):
    """`velocity`: for each frame [B, C, h, w]. `kept`: each block's self-attention keys and values of these frames.

    `middle`: the tokens' states behind two thirds of the blocks, for each frame [B, tokens, width].
    """

    velocity: list[Tensor]
    kept: list[KeyValue]
    middle: Sequence[Tensor] = ()


class Uncast:
    """Tensors that aren't found by hooks which cast what a module is given: angles and targets lose too much in bfloat16."""

    def __init__(self, tensors: Any) -> None:
        self.tensors = tensors


class DiT(Protocol):
    """What the sampler needs of a diffusion transformer."""

    patch: int
    """Side of a token, in latents."""

    def context(self, vectors: Tensor) -> list[KeyValue]:
        """Each block's cross-attention keys and values of connector output [B, S, channels]."""

    def tokens_of(self, latent: Tensor) -> int:
        """How many tokens a latent [.., h, w] takes."""

    def reading(self, starts: Tensor, ends: Tensor, length: int) -> Tensor:
        """Which of `length` text tokens a picture reads, boolean [.., heads or 1, length].

        Args:
            starts, ends: [..], where a picture's last text segment begins, and one past the last token it may read.
        """

    def run_as_modules(self) -> None:
        """Has every block called as the module that it is, with this class's arithmetic inside: hooks of sharding and of other
        libraries run then. Upstream's own ``forward`` can't be used on the model any more."""

    def __call__(
        self,
        frames: Sequence[Frame],
        context: Sequence[KeyValue] | Tensor,
        cross_mask: Mask | None = None,
        self_mask: Mask | None = None,
        past: Sequence[KeyValue] | None = None,
    ) -> DiTOutput:
        """The velocity (noise - clean) of every frame.

        Args:
            context: of `context`; a batch of one is shared by all. Or what `context` is made of, [B, S, channels]: each block makes its
                own then, as in training.
            cross_mask: boolean, broadcastable to [B, 1, N, S]; or a pack's blocks.
            self_mask: boolean, broadcastable to [B, 1, N, past + N]; or a pack's blocks.
            past: keys and values of earlier frames; a batch of one is shared by all.
        """


class BlockDiT:
    """What transformers made of blocks do alike, whatever is inside of these.

    Args:
        blocks: of the model. A subclass has ``_run``: a block on hidden states [B, N, width], the text (keys and values, or what they are
            made of), the past, and whatever else it is given; returns its output, and its own keys and values.
    """

    _run: Callable[..., tuple[Tensor, KeyValue]]

    def __init__(self, model: Any, blocks: Sequence[Any]) -> None:
        self.model, self.blocks = model, blocks
        self.patch: int = model.config.patch_size[1]

    def tokens_of(self, latent: Tensor) -> int:
        return (latent.shape[-2] // self.patch) * (latent.shape[-1] // self.patch)

    def positions(self, frame: Frame) -> Tensor:
        """Time, height and width index of every token of a frame, [n, 3]."""
        sides = (torch.arange(side // self.patch, device=frame.latent.device) for side in frame.latent.shape[-2:])
        rows, columns = torch.meshgrid(*sides, indexing="ij")
        times = torch.full_like(rows, frame.time)
        return torch.stack([times, rows, columns], dim=-1).flatten(0, 1)

    def unpatchify(self, tokens: Tensor, latent: Tensor) -> Tensor:
        """Tokens [B, n, p * p * C] as a latent of that shape, [B, C, h, w]."""
        p = self.patch
        rows, columns = latent.shape[-2] // p, latent.shape[-1] // p
        tiles = tokens.unflatten(2, (p, p, -1)).unflatten(1, (rows, columns))  # B rows columns p p C
        return tiles.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    def run_as_modules(self) -> None:
        for block in self.blocks:
            block.forward = partial(self._run, block)
            block.is_ours = True

    def _through(
        self,
        hidden: Tensor,
        counts: list[int],
        context: Sequence[KeyValue] | Tensor,
        past: Sequence[KeyValue] | None,
        *given: Any,
    ) -> tuple[Tensor, list[KeyValue], Sequence[Tensor]]:
        """All blocks, one after the other: their output, their own keys and values, and `DiTOutput`'s `middle`."""
        kept: list[KeyValue] = []
        middle: Sequence[Tensor] = ()
        for number, block in enumerate(self.blocks):
            text = context if isinstance(context, Tensor) else context[number]
            call = block if getattr(block, "is_ours", False) else partial(self._run, block)
            if self.model.gradient_checkpointing and torch.is_grad_enabled():
                call = partial(checkpoint, call, use_reentrant=False)
            hidden, own = call(hidden, text, None if past is None else past[number], *given)
            kept.append(own)
            if number + 1 == -(-2 * len(self.blocks) // 3):
                middle = hidden.split(counts, dim=1)
        return hidden, kept, middle

    @staticmethod
    def _text(ends: Tensor, length: int) -> Tensor:
        """The tokens of a dialogue up to some end, boolean [.., length]."""
        return torch.arange(length, device=ends.device) < ends[..., None]

    @staticmethod
    def _behind(past: KeyValue | None, own: KeyValue) -> KeyValue:
        """Keys and values that tokens see: those of the past, which may be shared by a batch, and their own."""
        if past is None:
            return own
        key, value = (
            torch.cat([old.expand(len(new), -1, -1, -1), new], dim=2) for old, new in zip(past, own, strict=True)
        )
        return key, value

    @staticmethod
    def _heads(x: Tensor, attn: Any) -> Tensor:
        return x.unflatten(2, (attn.heads, -1)).transpose(1, 2)

    @staticmethod
    def _out(attn: Any, x: Tensor) -> Tensor:
        return attn.to_out[0](x.transpose(1, 2).flatten(2))


class CosmosDiT(BlockDiT):
    """Cosmos-Predict2.5's transformer as a `DiT` (upstream: diffusers, ``transformer_cosmos.py``).

    Args:
        prediction: what the network's output means: the ``velocity``, as in the public checkpoints, or the clean
            ``sample``, from which the velocity follows. A token of a small model can hold more numbers than the
            model is wide; noise of that many dimensions can't pass through it, a picture can.
        segment_heads: so many of the cross-attention's heads read the last text segment alone, the others all text.
            Cross-attention knows no positions, and a small MLLM's states hardly tell which sentence is the last one.
            Public checkpoints have none.
    """

    def __init__(self, model: CosmosTransformer3DModel, prediction: str = "velocity", segment_heads: int = 0) -> None:
        super().__init__(model, model.transformer_blocks)
        self.prediction, self.segment_heads = prediction, segment_heads
        self.modulations = Modulations(model, CONDITION_SIGMA)

    def reading(self, starts: Tensor, ends: Tensor, length: int) -> Tensor:
        text = self._text(ends, length)
        if not self.segment_heads:
            return text[..., None, :]
        token = torch.arange(length, device=ends.device)
        first = token == 0
        # Where there is no last segment (guidance's negative branch), the first token stands for it.
        empty = (starts >= ends)[..., None]
        segment = torch.where(empty, first, text & (token >= starts[..., None]))
        others = self.model.config.num_attention_heads - self.segment_heads
        return torch.stack([segment] * self.segment_heads + [text] * others, dim=-2)

    def context(self, vectors: Tensor) -> list[KeyValue]:
        return [self._context_of(block, vectors) for block in self.blocks]

    def _context_of(self, block: Any, vectors: Tensor) -> KeyValue:
        attn = block.attn2
        return attn.norm_k(self._heads(attn.to_k(vectors), attn)), self._heads(attn.to_v(vectors), attn)

    def __call__(
        self,
        frames: Sequence[Frame],
        context: Sequence[KeyValue] | Tensor,
        cross_mask: Mask | None = None,
        self_mask: Mask | None = None,
        past: Sequence[KeyValue] | None = None,
    ) -> DiTOutput:
        model = self.model
        counts = [self.tokens_of(frame.latent) for frame in frames]
        hidden = torch.cat([self._embed(frame) for frame in frames], dim=1)
        positions = torch.cat([self.positions(frame) for frame in frames])
        rotary, learned = Uncast(self.rotary(positions)), self.learned(positions)
        sigma = torch.stack([frame.sigma for frame in frames], dim=1)
        temb, embedded = model.time_embed(hidden, sigma.flatten())
        # Modulation is computed once a frame and spread over its tokens.
        temb, embedded = temb.unflatten(0, sigma.shape), embedded.unflatten(0, sigma.shape)
        self_bias, cross_bias = (biased(mask, _working(hidden)) for mask in (self_mask, cross_mask))

        hidden, kept, middle = self._through(
            hidden, counts, context, past, temb, embedded, counts, rotary, learned, self_bias, cross_bias
        )
        normed, _ = _modulate(model.norm_out, hidden, temb[..., : 2 * hidden.shape[-1]], embedded, counts)
        with torch.autocast(normed.device.type, enabled=False):  # a velocity divides by small noise levels
            pieces = model.proj_out(normed.to(model.proj_out.weight.dtype)).split(counts, dim=1)
        velocities = [
            self.velocity(piece, frame.latent, frame.sigma[:, None, None, None])
            for piece, frame in zip(pieces, frames, strict=True)
        ]
        return DiTOutput(velocities, kept, middle)

    def _run(
        self,
        block: Any,
        hidden: Tensor,
        context: KeyValue | Tensor,
        past: KeyValue | None,
        temb: Tensor,
        embedded: Tensor,
        counts: list[int],
        rotary: Uncast,
        learned: Tensor | None,
        self_bias: Mask | None,
        cross_bias: Mask | None,
    ) -> tuple[Tensor, KeyValue]:
        """A block's output, and its self-attention keys and values of these frames."""
        if learned is not None:
            hidden = hidden + learned
        normed, gate = _modulate(block.norm1, hidden, temb, embedded, counts)
        attn = block.attn1
        query = attn.norm_q(self._heads(attn.to_q(normed), attn))
        key = attn.norm_k(self._heads(attn.to_k(normed), attn))
        value = self._heads(attn.to_v(normed), attn)
        query = apply_rotary_emb(query, rotary.tensors, use_real_unbind_dim=-2)
        key = apply_rotary_emb(key, rotary.tensors, use_real_unbind_dim=-2)
        own = key, value
        key, value = self._behind(past, own)
        hidden = hidden + gate * self._out(attn, attend(query, key, value, self_bias))

        normed, gate = _modulate(block.norm2, hidden, temb, embedded, counts)
        attn = block.attn2
        query = attn.norm_q(self._heads(attn.to_q(normed), attn))
        text = self._context_of(block, context) if isinstance(context, Tensor) else context
        key, value = (part.expand(len(hidden), -1, -1, -1) for part in text)
        hidden = hidden + gate * self._out(attn, attend(query, key, value, cross_bias))

        normed, gate = _modulate(block.norm3, hidden, temb, embedded, counts)
        return hidden + gate * block.ff(normed), own

    # Into and out of tokens

    def _embed(self, frame: Frame) -> Tensor:
        """Tokens [B, n, width] of a frame: its latent, the condition mask, and zeros for the padding mask."""
        latent = frame.latent.unsqueeze(2)
        extra = [torch.full_like(latent[:, :1], float(frame.condition))]
        if self.model.config.concat_padding_mask:
            extra.append(torch.zeros_like(latent[:, :1]))
        return self.model.patch_embed(torch.cat([latent, *extra], dim=1)).flatten(1, 3)

    def patchify(self, latent: Tensor) -> Tensor:
        """Tokens [B, n, C * p * p] of latents [B, C, h, w]."""
        p = self.patch
        return latent.unflatten(3, (-1, p)).unflatten(2, (-1, p)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def velocity(self, answer: Tensor, latents: Tensor, sigma: Tensor) -> Tensor:
        """The velocity that an answer in tokens stands for, of latents [B, C, h, w] at noise levels [] or [B, 1, 1, 1].

        Of a predicted sample it is the way to it, bounded where hardly any noise is left.
        """
        said = self.unpatchify(answer, latents)
        return said if self.prediction == "velocity" else (latents - said) / sigma.clamp_min(SMALLEST_SIGMA)

    # Positions

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [N, head_dim] of three-axis RoPE (`CosmosRotaryPosEmbed`, any positions)."""
        rope = self.model.rope
        angles = []
        for axis, (dim, factor) in enumerate(
            ((rope.dim_t, rope.t_ntk_factor), (rope.dim_h, rope.h_ntk_factor), (rope.dim_w, rope.w_ntk_factor))
        ):
            steps = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32) / dim
            angles.append(positions[:, axis : axis + 1].float() * (10000.0 * factor) ** -steps)
        angle = torch.cat(angles * 2, dim=-1)
        return angle.cos(), angle.sin()

    def learned(self, positions: Tensor) -> Tensor | None:
        """Learned absolute positions [N, width], unit mean square (`CosmosLearnablePositionalEmbed`), if there are."""
        table = self.model.learnable_pos_embed
        if table is None:
            return None
        time, rows, columns = positions.unbind(-1)
        # Read without a call of the module, which offloading would wait for.
        tables = (each.to(positions.device) for each in (table.pos_emb_t, table.pos_emb_h, table.pos_emb_w))
        total = sum(each[index] for each, index in zip(tables, (time, rows, columns), strict=True))
        return total / (table.eps + total.square().mean(-1, keepdim=True).sqrt())


def _modulate(norm: Any, hidden: Tensor, temb: Tensor, embedded: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """Adaptive layer norm and its gate; `temb`, `embedded` are [B, frames, ..], `counts` the frames' tokens."""
    shifts = norm.linear_2(norm.linear_1(F.silu(embedded))) + temb
    if len(counts) > 1:
        # Frames of one size, as in training, are spread by an expansion, whose gradient is a plain sum.
        each = counts[0] if len(set(counts)) == 1 else torch.tensor(counts, device=shifts.device)
        shifts = shifts.repeat_interleave(each, dim=1)
    width = hidden.shape[-1]
    shift, scale, gate = shifts[..., :width], shifts[..., width : 2 * width], shifts[..., 2 * width :]
    return norm.norm(hidden) * (1 + scale) + shift, gate


def _working(hidden: Tensor) -> torch.dtype:
    """The type in which attention's scores are computed."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def appended(old: Sequence[KeyValue] | None, new: Sequence[KeyValue]) -> list[KeyValue]:
    """Each block's keys and values, the old ones first."""
    if old is None:
        return list(new)
    return [
        (torch.cat([key, new_key], dim=2), torch.cat([value, new_value], dim=2))
        for (key, value), (new_key, new_value) in zip(old, new, strict=True)
    ]


def small_cosmos(
    latent_channels: int, heads: int, head_dim: int, layers: int, text_embed_dim: int, adaln_lora_dim: int
) -> CosmosTransformer3DModel:
    """A Cosmos transformer of any size, with random weights that start as the identity (adaLN-Zero)."""
    model = CosmosTransformer3DModel(
        in_channels=latent_channels + 1,
        out_channels=latent_channels,
        num_attention_heads=heads,
        attention_head_dim=head_dim,
        num_layers=layers,
        text_embed_dim=text_embed_dim,
        adaln_lora_dim=adaln_lora_dim,
        max_size=(64, 64, 64),
        patch_size=(1, 2, 2),
        rope_scale=(1.0, 1.0, 1.0),
        concat_padding_mask=False,
        extra_pos_embed_type="learnable",
    )
    zeros = [model.time_embed.t_embedder.linear_2, model.norm_out.linear_2, model.proj_out]
    for block in model.transformer_blocks:
        zeros += [block.norm1.linear_2, block.norm2.linear_2, block.norm3.linear_2]
    for layer in zeros:
        torch.nn.init.zeros_(layer.weight)
    table = model.learnable_pos_embed
    torch.nn.init.normal_(table.pos_emb_h, std=0.5)
    torch.nn.init.normal_(table.pos_emb_w, std=0.5)
    return model
