from __future__ import annotations

import pytest
import torch
from diffusers import CosmosTransformer3DModel
from torch import Tensor

from duogen.models.canvas import Canvas
from duogen.models.denoiser import Denoiser
from duogen.models.dit import CONDITION_SIGMA, CosmosDiT, Frame, appended

SIGMAS = torch.tensor([1.0, 0.7, 0.02])
NEAR_ZERO = torch.full((1,), CONDITION_SIGMA)
SHAPE = (1, 4, 8, 12)


def transformer(positions: str | None, padding: bool) -> CosmosTransformer3DModel:
    torch.manual_seed(0)
    made = CosmosTransformer3DModel(
        in_channels=5, out_channels=4, num_attention_heads=3, attention_head_dim=24, num_layers=3, text_embed_dim=16,
        adaln_lora_dim=8, max_size=(16, 32, 32), concat_padding_mask=padding, extra_pos_embed_type=positions,
        rope_scale=(2.0, 1.0, 1.0),
    )  # fmt: skip
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return made.eval()


def canvas(dit: CosmosDiT, branches: int, earlier: int, text: int = 9) -> Canvas:
    """With pictures before it, and text of a length."""
    context = dit.context(torch.randn(1, text, 16))
    starts, ends = torch.tensor([5, 5])[:branches], torch.tensor([text, 5])[:branches]
    past = None
    for number in range(earlier):
        kept = dit([Frame(torch.randn(1, 4, 6, 8), number, NEAR_ZERO, True)], context, past=past).kept
        past = appended(past, kept)
    return Canvas(earlier, context, dit.reading(starts, ends, text).unsqueeze(2), past)


def plainly(dit: CosmosDiT, latent: Tensor, made: Canvas, step: int) -> Tensor:
    branches = len(made.cross_mask)
    frame = Frame(latent.expand(branches, -1, -1, -1), made.time, SIGMAS[step].expand(branches), False)
    return dit([frame], made.context, made.cross_mask, past=made.past).velocity[-1]


@pytest.mark.parametrize("positions", ["learnable", None])
@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("prediction", ["velocity", "sample"])
@pytest.mark.parametrize("branches", [1, 2])
@pytest.mark.parametrize("earlier", [(0,), (2,), (2, 0, 1)])
@torch.no_grad()
def test_every_step_is_what_the_transformer_says(
    positions: str | None, padding: bool, prediction: str, branches: int, earlier: tuple[int, ...]
) -> None:
    dit = CosmosDiT(transformer(positions, padding), prediction, segment_heads=1)
    canvases = [canvas(dit, branches, count, 9 + 4 * number) for number, count in enumerate(earlier)]
    denoiser = Denoiser(dit, SHAPE, canvases, SIGMAS)
    for step in (2, 0, 1):  # no step leaves anything behind for another
        latents = torch.randn(len(canvases), *SHAPE[1:])
        each = [plainly(dit, latent[None], made, step) for latent, made in zip(latents, canvases, strict=True)]
        expected = torch.stack(each, dim=1).flatten(0, 1)
        velocity = denoiser(latents, step, branches == 2)
        assert velocity.shape == expected.shape == (branches * len(canvases), *SHAPE[1:])
        assert torch.allclose(velocity, expected, rtol=1e-4, atol=1e-4) and expected.abs().max() > 0.1
        alone = denoiser(latents, step, False)
        assert torch.allclose(alone, expected[: len(canvases)], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("branches", [1, 2])
@pytest.mark.parametrize("earlier", [(0,), (1, 3)])
@torch.no_grad()
def test_what_is_kept_is_what_a_condition_frame_leaves(branches: int, earlier: tuple[int, ...]) -> None:
    dit = CosmosDiT(transformer("learnable", False), segment_heads=1)
    canvases = [canvas(dit, branches, count, 9 + 4 * number) for number, count in enumerate(earlier)]
    denoiser = Denoiser(dit, SHAPE, canvases, SIGMAS)
    latents = torch.randn(len(canvases), *SHAPE[1:])
    denoiser(latents, 0, branches == 2)
    for kept, made, latent in zip(denoiser.keep(latents), canvases, latents, strict=True):
        frame = Frame(latent[None], made.time, NEAR_ZERO, True)
        fresh = dit([frame], made.context, made.cross_mask[:1], past=made.past).kept
        expected = appended(made.past, fresh)
        for ours, theirs in zip(kept, expected, strict=True):
            for part, wanted in zip(ours, theirs, strict=True):
                assert part.shape == wanted.shape and torch.allclose(part, wanted, rtol=1e-4, atol=1e-4)
