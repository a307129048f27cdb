from __future__ import annotations

from pathlib import Path

import pytest
import torch

from duogen.models.vae import PatchCodec, to_frames, to_pixels
from duogen.training.codec import fit_codec
from duogen.training.data import draw_task
from duogen.training.world.render import render


@pytest.fixture(scope="module")
def codec() -> PatchCodec:
    images = [render(draw_task(1, i).pictures[-1]) for i in range(60) if draw_task(1, i).pictures]
    return fit_codec(images, patch_size=16, z_dim=64)


def test_unseen_pictures_come_back_sharp(codec: PatchCodec) -> None:
    tasks = [draw_task(2, i, "held-out") for i in range(40)]
    pixels = to_pixels(to_frames([render(task.pictures[-1]) for task in tasks if task.pictures]))
    back = codec.decode(codec.encode(pixels).latent_dist.mode()).sample
    error = ((pixels - back) / 2).square().mean()
    assert -10 * error.log10() > 30, "peak signal-to-noise ratio in decibels"


def test_frames_and_sizes_stand_alone(codec: PatchCodec) -> None:
    pixels = torch.rand(2, 3, 3, 32, 64) * 2 - 1
    whole = codec.encode(pixels).latent_dist.mode()
    assert whole.shape == (2, 64, 3, 2, 4)
    assert torch.allclose(whole[:, :, 1:2], codec.encode(pixels[:, :, 1:2]).latent_dist.mode(), atol=1e-5)
    assert codec.decode(whole).sample.shape == pixels.shape
    with pytest.raises(ValueError, match="multiples of 16"):
        codec.encode(torch.zeros(1, 3, 1, 20, 32))


def test_normalised_latents_have_unit_mean_square(codec: PatchCodec) -> None:
    pixels = to_pixels(to_frames([render(draw_task(1, i).pictures[-1]) for i in range(60) if draw_task(1, i).pictures]))
    latents = codec.encode(pixels).latent_dist.mode()
    scaled = latents / torch.tensor(codec.config.latents_std).view(1, -1, 1, 1, 1)
    assert 0.9 < float(scaled.square().mean()) < 1.1


def test_saved_and_loaded(codec: PatchCodec, tmp_path: Path) -> None:
    codec.save_pretrained(tmp_path)
    loaded = PatchCodec.from_pretrained(tmp_path)
    assert torch.equal(loaded.basis, codec.basis) and loaded.config.latents_std == codec.config.latents_std
