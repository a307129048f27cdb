from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from pydantic import ValidationError

from duogen.models.sampler import PaintSettings, denoise, initial_noise

SHAPE = (1, 2, 4, 4)


def test_a_straight_flow_is_followed_to_its_end() -> None:
    noise, clean = initial_noise(SHAPE, 1, torch.device("cpu"), torch.float32), torch.full(SHAPE, 0.5)
    for shift in (1.0, 3.0):
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
        done = denoise(lambda *_: noise - clean, scheduler, noise, PaintSettings(steps=5, guidance=1))
        assert torch.allclose(done, clean, atol=1e-5)


def test_guidance_leads_away_from_the_negative_branch() -> None:
    noise = initial_noise(SHAPE, 1, torch.device("cpu"), torch.float32)
    towards, away = noise - 1.0, noise + 1.0
    done = denoise(
        lambda *_: torch.cat([towards, away]),
        FlowMatchEulerDiscreteScheduler(),
        noise,
        PaintSettings(steps=4, guidance=3),
    )
    assert torch.allclose(done, torch.full(SHAPE, -1.0 + 3.0 * 2.0), atol=1e-4)


def test_steps_are_told() -> None:
    told: list[tuple[int, int]] = []
    noise = torch.zeros(SHAPE)
    settings = PaintSettings(steps=3, guidance=1)
    denoise(
        lambda latent, *_: latent, FlowMatchEulerDiscreteScheduler(), noise, settings, lambda *step: told.append(step)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_guidance_keeps_to_its_interval() -> None:
    asked: list[bool] = []

    def velocity_of(latent: torch.Tensor, step: int, guided: bool) -> torch.Tensor:
        asked.append(guided)
        return torch.cat([latent, latent]) if guided else latent

    settings = PaintSettings(steps=10, guidance=2, guidance_interval=(0.25, 0.85))
    denoise(velocity_of, FlowMatchEulerDiscreteScheduler(), torch.ones(SHAPE), settings)
    # Noise levels 1, 0.9, ... 0.1.
    assert asked == [False] * 2 + [True] * 6 + [False] * 2


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_velocities_that_hardly_change_are_reused(guidance: float) -> None:
    noise, scheduler = initial_noise(SHAPE, 1, torch.device("cpu"), torch.float32), FlowMatchEulerDiscreteScheduler()
    calls: list[int] = []

    def velocity_of(latent: torch.Tensor, step: int, guided: bool) -> torch.Tensor:
        calls.append(step)
        bent = noise - 0.5 + 0.2 * latent
        return torch.cat([bent, 0.9 * bent]) if guided else bent

    def painted(cache: float) -> torch.Tensor:
        calls.clear()
        return denoise(velocity_of, scheduler, noise, PaintSettings(steps=20, guidance=guidance, step_cache=cache))

    exact = painted(0.0)
    assert calls == list(range(20))
    rough = painted(0.05)
    few = len(calls)
    assert calls[:2] == [0, 1] and few < 15
    assert painted(0.02).shape == exact.shape and few <= len(calls) < 20
    assert 0 < (rough - exact).abs().max() < 0.1 * exact.abs().max()


def test_every_picture_of_a_plan_has_a_seed_of_its_own() -> None:
    settings = PaintSettings(seed=5)
    seeds = [settings.for_picture(index).seed for index in range(20)]
    assert len(set(seeds)) == 20
    assert seeds == [PaintSettings(seed=5).for_picture(index).seed for index in range(20)]


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"first_steps": 0},
        {"guidance": 0.5},
        {"width": -8},
        {"seed": -1},
        {"strength": 1},
        {"guidance_interval": (0.8, 0.2)},
        {"step_cache": 2.0},
    ],
)
def test_bad_settings(bad: dict) -> None:
    with pytest.raises(ValidationError):
        PaintSettings(**bad)
