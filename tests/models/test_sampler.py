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
        done = denoise(lambda latent, sigma: noise - clean, scheduler, noise, 5, 1.0)
        assert torch.allclose(done, clean, atol=1e-5)


def test_guidance_leads_away_from_the_negative_branch() -> None:
    noise = initial_noise(SHAPE, 1, torch.device("cpu"), torch.float32)
    towards, away = noise - 1.0, noise + 1.0
    done = denoise(lambda *_: torch.cat([towards, away]), FlowMatchEulerDiscreteScheduler(), noise, 4, 3.0)
    assert torch.allclose(done, torch.full(SHAPE, -1.0 + 3.0 * 2.0), atol=1e-4)


def test_steps_are_told() -> None:
    told: list[tuple[int, int]] = []
    noise = torch.zeros(SHAPE)
    denoise(lambda latent, _: latent, FlowMatchEulerDiscreteScheduler(), noise, 3, 1.0, lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_every_picture_of_a_plan_has_a_seed_of_its_own() -> None:
    settings = PaintSettings(seed=5)
    seeds = [settings.for_picture(index).seed for index in range(20)]
    assert len(set(seeds)) == 20
    assert seeds == [PaintSettings(seed=5).for_picture(index).seed for index in range(20)]


@pytest.mark.parametrize("bad", [{"steps": 0}, {"guidance": 0.5}, {"width": -8}, {"seed": -1}, {"strength": 1}])
def test_bad_settings(bad: dict) -> None:
    with pytest.raises(ValidationError):
        PaintSettings(**bad)
