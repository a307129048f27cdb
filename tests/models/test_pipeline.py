from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from duogen.errors import InputError
from duogen.models.pipeline import DuoGenPipeline


def test_saved_and_loaded_it_paints_the_same(tiny: DuoGenPipeline, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path)
    loaded = DuoGenPipeline.from_pretrained(tmp_path)
    assert (tmp_path / "transformer" / "diffusion_pytorch_model.safetensors").is_file()
    assert loaded.config.attention_mode == tiny.config.attention_mode
    arguments = {"num_inference_steps": 2, "width": 64, "height": 64, "seed": 3}
    one = tiny("a red ball", **arguments).images[0]
    assert one.tobytes() == loaded("a red ball", **arguments).images[0].tobytes()


def test_references_change_the_picture(tiny: DuoGenPipeline) -> None:
    red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    arguments = {"num_inference_steps": 2, "width": 64, "height": 64}
    pictures = [tiny("edit it", image, **arguments).images[0].tobytes() for image in (None, red, blue, [red, blue])]
    assert len(set(pictures)) == 4


def test_own_shape_is_kept_within_the_limit(tiny: DuoGenPipeline) -> None:
    assert tiny.fitted(Image.new("RGB", (100, 60))).size == (96, 64)
    wide = tiny.fitted(Image.new("RGB", (4000, 1000)))
    assert wide.width * wide.height <= 1.2 * tiny.config.max_condition_pixels
    assert 3 <= wide.width / wide.height <= 5
    assert tiny.fitted(Image.new("RGB", (3, 3))).size == (32, 32)


def test_latents_come_back_as_pictures(tiny: DuoGenPipeline) -> None:
    image = Image.new("RGB", (64, 32), (250, 240, 220))
    latent = tiny.encode_picture(image)
    assert latent.shape == (1, tiny.vae.config.z_dim, 2, 4)
    assert tiny.decode_picture(latent).size == (64, 32)
    assert torch.allclose(tiny.encode_picture(tiny.decode_picture(latent)), latent, atol=0.05)


def test_bad_folders_and_modes(tiny: DuoGenPipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a DuoGen model folder"):
        DuoGenPipeline.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="attention_mode"):
        DuoGenPipeline(**tiny.components, attention_mode="sideways")
    with pytest.raises(InputError, match="prediction_type"):
        DuoGenPipeline(**tiny.components, prediction_type="noise")
