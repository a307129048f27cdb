"""Image processor and tokenizer of LLaVA-OneVision.

Every picture is what this family makes of pictures that come in number: one square view, its tokens in a row, a line break's
embedding behind them (transformers' ``LlavaOnevisionProcessor`` cuts a picture that comes alone into tiles as well, which would
change how a dialogue's first picture is read as soon as there is a second).
"""

from __future__ import annotations

import json
from math import isqrt
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import Qwen2Tokenizer
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from duogen.models.processor import DuoGenProcessor, Spread


class LlavaProcessor(DuoGenProcessor):
    """As `DuoGenProcessor`, for LLaVA-OneVision.

    Args:
        num_image_tokens: of a square view, without the line break.
    """

    image_token = "<image>"

    def __init__(
        self,
        image_processor: LlavaOnevisionImageProcessorPil,
        tokenizer: Qwen2Tokenizer,
        num_image_tokens: int = 729,
        **kwargs,
    ) -> None:
        super().__init__(image_processor, tokenizer, **kwargs)
        self.num_image_tokens = num_image_tokens

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs) -> LlavaProcessor:
        """Reads a local folder."""
        folder = Path(pretrained_model_name_or_path)
        settings = json.loads((folder / "processor_config.json").read_bytes())
        return cls(
            LlavaOnevisionImageProcessorPil.from_pretrained(folder),
            Qwen2Tokenizer.from_pretrained(folder),
            settings.get("num_image_tokens", 729),
        )

    def pixels(self, images: list[Image.Image]) -> tuple[Tensor, Tensor]:
        """Views [pictures, 3, side, side], and grids [pictures, 3] that are the same for all pictures."""
        settings = self.image_processor
        mean, std = (np.asarray(each, np.float32) for each in (settings.image_mean, settings.image_std))
        background = tuple(int(each * 255) for each in settings.image_mean)
        size = (settings.size["width"], settings.size["height"])
        views = []
        for image in images:
            longest = max(image.size)
            square = Image.new("RGB", (longest, longest), background)
            square.paste(image.convert("RGB"), ((longest - image.width) // 2, (longest - image.height) // 2))
            view = np.asarray(square.resize(size, Image.Resampling(settings.resample)), np.float32)
            views.append(((view * settings.rescale_factor - mean) / std).transpose(2, 0, 1))
        return torch.from_numpy(np.stack(views)), self.grids([image.size for image in images])

    def grids(self, sizes: list[tuple[int, int]]) -> Tensor:
        side = isqrt(self.num_image_tokens)
        return torch.tensor([[1, side, side]] * len(sizes))

    def marks(self) -> tuple[list[int], list[int]]:
        return [], self.encode("\n")

    def spread(self, grid: Tensor) -> Spread:
        """One after the other, as words."""
        count = int(grid[1] * grid[2]) + 1
        return Spread([(index,) * 3 for index in range(count)], count)

    def pixel_rows(self, grids: Tensor) -> list[int]:
        return [1] * len(grids)
