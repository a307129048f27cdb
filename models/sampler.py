"""The denoising loop: from noise to a clean latent along the learned velocity, with guidance in one batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

VelocityOf = Callable[[Tensor, int], Tensor]
"""(latent [1, C, h, w], step) -> velocities [branches, C, h, w]: the conditional one, then the negative one."""
OnStep = Callable[[int, int], None]
"""Called after each denoising step with its number, from 1, and how many there are."""


class PaintSettings(BaseModel):
    """How one picture is painted. What is None is taken from the model's own defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int | None = Field(None, ge=1, le=1000, description="denoising steps")
    guidance: float | None = Field(None, ge=1, le=30, description="guidance scale; 1 switches guidance off")
    width: int | None = Field(None, ge=16, le=4096, description="picture width in pixels")
    height: int | None = Field(None, ge=16, le=4096, description="picture height in pixels")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="the same seed paints the same picture again")

    def for_picture(self, index: int) -> PaintSettings:
        """The settings of picture number `index` of a plan: a seed of its own, so that a plan can be resumed."""
        return self._derived(f"{self.seed}/{index}")

    def for_attempt(self, attempt: int) -> PaintSettings:
        """The settings of attempt number `attempt` at one picture: the first, 0, has the picture's own seed."""
        return self._derived(f"{self.seed}/again/{attempt}") if attempt else self

    def _derived(self, name: str) -> PaintSettings:
        digest = hashlib.sha256(name.encode()).digest()
        return self.model_copy(update={"seed": int.from_bytes(digest[:7], "big")})


def initial_noise(shape: tuple[int, ...], seed: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Gaussian noise that depends on the seed alone, on every device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device, dtype)


def noise_levels(scheduler: FlowMatchEulerDiscreteScheduler, steps: int, device: torch.device) -> Tensor:
    """The noise level [steps] that each denoising step begins from; the scheduler stands at the first one then."""
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps).tolist(), device=device)
    return scheduler.sigmas[:steps].to(device)


def denoise(
    velocity_of: VelocityOf,
    scheduler: FlowMatchEulerDiscreteScheduler,
    noise: Tensor,
    steps: int,
    guidance: float,
    on_step: OnStep | None = None,
) -> Tensor:
    """The clean latent [1, C, h, w] that noise of that shape leads to.

    Args:
        velocity_of: gives one velocity where `guidance` is 1, else two.
        guidance: ``v = v_negative + guidance * (v_conditional - v_negative)``.
    """
    noise_levels(scheduler, steps, noise.device)
    latent = noise
    for index, timestep in enumerate(scheduler.timesteps):
        velocity = velocity_of(latent, index)
        if guidance != 1:
            conditional, negative = velocity.chunk(2)
            velocity = negative + guidance * (conditional - negative)
        latent = scheduler.step(velocity, timestep, latent, return_dict=False)[0]
        if on_step is not None:
            on_step(index + 1, steps)
    return latent
