from __future__ import annotations

import pytest
import torch

from duogen.models.dit import CONDITION_SIGMA, CosmosDiT
from duogen.models.modulations import SCHEDULES, Modulations
from duogen.models.pipeline import DuoGenPipeline


@pytest.fixture
def modulations(tiny: DuoGenPipeline) -> Modulations:
    assert isinstance(tiny.painter, CosmosDiT)
    return Modulations(tiny.painter.model, CONDITION_SIGMA)


def test_modulations_are_made_once_a_schedule(modulations: Modulations) -> None:
    sigmas = torch.tensor([1.0, 0.6, 0.3])
    made = modulations.at(sigmas)
    assert made.shape[0] == 4 and made.isfinite().all() and made.std() > 0
    assert modulations.at(sigmas.clone()) is made
    other = modulations.at(torch.tensor([1.0, 0.5]))
    assert torch.allclose(other[0], made[0], atol=1e-6) and not torch.allclose(other[1], made[1], atol=1e-4)
    assert torch.equal(modulations.at(sigmas[:0])[-1], made[-1]), "condition frames don't depend on the steps"
    for number in range(2 * SCHEDULES):
        modulations.at(torch.tensor([1.0, 0.01 * number]))
    assert torch.equal(modulations.at(sigmas), made), "made anew, they are the same"


@pytest.mark.parametrize("how", ["trained", "replaced", "moved"])
def test_other_weights_have_other_modulations(modulations: Modulations, how: str) -> None:
    sigmas, linear = torch.tensor([1.0, 0.5]), modulations.model.norm_out.linear_2
    before, other = modulations.at(sigmas), linear.weight.detach() + torch.randn_like(linear.weight)
    if how == "trained":
        with torch.no_grad():
            linear.weight.copy_(other)
    elif how == "replaced":
        linear.weight = torch.nn.Parameter(other)
    else:
        linear.weight.data = other
    assert not torch.allclose(modulations.at(sigmas), before, atol=1e-3)
