"""Pictures as codec and DiT leave them: a little off.

What a model is asked about its own pictures, and what it plans on from, is never as clean as what a renderer draws. An MLLM
that has seen clean renders alone takes every painted picture for a wrong one (docs/LOG.md).
"""

from __future__ import annotations

import random

import torch
from PIL import Image

from duogen.models.layout import Turn
from duogen.models.vae import PatchCodec, from_latents, to_frames, to_image, to_latents, to_pixels
from duogen.training.data import View, rng_of
from duogen.training.world.task import Task

NOISE = 0.35
"""The most noise, in standard deviations of a latent; about twice the error of a picture of the default model."""


def worn(image: Image.Image, vae: PatchCodec, rng: random.Random) -> Image.Image:
    """A picture behind the codec, with up to `NOISE` on its latents; what it shows (its `info`) is kept."""
    latent = to_latents(vae, to_pixels(to_frames([image])))
    generator = torch.Generator().manual_seed(rng.getrandbits(32))
    noise = torch.randn(latent.shape, generator=generator)
    result = to_image(from_latents(vae, latent + NOISE * rng.random() * noise.to(latent)))
    result.info.update(image.info)
    return result


def worn_view(view: View, vae: PatchCodec, share: float) -> View:
    """A view in which this share of the dialogues shows its pictures worn; which ones, their words decide."""

    def shown(task: Task) -> list[Turn]:
        rng = rng_of(task, "worn")
        turns = view(task)
        if rng.random() >= share:
            return turns
        return [
            (role, [worn(part, vae, rng) if isinstance(part, Image.Image) else part for part in parts])
            for role, parts in turns
        ]

    return shown
