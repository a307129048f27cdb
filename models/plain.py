"""A DiT at every denoising step of a picture, as its `__call__` runs it: for networks that no `Step` is written for, and for weights
that come to the device layer by layer, since every layer is called as a module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from duogen.models.canvas import Canvas
from duogen.models.dit import CONDITION_SIGMA, DiT, Frame, KeyValue, appended


class PlainDenoiser:
    """Velocities of one picture.

    Args:
        earlier: latents [1, C, h, w] of the pictures that are shown again at every step; none in ``causal`` mode, where the canvas has
            their keys and values.
        sigmas: [steps], the noise level of each step.
    """

    def __init__(self, dit: DiT, earlier: Sequence[Tensor], canvas: Canvas, sigmas: Tensor) -> None:
        self.dit, self.earlier, self.canvas, self.sigmas = dit, earlier, canvas, sigmas

    @torch.no_grad()
    def __call__(self, latent: Tensor, step: int, guided: bool) -> Tensor:
        """The velocities [branches, C, h, w] at a step, of a latent [1, C, h, w]; with one branch, where it isn't guided."""
        reads = self.canvas.cross_mask if guided else self.canvas.cross_mask[:1]
        rows = len(reads)
        sigma = self.sigmas[step].expand(rows)
        frames = [
            Frame(each.expand(rows, -1, -1, -1), time, torch.full_like(sigma, CONDITION_SIGMA), True)
            for time, each in enumerate(self.earlier)
        ]
        frames.append(Frame(latent.expand(rows, -1, -1, -1), self.canvas.time, sigma, False))
        return self.dit(frames, self.canvas.context, reads, None, self.canvas.past).velocity[-1]


@torch.no_grad()
def keep(dit: DiT, latent: Tensor, canvas: Canvas) -> list[KeyValue]:
    """The keys and values of the pictures before, and behind them those of a latent [1, C, h, w] as a condition frame."""
    frame = Frame(latent, canvas.time, latent.new_full((1,), CONDITION_SIGMA), True)
    return appended(canvas.past, dit([frame], canvas.context, canvas.cross_mask[:1], None, canvas.past).kept)
