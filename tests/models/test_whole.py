from __future__ import annotations

import pytest
import torch
from torch import Tensor

from duogen.models.canvas import Canvas
from duogen.models.dit import CONDITION_SIGMA, CosmosDiT, Frame
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.whole import WholeDenoiser

SIGMAS = torch.tensor([1.0, 0.7, 0.02])
TEXT = 9


@pytest.fixture
def transformer(tiny: DuoGenPipeline) -> object:
    torch.manual_seed(0)
    for weight in tiny.transformer.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return tiny.transformer


@pytest.mark.parametrize("prediction", ["velocity", "sample"])
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("branches", [1, 2])
@pytest.mark.parametrize("sides", [(), ((4, 6), (8, 4))])
@torch.no_grad()
def test_every_step_is_what_the_transformer_says_of_all_frames(
    transformer, prediction: str, learned: bool, branches: int, sides: tuple[tuple[int, int], ...]
) -> None:
    if not learned:
        transformer.learnable_pos_embed = None
    dit = CosmosDiT(transformer, prediction, segment_heads=1)
    channels, shape = transformer.config.out_channels, (1, transformer.config.out_channels, 4, 8)
    earlier = [torch.randn(1, channels, *side) for side in sides]
    context = dit.context(torch.randn(1, TEXT, transformer.config.text_embed_dim))
    starts, ends = torch.tensor([5, 5])[:branches], torch.tensor([TEXT, 5])[:branches]
    canvas = Canvas(len(earlier), context, dit.reading(starts, ends, TEXT).unsqueeze(2))
    denoiser = WholeDenoiser(dit, shape, earlier, canvas, SIGMAS)

    def plainly(latent: Tensor, step: int) -> Tensor:
        near_zero = torch.full((branches,), CONDITION_SIGMA)
        frames = [Frame(known.expand(branches, -1, -1, -1), n, near_zero, True) for n, known in enumerate(earlier)]
        frames.append(Frame(latent.expand(branches, -1, -1, -1), len(earlier), SIGMAS[step].expand(branches), False))
        return dit(frames, context, canvas.cross_mask).velocity[-1]

    for step in (2, 0, 1):
        latent = torch.randn(shape)
        expected, velocity = plainly(latent, step), denoiser(latent, step, branches == 2)
        assert velocity.shape == expected.shape == (branches, *shape[1:]) and expected.abs().max() > 0.1
        assert torch.allclose(velocity, expected, rtol=1e-3, atol=1e-3)
        assert torch.allclose(denoiser(latent, step, False), expected[:1], rtol=1e-3, atol=1e-3)
