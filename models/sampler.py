"""The denoising loop: from noise to a clean latent along the learned velocity, with guidance in one batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

VelocityOf = Callable[[Tensor, int, bool], Tensor]
"""(latents [P, C, h, w], step, guided) -> velocities: the conditional ones and, where it is guided, the negative ones behind them."""
OnStep = Callable[[int, int], None]
"""Called after each denoising step with its number, from 1, and how many there are."""


class PaintSettings(BaseModel):
    """How one picture is painted. What is None is taken from the model's own defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int | None = Field(None, ge=1, le=1000, description="denoising steps")
    first_steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="those of a picture that none comes before; `steps`, where only these are given",
    )
    guidance: float | None = Field(None, ge=1, le=30, description="guidance scale; 1 switches guidance off")
    width: int | None = Field(None, ge=16, le=4096, description="picture width in pixels")
    height: int | None = Field(None, ge=16, le=4096, description="picture height in pixels")
    guidance_interval: tuple[float, float] = Field(
        (0.0, 1.0), description="noise levels, 0 to 1, between which guidance is applied (Kynkaanniemi et al. 2024)"
    )
    step_cache: float = Field(
        0.0,
        ge=0,
        le=1,
        description="reuse the last velocity while it has changed by less than this, as far as can be foreseen",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="the same seed paints the same picture again")

    @field_validator("guidance_interval")
    @classmethod
    def _rises(cls, interval: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= interval[0] <= interval[1] <= 1:
            low, high = interval
            raise ValueError(f"goes from a noise level up to another, both within 0..1, not {low} {high}")
        return interval

    def behind(self, pictures: int) -> PaintSettings:
        """The settings of a picture that so many come before: `steps` are what it takes. To be asked once a model's defaults are in."""
        return self if pictures else self.model_copy(update={"steps": self.first_steps})

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


class _StepCache:
    """The last velocity, for as long as it holds.

    Velocities of neighbouring steps are alike. How much one changes with the noise level is taken from the last two that were
    computed, and foretells when the next one is due. (TeaCache and EasyCache decide alike, from what the network is given.)

    Args:
        limit: relative change up to which a velocity is reused; 0 computes them all.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._known: tuple[float, Tensor] | None = None
        self._rate = float("inf")

    def get(self, sigma: float) -> Tensor | None:
        if self._known is None or self._rate * (self._known[0] - sigma) >= self.limit:
            return None
        return self._known[1]

    def put(self, sigma: float, velocity: Tensor) -> None:
        if self._known is not None and self.limit:
            apart, sizes = (part.flatten(1).norm(dim=1) for part in (velocity - self._known[1], velocity))
            self._rate = float((apart / sizes).max()) / (self._known[0] - sigma)
        self._known = sigma, velocity

    def clear(self) -> None:
        self._known, self._rate = None, float("inf")


def denoise(
    velocity_of: VelocityOf,
    scheduler: FlowMatchEulerDiscreteScheduler,
    noise: Tensor,
    settings: PaintSettings,
    on_step: OnStep | None = None,
) -> Tensor:
    """The clean latents [P, C, h, w] that noise of that shape leads to.

    Guidance is ``v = v_negative + guidance * (v_conditional - v_negative)``, at noise levels within its interval.

    Args:
        settings: with steps and guidance.
    """
    steps, guidance = settings.steps, settings.guidance
    assert steps and guidance
    sigmas = noise_levels(scheduler, steps, noise.device).tolist()
    latent, cache, was_guided = noise, _StepCache(settings.step_cache), None
    for index, (timestep, sigma) in enumerate(zip(scheduler.timesteps, sigmas, strict=True)):
        guided = guidance != 1 and settings.guidance_interval[0] <= sigma <= settings.guidance_interval[1]
        if guided != was_guided:
            cache.clear()
        velocity = cache.get(sigma)
        if velocity is None:
            velocity = velocity_of(latent, index, guided)
            if guided:
                conditional, negative = velocity.chunk(2)
                velocity = negative + guidance * (conditional - negative)
            cache.put(sigma, velocity)
        was_guided = guided
        latent = scheduler.step(velocity, timestep, latent, return_dict=False)[0]
        if on_step is not None:
            on_step(index + 1, steps)
    return latent
