"""Fits the default model's `PatchCodec` to pictures of the world (closed form, seconds)."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from duogen.models.vae import PatchCodec


def to_pixels(images: list[Image.Image]) -> Tensor:
    """Pictures of one size as pixels in -1..1, [B, 3, 1, H, W]."""
    stacked = np.stack([np.asarray(image.convert("RGB"), np.float32) for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).unsqueeze(2) / 127.5 - 1


def fit_codec(images: list[Image.Image], patch_size: int = 16, z_dim: int = 64, whitening: float = 0.5) -> PatchCodec:
    """The codec whose components explain the most variance of the patches of `images`.

    Args:
        whitening: 0 leaves the channels' natural variances (the loss is then that of pixels), 1 makes them equal.
            Between the two, fine detail gets a voice without outshouting shape and colour.
    """
    p = patch_size
    x = to_pixels(images)[:, :, 0]
    patches = x.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2).double()
    mean = patches.mean(0)
    centred = patches - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    order = values.argsort(descending=True)[:z_dim]
    std = values[order].clamp_min(1e-12).sqrt()
    divisor = std**whitening
    divisor = divisor * (std / divisor).square().mean().sqrt()
    fitted = PatchCodec(patch_size, z_dim, [0.0] * z_dim, [round(v, 8) for v in divisor.tolist()])
    with torch.no_grad():
        fitted.mean.copy_(mean.float())
        fitted.basis.copy_(vectors[:, order].float())
    return fitted.requires_grad_(False)
