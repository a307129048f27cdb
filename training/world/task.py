"""What every family of the world has in common: a task, its solution, and how they become a training document."""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from zlib import crc32

from duogen.training.world.language import NUMBERS, Action, Grammar
from duogen.training.world.scene import Scene


@dataclass(frozen=True)
class Turn:
    """One request and its model answer.

    `segments` alternate strictly with pictures: ``segments[i]`` is written before ``pictures[i]``, and a last segment
    with no picture behind it closes the answer. `goal` tells whether a final scene fulfils the request. `steps` is how many
    steps the request wants, where it says so: several actions then share a picture.
    """

    request: str
    segments: list[str]
    pictures: list[Scene]
    goal: Callable[[Scene], bool]
    steps: int | None = None


@dataclass(frozen=True)
class Task:
    """A whole dialogue: pictures from the user, then turns.

    `kind` names the sort of request, `start` is the scene that the first answer begins from, `shown` what the user's
    pictures show: often `start`, a finished dish where the recipe is asked for, two scenes to compare, or nothing.
    """

    family: str
    kind: str
    start: Scene
    shown: tuple[Scene, ...]
    turns: list[Turn] = field(default_factory=list)

    @property
    def pictures(self) -> list[Scene]:
        """Every picture of the dialogue in order, the user's first."""
        return [*self.shown, *(scene for turn in self.turns for scene in turn.pictures)]

    def seen(self, look: int) -> Task:
        """The same task with all its scenes in another look."""
        turns = [replace(turn, pictures=[replace(p, look=look) for p in turn.pictures]) for turn in self.turns]
        shown = tuple(replace(scene, look=look) for scene in self.shown)
        return replace(self, start=replace(self.start, look=look), shown=shown, turns=turns)


class Family(ABC):
    """A sort of task: how to draw one at random, how to say it, and how to check an answer.

    `shortest`: whether of all answers that reach the goal the shortest are the best.
    """

    name: str
    grammar: Grammar
    shortest = False

    @abstractmethod
    def sample(self, rng: random.Random, split: str) -> Task:
        """A random task of the split, ``train`` or ``held-out``."""

    @abstractmethod
    def apply(self, scene: Scene, act: Action) -> Scene | None:
        """The scene after an action, or None where the action isn't legal there."""

    def fixed(self) -> list[Task]:
        """The held-out tasks, where they are a list of their own and not drawn at random."""
        return []

    def answers(self, turn: Turn, before: Scene, text: str) -> bool:
        """Whether a text, written without a picture, is the right answer to a turn that begins from a scene.

        Opening words up to a colon don't count.
        """
        return _bare(text) == _bare("".join(turn.segments))

    def direct(self, turn: Turn) -> bool:
        """Whether a turn asks for a single picture that no action leads to."""
        return len(turn.pictures) == 1 and not any(map(self.read, turn.segments))

    def read(self, segment: str) -> list[Action]:
        """The actions that a segment of text states, in order."""
        return [act for line in segment.splitlines() if (act := self.grammar.read(line)) is not None]


def _bare(text: str) -> str:
    return text.split(":", 1)[-1].strip().lower()


def held_out(*key: object) -> bool:
    """Whether a composition is kept out of training: one in eight, by the checksum of what it is made of."""
    return crc32("/".join(map(str, key)).encode()) % 8 == 0


WAYS = (
    "How do I {do}?", "How can I {do}?", "How do you {do}?", "Show me how to {do}.", "Teach me to {do}.", "Help me {do}.",
    "Please help me to {do}.", "I want to {do}.", "I would like to {do}.", "Can you {do}?", "Can you show me how to {do}?",
    "Let us {do}.", "Tell me how to {do}.", "Explain how to {do}.", "What is the way to {do}?", "What do I do to {do}?",
    "Please {do}.", "{do}.",
)  # fmt: skip


def ways_to(*deeds: str) -> tuple[str, ...]:
    """Every way of asking for each of these deeds ('make {what}').

    Where each family had ways of its own, those decided what a request was taken for: 'Teach me to prepare a soup' was answered
    with a drawing (docs/LOG.md).
    """
    return tuple(way.replace("{do}", deed) for deed in deeds for way in WAYS)


def wording(options: Sequence[str], rng: random.Random, split: str) -> str:
    """One of the ways to ask. The last one is kept out of training, wherever else it occurs among them, and one in four
    held-out requests is asked in it."""
    *others, last = options
    return last if split != "train" and rng.random() < 0.25 else rng.choice([way for way in others if way != last])


def vary(request: str, rng: random.Random) -> str:
    """A request as people type it: with a capital letter and a full stop, or, one in seven, without; one in ten mistyped."""
    request = request[0].upper() + request[1:]
    if rng.random() < 0.15:
        request = request.lower().rstrip(".?")
    return _mistyped(request, rng) if rng.random() < 0.1 else request


def mistyped(task: Task, rng: random.Random) -> Task:
    """A task with a slip in its first request; training has more of them than people make, since each word can be misspelt in
    many ways, and a small model has to meet most of these."""
    first, *others = task.turns
    return replace(task, turns=[replace(first, request=_mistyped(first.request, rng)), *others])


def _mistyped(request: str, rng: random.Random) -> str:
    """With two letters of one longer word swapped, one of them left out, or one typed twice."""
    words = [match for match in re.finditer(r"[A-Za-z]+", request) if len(match[0]) > 3]
    if not words:
        return request
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    one, two = request[at], request[at + 1]
    return request[:at] + rng.choice((two + one, two, one + one + two)) + request[at + 2 :]


def in_steps(request: str, count: int, rng: random.Random) -> str:
    """A request with the wish for so many steps."""
    said = f"in {NUMBERS[count]} step{'s' * (count > 1)}"
    end = request[-1] if request[-1] in ".?" else ""
    if rng.random() < 0.5:
        return request.removesuffix(end) + f" {said}{end}"
    return f"{said.capitalize()}: {request[0].lower()}{request[1:]}"


def gather(steps: list[str], scenes: list[Scene], count: int) -> tuple[list[str], list[Scene]]:
    """Actions told in fewer steps, each of as many lines as actions; the first steps take what is left over."""
    least, over = divmod(len(steps), count)
    ends = [(number + 1) * least + min(number + 1, over) for number in range(count)]
    lines = ["\n".join(steps[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    return lines, [scenes[end - 1] for end in ends]


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
