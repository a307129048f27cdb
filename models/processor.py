"""Image processor and tokenizer of a Qwen-VL, in one saved folder.

transformers' own `Qwen2_5_VLProcessor` insists on a video processor, and with it on torchvision. Pictures are all that
DuoGen needs, so this subclass of `ProcessorMixin` keeps the two parts that matter and the standard file names
(``tokenizer.json``, ``preprocessor_config.json``); it reads the processor folder of a public checkpoint unchanged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AddedToken, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize
from transformers.processing_utils import ProcessorMixin

from duogen.document import BOV

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD, BOV)


class Spread(NamedTuple):
    """How a picture's tokens lie in the sequence.

    `offsets`: of each token, how far behind the picture's begin it lies on the axes of multimodal RoPE, time, height and width.
    `advance`: how far behind it the next token lies.
    """

    offsets: list[tuple[int, int, int]]
    advance: int


class DuoGenProcessor(ProcessorMixin):
    """The MLLM's tokenizer and image processor: that of Qwen2.5-VL and Qwen3-VL, and what other families derive from.

    `<BOV>` is added to the tokenizer where it is missing.
    """

    image_token = IMAGE_PAD
    """What stands for each token of a picture."""

    def __init__(self, image_processor: Qwen2VLImageProcessorPil, tokenizer: Qwen2Tokenizer, **kwargs) -> None:
        super().__init__(image_processor, tokenizer, chat_template=kwargs.get("chat_template"))
        if tokenizer.convert_tokens_to_ids(BOV) in (None, tokenizer.unk_token_id):
            tokenizer.add_tokens([AddedToken(BOV, special=True, normalized=False)])
        self.image_processor = image_processor
        self.tokenizer = tokenizer

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs) -> DuoGenProcessor:
        """Reads a folder or hub id with a Qwen-VL tokenizer and preprocessor config."""
        known = {
            key: kwargs[key] for key in ("subfolder", "revision", "cache_dir", "local_files_only") if key in kwargs
        }
        return cls(
            Qwen2VLImageProcessorPil.from_pretrained(pretrained_model_name_or_path, **known),
            Qwen2Tokenizer.from_pretrained(pretrained_model_name_or_path, **known),
        )

    def id(self, token: str) -> int:
        """The id of a special token."""
        return int(self.tokenizer.convert_tokens_to_ids(token))

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; special tokens written in it stay plain text."""
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def decode(self, ids: list[int]) -> str:
        """Text of token ids, special tokens left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def pixels(self, images: list[Image.Image]) -> tuple[Tensor, Tensor]:
        """Patches [sum of h * w, patch_dim] and grids [pictures, 3] (t, h, w in patches) for the vision encoder.

        The same numbers as ``image_processor(images)``, several times faster: training spends its time here.
        """
        settings = self.image_processor
        mean, std = (torch.tensor(values, dtype=torch.float32) for values in (settings.image_mean, settings.image_std))
        scale, shift = (value[:, None, None] for value in (settings.rescale_factor / std, mean / std))
        size, merge, frames = settings.patch_size, settings.merge_size, settings.temporal_patch_size
        patches, grids = [], []
        for image in images:
            height, width = self._resized(image.width, image.height)
            if (width, height) != image.size:
                image = image.resize((width, height), Image.Resampling(settings.resample))
            rows, columns = height // size, width // size
            pixels = torch.from_numpy(np.array(image.convert("RGB")))
            pixels = pixels.view(rows // merge, merge, size, columns // merge, merge, size, 3).permute(
                0, 3, 1, 4, 6, 2, 5
            )
            # A picture is a film of equal frames.
            film = (pixels.float() * scale - shift).unsqueeze(5).expand(-1, -1, -1, -1, -1, frames, -1, -1)
            patches.append(film.reshape(rows * columns, -1))
            grids.append([1, rows, columns])
        return torch.cat(patches), torch.tensor(grids)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Height and width in which the vision encoder sees a picture."""
        settings = self.image_processor
        factor = settings.patch_size * settings.merge_size
        rows, columns = smart_resize(
            height, width, factor, settings.size["shortest_edge"], settings.size["longest_edge"]
        )
        return rows, columns

    def grids(self, sizes: list[tuple[int, int]]) -> Tensor:
        """The grids [pictures, 3] of pictures of these widths and heights, as `pixels` gives them."""
        patch = self.image_processor.patch_size
        return torch.tensor([[1, *(side // patch for side in self._resized(*size))] for size in sizes])

    def marks(self) -> tuple[list[int], list[int]]:
        """Token ids before and behind a picture's own."""
        return [self.id(VISION_START)], [self.id(VISION_END)]

    def spread(self, grid: Tensor) -> Spread:
        """Where the tokens of a picture of that grid lie: they share one time and spread over height and width."""
        rows, columns = (int(side) // self.image_processor.merge_size for side in grid[1:])
        return Spread([(0, row, column) for row in range(rows) for column in range(columns)], max(rows, columns))

    def pixel_rows(self, grids: Tensor) -> list[int]:
        """How many rows of `pixels` each of some pictures takes."""
        return grids.prod(-1).tolist()
