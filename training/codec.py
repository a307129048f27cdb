"""What is fitted to pictures of the world in closed form: the patch codec, and the start of the vision encoder."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from duogen.models.processor import DuoGenProcessor
from duogen.models.vae import PatchCodec, to_frames, to_pixels


def fit_codec(
    images: list[Image.Image],
    patch_size: int = 16,
    z_dim: int = 64,
    whitening: float = 0.5,
    mean: Tensor | None = None,
) -> PatchCodec:
    """The codec whose components explain the most variance of the patches of `images`.

    Args:
        whitening: 0 leaves the channels' natural variances (the loss is then that of pixels), 1 makes them equal.
            Between the two, fine detail gets a voice without outshouting shape and colour.
        mean: the patch that latents of zero stand for, [3 * patch_size^2], in place of the mean of all.
    """
    p = patch_size
    x = to_pixels(to_frames(images))[:, :, 0]
    patches = x.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
    mean, basis, std = principal_components(patches, z_dim, mean)
    divisor = std**whitening
    divisor = divisor * (std / divisor).square().mean().sqrt()
    fitted = PatchCodec(patch_size, z_dim, [0.0] * z_dim, [round(v, 8) for v in divisor.tolist()])
    with torch.no_grad():
        fitted.mean.copy_(mean.float())
        fitted.basis.copy_(basis.float())
    return fitted.requires_grad_(False)


def principal_components(patches: Tensor, count: int, mean: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [dim], leading directions [dim, count] and their standard deviations [count] of patches [N, dim].

    Another `mean` takes the place of their own: directions and deviations are then those from it.
    """
    patches = patches.double()
    mean = patches.mean(0) if mean is None else mean.double()
    centred = patches - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    order = values.argsort(descending=True)[:count]
    return mean, vectors[:, order], values[order].clamp_min(1e-12).sqrt()


def start_sight(
    model: Qwen2_5_VLForConditionalGeneration, processor: DuoGenProcessor, images: list[Image.Image]
) -> None:
    """Lets the vision encoder's patch embedding begin as (nearly) whitened principal components of `images`.

    From random weights on raw pixels, where brightness drowns everything else, telling shapes apart takes many times
    the steps (docs/LOG.md).
    """
    patches, _ = processor.pixels(images)
    projection = model.model.visual.patch_embed.proj
    _, basis, std = principal_components(patches, projection.weight.shape[0])
    with torch.no_grad():
        projection.weight.copy_((0.5 * basis / (std + 0.1)).T.reshape(projection.weight.shape).float())
