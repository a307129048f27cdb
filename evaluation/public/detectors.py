"""GenEval's detector and colours on transformers: Mask2Former and CLIP, from folders of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from duogen.errors import InputError
from duogen.evaluation.public.geneval import COLOURS, CONFIDENT, Detection, object_names

PHRASES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")
GROUND = "#999999"
"""What surrounds an object whose colour is asked for."""


class Mask2Former:
    """Instances of COCO's 80 classes (Cheng et al. 2022); GenEval's authors use Swin-S.

    Args:
        folder: a checkpoint as transformers saves it, such as ``facebook/mask2former-swin-small-coco-instance``.

    Raises:
        InputError: no such checkpoint there, or one of other classes.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

        self.processor = _loaded(AutoImageProcessor, folder)
        self.model = _loaded(Mask2FormerForUniversalSegmentation, folder).eval().to(device)
        self.device, self.names = device, object_names()
        self.about = f"{folder.name} (transformers, Mask2Former)"
        if (classes := self.model.config.num_labels) != len(self.names):
            raise InputError(f"{folder}: detects {classes} classes, not COCO's {len(self.names)}")

    @torch.inference_mode()
    def __call__(self, image: Image.Image) -> dict[str, list[Detection]]:
        inputs = self.processor(images=image, return_tensors="pt").to(self.device)
        made = self.processor.post_process_instance_segmentation(
            self.model(**inputs),
            threshold=CONFIDENT,
            target_sizes=[(image.height, image.width)],
            return_binary_maps=True,
        )[0]
        found: dict[str, list[Detection]] = {}
        if not made["segments_info"]:
            return {}
        for segment, mask in zip(made["segments_info"], made["segmentation"], strict=True):
            own = mask.cpu().numpy().astype(bool)
            if own.any():
                each = Detection(_box(own), float(segment["score"]), own)
                found.setdefault(self.names[segment["label_id"]], []).append(each)
        return found


class Clip:
    """The likeliest of ten colours, for the object alone on grey ground, cut out by its box.

    Args:
        folder: a checkpoint as transformers saves it; GenEval's authors use OpenAI's ViT-L/14.

    Raises:
        InputError: no such checkpoint there.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        from transformers import AutoProcessor, CLIPModel

        self.processor, self.model = _loaded(AutoProcessor, folder), _loaded(CLIPModel, folder).eval().to(device)
        self.device = device
        self.about = f"{folder.name} (transformers, CLIP)"
        self._known: dict[str, Any] = {}

    @torch.inference_mode()
    def __call__(self, image: Image.Image, found: Sequence[Detection], name: str) -> list[str]:
        cuts = [_cut(image, each) for each in found]
        inputs = self.processor(images=cuts, return_tensors="pt").to(self.device)
        seen = _unit(self.model.get_image_features(**inputs))
        return [COLOURS[int(place)] for place in (seen @ self._words(name).T).argmax(1)]

    def _words(self, name: str) -> Any:
        """One direction [10, dim] a colour: the mean over phrases."""
        if name not in self._known:
            said = []
            for colour in COLOURS:
                texts = [phrase.format(colour=colour, name=name) for phrase in PHRASES]
                inputs = self.processor(text=texts, return_tensors="pt", padding=True).to(self.device)
                said.append(_unit(_unit(self.model.get_text_features(**inputs)).mean(0, keepdim=True)))
            self._known[name] = torch.cat(said)
        return self._known[name]


def _unit(made: Any) -> torch.Tensor:
    vectors = made if isinstance(made, torch.Tensor) else made.pooler_output
    return torch.nn.functional.normalize(vectors.float(), dim=-1)


def _cut(image: Image.Image, found: Detection) -> Image.Image:
    if found.mask is not None:
        image = Image.composite(image, Image.new("RGB", image.size, GROUND), Image.fromarray(found.mask))
    left, top, right, bottom = (round(side) for side in found.box)
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def _box(mask: Any) -> tuple[float, float, float, float]:
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _loaded(kind: Any, folder: Path) -> Any:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; it must hold a checkpoint of transformers")
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: can't be loaded ({(str(error).splitlines() or [''])[0]})") from error
