"""Wan's video transformer as a `DiT`: Wan 2.1, and what of Wan 2.2 is one network (upstream: diffusers, ``transformer_wan.py``).

Earlier pictures condition the new one in the way that each kind of checkpoint knows:

* text-to-video networks (as many channels in as out): in Wan 2.2 TI2V's way, as clean frames whose tokens have the timestep 0, while
  the new picture's have its own;
* image-to-video networks (twice the channels and four more): by channels that hold the clean latents and a mask, beside a
  noisy copy of every frame. The noise of a condition frame is the same at every step; what the network makes of it is left unused.
  The branch for CLIP's embedding of a first frame, where there is one, gets nothing: the MLLM has seen the pictures.

Weights and numbers are upstream's (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from duogen.errors import InputError
from duogen.models.attention import Mask, attend, biased
from duogen.models.dit import BlockDiT, DiTOutput, Frame, KeyValue, Uncast

TIMESTEPS = 1000
MASK_CHANNELS = 4
"""Of image-to-video networks: one for each of the four pictures that a video latent stands for; of a still picture, all alike."""


def shows_noise(config: Mapping[str, Any]) -> bool:
    """Whether a transformer is shown earlier pictures in channels of their own, and noisy (image-to-video)."""
    return config["in_channels"] == 2 * (config.get("out_channels") or config["in_channels"]) + MASK_CHANNELS


def check_mode(mode: str, config: Mapping[str, Any]) -> None:
    """Raises `InputError` where a transformer of that configuration can't have an attention mode."""
    if mode == "causal" and shows_noise(config):
        raise InputError("a Wan image-to-video transformer has no causal mode: its condition frames are noisy")


