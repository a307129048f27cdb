"""The default model's VAE: a linear patch codec that is fitted in seconds and runs in microseconds.

Each patch of ``patch_size`` x ``patch_size`` pixels is projected on its leading principal components, with the call
signatures and config keys of `diffusers.AutoencoderKLWan` (``encode(...).latent_dist``, ``decode(...).sample``,
``latents_mean``, ``latents_std``), so that the pipeline treats both alike. In the flat, drawn world of the default
model it is sharper than a convolutional autoencoder of the same training time; photographs need the real VAE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from PIL import Image
from torch import Tensor, nn


class PatchCodec(ModelMixin, ConfigMixin):
    """Principal components of square patches, as a VAE without a random part.

    Args:
        patch_size: side of a patch in pixels; also the spatial compression ratio.
        z_dim: latent channels, the number of components kept.
        latents_mean, latents_std: per channel; the pipeline works on ``(z - mean) / std``.
    """

    @register_to_config
    def __init__(
        self,
        patch_size: int = 16,
        z_dim: int = 64,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(3 * patch_size**2))
        self.basis = nn.Parameter(torch.zeros(3 * patch_size**2, z_dim))

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """Latents of pictures.

        Args:
            x: pixels in -1..1, [B, 3, T, H, W], H and W divisible by the patch size; each frame stands alone.

        Returns:
            A distribution over [B, z_dim, T, H / p, W / p] without spread.
        """
        p = self.config.patch_size
        height, width = x.shape[-2:]
        if height % p or width % p:
            raise ValueError(f"height and width must be multiples of {p}, got {height} x {width}")
        patches = x.unflatten(4, (width // p, p)).unflatten(3, (height // p, p))  # B 3 T h p w p
        patches = patches.permute(0, 2, 3, 5, 1, 4, 6).flatten(4)  # B T h w (3 p p)
        z = ((patches - self.mean) @ self.basis).permute(0, 4, 1, 2, 3)
        spread = torch.full_like(z, -30.0)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(torch.cat([z, spread], 1), True))

    def decode(self, z: Tensor) -> DecoderOutput:
        """Pixels of latents [B, z_dim, T, h, w], as [B, 3, T, h * p, w * p] in about -1..1 (not clipped)."""
        p = self.config.patch_size
        patches = z.permute(0, 2, 3, 4, 1) @ self.basis.T + self.mean  # B T h w (3 p p)
        patches = patches.unflatten(4, (3, p, p)).permute(0, 4, 1, 2, 5, 3, 6)  # B 3 T h p w p
        return DecoderOutput(sample=patches.flatten(5, 6).flatten(3, 4))


def spatial_factor(config: Mapping[str, Any]) -> int:
    """How many pixels a latent is wide, by a VAE's configuration: its patch, where it is a `PatchCodec`."""
    return int(config.get("scale_factor_spatial") or config.get("patch_size") or 8)


def to_pixels(frames: Tensor) -> Tensor:
    """Frames of bytes [B, 3, H, W] as pixels in -1..1, [B, 3, 1, H, W]."""
    return frames.float().unsqueeze(2) / 127.5 - 1


def to_frames(images: Sequence[Image.Image]) -> Tensor:
    """Pictures of one size as frames of bytes, [B, 3, H, W]."""
    return torch.from_numpy(np.stack([np.array(image.convert("RGB")) for image in images])).permute(0, 3, 1, 2)


def latent_scale(vae: Any) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [1, C, 1, 1, 1] by which a VAE's latents are normalised."""
    mean, std = (
        torch.tensor(values, device=vae.device, dtype=vae.dtype).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std


def to_latents(vae: Any, pixels: Tensor) -> Tensor:
    """Normalised latents [B, C, h, w] of pixels [B, 3, 1, H, W] in -1..1."""
    mean, std = latent_scale(vae)
    latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
    return ((latents - mean) / std)[:, :, 0]


def from_latents(vae: Any, latents: Tensor) -> Tensor:
    """Pixels in about -1..1 [B, 3, H, W] of normalised latents [B, C, h, w]."""
    mean, std = latent_scale(vae)
    z = latents.unsqueeze(2).to(vae.device, vae.dtype) * std + mean
    return vae.decode(z).sample[:, :, 0].float()


def to_image(pixels: Tensor) -> Image.Image:
    """The picture of pixels [1, 3, H, W]."""
    values = pixels[0].clamp(-1, 1).add_(1).mul_(127.5).round_()
    return Image.fromarray(values.permute(1, 2, 0).to(torch.uint8, memory_format=torch.contiguous_format).cpu().numpy())
