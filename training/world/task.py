"""What every family of the world has in common: a task, its solution, and how they become a training document."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from duogen.training.world.language import Action, Grammar
from duogen.training.world.scene import Scene


@dataclass(frozen=True)
class Turn:
    """One request and its model answer.

    `segments` alternate strictly with pictures: ``segments[i]`` is written before ``pictures[i]``, and a last segment
    with no picture behind it closes the answer. `goal` tells whether a final scene fulfils the request.
    """

    request: str
    segments: list[str]
    pictures: list[Scene]
    goal: Callable[[Scene], bool]


@dataclass(frozen=True)
class Task:
    """A whole dialogue: an optional picture from the user, then turns. `kind` names the sort of request."""

    family: str
    kind: str
    start: Scene
    shows_start: bool
    turns: list[Turn] = field(default_factory=list)

    @property
    def pictures(self) -> list[Scene]:
        """Every picture of the dialogue in order, the user's first."""
        own = [scene for turn in self.turns for scene in turn.pictures]
        return [self.start, *own] if self.shows_start else own


class Family(ABC):
    """A sort of task: how to draw one at random, how to say it, and how to check an answer."""

    name: str
    grammar: Grammar

    @abstractmethod
    def sample(self, rng: random.Random, split: str) -> Task:
        """A random task of the split, ``train`` or ``held-out``."""

    @abstractmethod
    def apply(self, scene: Scene, act: Action) -> Scene | None:
        """The scene after an action, or None where the action isn't legal there."""

    def read(self, segment: str) -> list[Action]:
        """The actions that a segment of text states, in order."""
        return [act for line in segment.splitlines() if (act := self.grammar.read(line)) is not None]


INTROS = (
    "Here is how to do it.", "Sure, let us go step by step.", "Of course. Follow these steps.",
    "Happy to help. Here is the plan.", "This is how it goes.",
)  # fmt: skip
CLOSINGS = ("Done!", "That is it. Well done!", "All done. Enjoy!", "Finished. It looks great!", "And that is all.")


def narrate(steps: list[str], rng: random.Random) -> list[str]:
    """The text segments of a step-by-step answer: an introduction, numbering and a closing line, each optional."""
    style = rng.choice(("Step {n}: {step}", "{n}. {step}", "{step}"))
    segments = [style.format(n=n, step=step) for n, step in enumerate(steps, 1)]
    if rng.random() < 0.7:
        segments[0] = rng.choice(INTROS) + "\n" + segments[0]
    if rng.random() < 0.6:
        segments.append(rng.choice(CLOSINGS))
    return segments