class WanDiT(BlockDiT):
    """A Wan transformer as a `DiT`."""

    def __init__(self, model: WanTransformer3DModel) -> None:
        super().__init__(model, model.blocks)
        self.shows_noise = shows_noise(model.config)
        given, made = model.config.in_channels, model.config.out_channels
        if given != made and not self.shows_noise:
            raise ValueError(f"in_channels must be {made} or {2 * made + MASK_CHANNELS}, not {given}")

    def reading(self, starts: Tensor, ends: Tensor, length: int) -> Tensor:
        return self._text(ends, length)[..., None, :]

    def context(self, vectors: Tensor) -> list[KeyValue]:
        text = self.model.condition_embedder.text_embedder(vectors)
        return [self._context_of(block, text) for block in self.blocks]

    def _context_of(self, block: Any, text: Tensor) -> KeyValue:
        attn = block.attn2
        return self._heads(attn.norm_k(attn.to_k(text)), attn), self._heads(attn.to_v(text), attn)

    def __call__(
        self,
        frames: Sequence[Frame],
        context: Sequence[KeyValue] | Tensor,
        cross_mask: Mask | None = None,
        self_mask: Mask | None = None,
        past: Sequence[KeyValue] | None = None,
    ) -> DiTOutput:
        model = self.model
        if self.shows_noise and past is not None:
            raise ValueError("an image-to-video network has no frames to keep: they are as noisy as the new picture")
        counts = [self.tokens_of(frame.latent) for frame in frames]
        levels = self._levels(frames)
        hidden = torch.cat([self._embed(frame, level) for frame, level in zip(frames, levels, strict=True)], dim=1)
        wave = Uncast(self._rotary(torch.cat([self.positions(frame) for frame in frames])))
        temb, modulation = self._times(torch.stack(levels, dim=1), counts, hidden)
        self_bias, cross_bias = (biased(mask, hidden.dtype) for mask in (self_mask, cross_mask))
        if isinstance(context, Tensor):
            context = model.condition_embedder.text_embedder(context)

        hidden, kept, middle = self._through(hidden, counts, context, past, modulation, wave, self_bias, cross_bias)
        shift, scale = (model.scale_shift_table.to(hidden.device).unsqueeze(0) + temb.unsqueeze(2)).unbind(2)
        normed = (model.norm_out(hidden.float()) * (1 + scale) + shift).type_as(hidden)
        pieces = model.proj_out(normed).split(counts, dim=1)
        velocities = [self.unpatchify(piece, frame.latent) for piece, frame in zip(pieces, frames, strict=True)]
        return DiTOutput(velocities, kept, middle)

    def _run(
        self,
        block: Any,
        hidden: Tensor,
        context: KeyValue | Tensor,
        past: KeyValue | None,
        modulation: Tensor,
        wave: Uncast,
        self_bias: Mask | None,
        cross_bias: Mask | None,
    ) -> tuple[Tensor, KeyValue]:
        """A block's output, and its self-attention keys and values of these frames."""
        shift, scale, gate, shift_after, scale_after, gate_after = (
            block.scale_shift_table.to(hidden.device).unsqueeze(0) + modulation.float()
        ).unbind(2)
        normed = (block.norm1(hidden.float()) * (1 + scale) + shift).type_as(hidden)
        attn = block.attn1
        query = _turned(self._heads(attn.norm_q(attn.to_q(normed)), attn), wave.tensors)
        key = _turned(self._heads(attn.norm_k(attn.to_k(normed)), attn), wave.tensors)
        own = key, self._heads(attn.to_v(normed), attn)
        key, value = self._behind(past, own)
        mixed = self._out(attn, attend(query, key, value, self_bias))
        hidden = (hidden.float() + mixed * gate).type_as(hidden)

        normed = block.norm2(hidden.float()).type_as(hidden)
        attn = block.attn2
        query = self._heads(attn.norm_q(attn.to_q(normed)), attn)
        text = self._context_of(block, context) if isinstance(context, Tensor) else context
        key, value = (part.expand(len(hidden), -1, -1, -1) for part in text)
        hidden = hidden + self._out(attn, attend(query, key, value, cross_bias))

        normed = (block.norm3(hidden.float()) * (1 + scale_after) + shift_after).type_as(hidden)
        return (hidden.float() + block.ffn(normed).float() * gate_after).type_as(hidden), own

    def _levels(self, frames: Sequence[Frame]) -> list[Tensor]:
        """The noise level [B] that each frame is shown at: condition frames at none, or at that of the next picture that is painted."""
        levels, painted = [], frames[-1].sigma
        for frame in reversed(frames):
            painted = painted if frame.condition else frame.sigma
            levels.append(painted if self.shows_noise or not frame.condition else torch.zeros_like(frame.sigma))
        return levels[::-1]

    def _embed(self, frame: Frame, level: Tensor) -> Tensor:
        """Tokens [B, n, width] of a frame."""
        latent = frame.latent
        if self.shows_noise:
            shown = torch.full_like(latent[:, :1], float(frame.condition)).expand(-1, MASK_CHANNELS, -1, -1)
            if frame.condition:
                generator = torch.Generator().manual_seed(frame.time)
                noise = torch.randn(latent.shape[1:], generator=generator).to(latent)
                share = level.to(latent)[:, None, None, None]
                latent = torch.cat([(1 - share) * latent + share * noise, shown, latent], dim=1)
            else:
                latent = torch.cat([latent, shown, torch.zeros_like(latent)], dim=1)
        return self.model.patch_embedding(latent.unsqueeze(2)).flatten(2).transpose(1, 2)

    def _times(self, sigma: Tensor, counts: list[int], hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Of every token the embedded timestep [B, N, width] and the modulations [B, N, 6, width], for levels [B, frames]."""
        embedder = self.model.condition_embedder
        projected = embedder.timesteps_proj(sigma.flatten() * TIMESTEPS)
        temb = embedder.time_embedder(projected.to(embedder.time_embedder.linear_1.weight.dtype)).type_as(hidden)
        modulation = embedder.time_proj(embedder.act_fn(temb)).unflatten(1, (6, -1))
        each = torch.tensor(counts, device=hidden.device)
        spread = [part.unflatten(0, sigma.shape).repeat_interleave(each, dim=1) for part in (temb, modulation)]
        return spread[0], spread[1]

    def _rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [N, head_dim / 2] of positions [N, 3]."""
        rope = self.model.rope
        angles = []
        for axis, dim in enumerate((rope.t_dim, rope.h_dim, rope.w_dim)):
            steps = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float64) / dim
            angles.append(positions[:, axis : axis + 1].double() * 10000.0**-steps)
        angle = torch.cat(angles, dim=-1)
        return angle.cos().float(), angle.sin().float()


def _turned(heads: Tensor, wave: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions on neighbouring channels."""
    cosine, sine = wave
    even, odd = heads.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2).type_as(heads)
