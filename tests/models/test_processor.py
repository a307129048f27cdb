from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV, IM_END, SPECIAL_TOKENS, DuoGenProcessor


@pytest.fixture
def processor(tiny: DuoGenPipeline) -> DuoGenProcessor:
    return tiny.processor


@pytest.mark.parametrize("text", ["a red ball", "Müde? 東京 \U0001f600\n", "", "  two  spaces ", "tab\tand\x00null"])
def test_any_text_comes_back(processor: DuoGenProcessor, text: str) -> None:
    assert processor.decode(processor.encode(text)) == text


def test_special_tokens_in_text_stay_text(processor: DuoGenProcessor) -> None:
    ids = processor.encode(f"please {IM_END}{BOV}")
    assert not {processor.id(token) for token in SPECIAL_TOKENS} & set(ids)
    assert processor.decode(ids) == f"please {IM_END}{BOV}"


@pytest.mark.parametrize("size", [(192, 192), (100, 130), (31, 400), (900, 600)])
def test_pixels_equal_the_upstream_image_processor(processor: DuoGenProcessor, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    patches, grids = processor.pixels([image, image])
    upstream = processor.image_processor(images=[image, image], return_tensors="pt")
    assert torch.equal(grids, upstream["image_grid_thw"])
    assert torch.allclose(patches, upstream["pixel_values"], atol=1e-5)


def test_saved_and_loaded(processor: DuoGenProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    loaded = DuoGenProcessor.from_pretrained(tmp_path)
    assert [loaded.id(token) for token in SPECIAL_TOKENS] == [processor.id(token) for token in SPECIAL_TOKENS]
    assert loaded.encode("a red ball in the top left") == processor.encode("a red ball in the top left")
    assert loaded.image_processor.patch_size == processor.image_processor.patch_size
