from __future__ import annotations

import pytest
import torch
from PIL import Image

from duogen.models import seeing
from duogen.models.mllm import small_qwen
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.seeing import Eyes


@pytest.mark.parametrize("full", [(0, 1), (1,), ()])
@torch.no_grad()
def test_pictures_are_seen_as_by_upstream(tiny: DuoGenPipeline, full: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    qwen = small_qwen(tiny.processor, 64, 1, 2, 1, 64, 2).eval()
    for weight in qwen.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    visual = qwen.model.visual
    visual.fullatt_block_indexes, visual.window_size = list(full), 4 * visual.patch_size
    images = [Image.effect_noise(size, 90).convert("RGB") for size in ((128, 128), (192, 96), (128, 128), (160, 32))]
    pixels, grids = tiny.processor.pixels(images)
    theirs = torch.cat(list(qwen.model.get_image_features(pixels, grids).pooler_output))
    ours = Eyes(qwen)(pixels, grids)
    assert ours.shape == theirs.shape and theirs.std() > 0.1
    assert torch.allclose(ours, theirs, atol=1e-3 * float(theirs.abs().max()))
    visual.window_size = 2 * visual.patch_size
    same = torch.allclose(Eyes(qwen)(pixels, grids), ours, atol=1e-3 * float(theirs.abs().max()))
    assert same == (full == (0, 1)), "windows matter to the layers that stay in them"


@torch.no_grad()
def test_large_pictures_are_left_to_upstream(tiny: DuoGenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, grids = tiny.processor.pixels([Image.new("RGB", (64, 64), (200, 90, 40))])
    ours = Eyes(tiny.mllm)(pixels, grids)
    monkeypatch.setattr(seeing, "LARGEST", 3)
    monkeypatch.setattr(seeing.Seeing, "forward", lambda *_: pytest.fail("too large for this"))
    assert torch.allclose(ours, Eyes(tiny.mllm)(pixels, grids), atol=1e-4)
