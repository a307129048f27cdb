"""How near a picture comes to the true one, pixel by pixel: PSNR and SSIM, secondary to what it shows."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from duogen.document import Picture
from duogen.models.vae import to_frames
from duogen.training.world.render import POSES, render
from duogen.training.world.scene import LOOKS, Scene

_WINDOW, _SPREAD = 11, 1.5


@lru_cache(maxsize=8192)  # a page and the floors ask again
def fidelity(picture: Picture, truth: Scene) -> tuple[float, float]:
    """PSNR in dB and SSIM of a picture against the true scene.

    A model that starts from nothing chooses backdrop and poses itself; the true scene is drawn in the look that comes nearest.
    """
    truths = (
        to_frames([render(Scene(truth.stage, truth.things, look)) for look in range(len(POSES) * LOOKS)]).float() / 255
    )
    size = (truths.shape[-1], truths.shape[-2])
    image = picture.image()
    shown = to_frames([image if image.size == size else image.resize(size)]).float() / 255
    near = psnr(shown, truths)
    nearest = int(near.argmax())
    return float(near[nearest]), ssim(shown, truths[nearest : nearest + 1])


def psnr(one: Tensor, two: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, [N], of pictures [N or 1, 3, H, W] in 0..1; at most 60."""
    return -10 * torch.log10((one - two).square().mean((1, 2, 3)).clamp_min(1e-6))


def ssim(one: Tensor, two: Tensor) -> float:
    """Structural similarity of pictures [1, 3, H, W] in 0..1 (Wang et al. 2004: Gaussian window of 11 pixels, sigma 1.5)."""
    offsets = torch.arange(_WINDOW) - _WINDOW // 2
    line = torch.softmax(-offsets.square() / (2 * _SPREAD**2), 0)
    window = (line[:, None] * line)[None, None].repeat(3, 1, 1, 1)
    mean = lambda x: F.conv2d(x, window, groups=3)  # noqa: E731
    m1, m2 = mean(one), mean(two)
    v1, v2, both = mean(one * one) - m1 * m1, mean(two * two) - m2 * m2, mean(one * two) - m1 * m2
    c1, c2 = 0.01**2, 0.03**2
    return float((((2 * m1 * m2 + c1) * (2 * both + c2)) / ((m1 * m1 + m2 * m2 + c1) * (v1 + v2 + c2))).mean())
