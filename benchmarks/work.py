"""What is timed: plans of a given length, single pictures, edits; written by a script, whatever the weights would write.

Every token is still computed and only then replaced by the script's, so the work is that of a plan of this length, the same
for every rival and for random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import torch
from PIL import Image
from torch import Tensor
from transformers import LogitsProcessor

from duogen.document import Picture
from duogen.models import session
from duogen.models.processor import BOV, IM_END, DuoGenProcessor
from duogen.models.session import DecodeSettings
from duogen.training.world.arrange import GRAMMAR, PLACES
from duogen.training.world.language import action
from duogen.training.world.render import render
from duogen.training.world.scene import COLOURS, OBJECTS, Scene, Thing


@dataclass(frozen=True)
class Work:
    """A request, the pictures that come with it, and the sentences that are written, one before each picture."""

    name: str
    request: str
    given: tuple[Image.Image, ...]
    steps: tuple[str, ...]


def plan_of(pictures: int) -> Work:
    """A plan of so many pictures: things are set out on a shelf, and painted over where it is full."""
    steps = []
    for number in range(pictures):
        place, kind = PLACES[number % len(PLACES)], OBJECTS[number % len(OBJECTS)]
        colour, last = COLOURS[number % len(COLOURS)], COLOURS[(number - len(PLACES)) % len(COLOURS)]
        if number < len(PLACES):
            act = action("add", colour=colour, kind=kind, place=place)
        else:
            act = action(
                "paint", colour=colour, colour2=last, kind=OBJECTS[(number - len(PLACES)) % len(OBJECTS)], place=place
            )
        steps.append(GRAMMAR.say(act, 0.0))
    return Work(f"plan of {pictures}", "Help me to set out my things.", (), tuple(steps))


def edit_of(references: int) -> Work:
    """One picture after so many given ones."""
    scenes = [Scene("shelf", {PLACES[n % 9]: Thing(OBJECTS[n % 8], COLOURS[n % 8])}) for n in range(references)]
    step = GRAMMAR.say(action("add", colour="red", kind="ball", place=PLACES[8]), 0.0)
    return Work(f"edit of {references}", "Put a red ball in the bottom right.", tuple(map(render, scenes)), (step,))


WORKS: dict[str, Callable[[], Work]] = {
    "one picture": partial(plan_of, 1),
    **{f"plan of {count}": partial(plan_of, count) for count in (2, 4, 8, 16)},
    **{f"edit of {count}": partial(edit_of, count) for count in (1, 4, 8)},
}


class Script(LogitsProcessor):
    """The tokens of an answer, one after the other."""

    def __init__(self, work: Work, processor: DuoGenProcessor) -> None:
        bov, end = processor.id(BOV), processor.id(IM_END)
        self._left: Iterator[int] = iter(
            [token for step in work.steps for token in (*processor.encode(step), bov)] + [end]
        )

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """For `generate`: all scores but the next token's are minus infinity."""
        forced = torch.full_like(scores, float("-inf"))
        forced[:, next(self._left)] = 0
        return forced

    def pick(self, logits: Tensor, settings: DecodeSettings, generator: torch.Generator) -> int:
        """For `duogen.models.session.pick`."""
        return next(self._left)


@contextmanager
def scripted(script: Script) -> Iterator[None]:
    """Has all sessions write a script."""
    with patch.object(session, "pick", script.pick):
        yield


def as_pictures(images: Sequence[Image.Image]) -> list[Picture]:
    return [Picture.from_image(image) for image in images]
