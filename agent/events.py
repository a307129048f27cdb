"""What happens during a run, for whoever shows progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from duogen.document import ImagePart, Picture


@dataclass(frozen=True)
class TextDelta:
    """A new piece of text."""

    text: str


@dataclass(frozen=True)
class PictureStarted:
    """A picture is due. `index` counts the answer's pictures from 1."""

    index: int
    seed: int


@dataclass(frozen=True)
class DenoisingStep:
    """Step `step` of `steps` of picture `index` is done."""

    index: int
    step: int
    steps: int


@dataclass(frozen=True)
class PictureChecked:
    """The model has looked at an attempt at picture `index`, the first being attempt 0.

    `chance`: how likely it is, to the model, that it shows what the text says, from 0 to 1. `accepted`: whether that is enough.
    """

    index: int
    attempt: int
    chance: float
    accepted: bool
    picture: Picture


@dataclass(frozen=True)
class PictureDone:
    """Picture `index` is painted and kept."""

    index: int
    part: ImagePart
    picture: Picture
    seconds: float


@dataclass(frozen=True)
class Finished:
    """The answer is complete.

    `reason`: ``end`` (the planner said so), ``max_pictures``, ``length`` or ``repetition``.
    """

    reason: str
    pictures: int


Event = TextDelta | PictureStarted | DenoisingStep | PictureChecked | PictureDone | Finished
OnEvent = Callable[[Event], None]
