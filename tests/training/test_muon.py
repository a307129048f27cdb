"""The optimiser of the matrices: torch's Muon, in float32 on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from duogen.training.muon import Muon, orthogonalised

COEFFICIENTS = (3.4445, -4.775, 2.0315)


@pytest.mark.parametrize("shape", [(16, 48), (48, 16)])
def test_singular_values_are_drawn_to_about_one_and_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    moved = orthogonalised(matrices, COEFFICIENTS, 5, 1e-7)
    values = torch.linalg.svdvals(moved)
    assert values.min() > 0.3
    assert values.max() < 1.3
    for matrix, move in zip(matrices, moved, strict=True):
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        core = u.T @ move @ v.T
        assert (core - core.diagonal().diag()).abs().max() < 1e-4


def test_steps_are_those_of_torch_but_for_its_rounding_and_its_state_goes_on_here() -> None:
    """torch's own, in bfloat16, is the reference; a state of it is taken up in the middle."""
    torch.manual_seed(0)
    shapes = ((24, 8), (8, 24), (24, 8), (6, 18))
    ours, theirs = (nn.ParameterList([nn.Parameter(torch.zeros(*shape)) for shape in shapes]) for _ in "ab")
    mine, reference = Muon(ours, lr=0.1, weight_decay=0.1), torch.optim.Muon(theirs, lr=0.1, weight_decay=0.1)
    for number in range(6):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        mine.step()
        reference.step()
        for one, other in zip(ours, theirs, strict=True):
            assert (one - other).norm() < 0.2 * other.norm()
        if number == 2:
            mine.load_state_dict(reference.state_dict())


def test_weights_without_a_gradient_stay() -> None:
    used, unused = nn.Parameter(torch.eye(4)), nn.Parameter(torch.eye(4))
    optimiser = Muon([used, unused], lr=0.1)
    used.grad = torch.ones(4, 4)
    assert optimiser.step(lambda: 7.0) == 7.0
    assert torch.equal(unused, torch.eye(4))
    assert not torch.equal(used, torch.eye(4))
