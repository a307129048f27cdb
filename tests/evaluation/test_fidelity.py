from __future__ import annotations

import torch

from duogen.document import Picture
from duogen.evaluation.fidelity import fidelity, ssim
from duogen.training.world.parse import add_noise
from duogen.training.world.render import render
from duogen.training.world.scene import Scene, Thing

SCENE = Scene("shelf", {(0, 0): Thing("ball", "red"), (1, 0): Thing("cup", "blue")}, look=7)


def test_the_true_picture_is_perfect_in_every_look() -> None:
    psnr, similar = fidelity(Picture.from_image(render(SCENE)), Scene("shelf", SCENE.things))
    assert psnr >= 59.9 and similar > 0.9999


def test_noise_and_a_missing_thing_cost() -> None:
    noisy, _ = fidelity(Picture.from_image(add_noise(render(SCENE), 0, strength=0.1)), SCENE)
    # Gaussian noise of 0.1 has 20 dB; clipping takes some of it away.
    assert 19.5 < noisy < 23
    psnr, similar = fidelity(Picture.from_image(render(SCENE.clear((0, 0)))), SCENE)
    assert psnr < 25 and similar < 0.98
    assert fidelity(Picture.from_image(render(SCENE).resize((96, 96))), SCENE)[0] > psnr, "another size is scaled"


def test_ssim_of_a_picture_and_its_opposite_is_negative() -> None:
    one = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert abs(ssim(one, one) - 1) < 1e-5 and ssim(one, 1 - one) < -0.5
