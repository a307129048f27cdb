"""Objective scores of one answer in the procedural world.

Text is read by the grammar that wrote the training texts, pictures by the parser; truth is the world's own rules. So a
score needs no judge, and every failure can be pointed at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np

from duogen.document import Picture
from duogen.evaluation.fidelity import fidelity
from duogen.training.world.language import Action
from duogen.training.world.scene import Place, Scene, Thing
from duogen.training.world.task import Family, Turn


class Attempt(NamedTuple):
    """A picture that the model has looked at: whether it was content, and what the picture shows."""

    accepted: bool
    shown: Scene | None


@dataclass
class Step:
    """One piece of an answer: its text, and what its picture shows.

    `pictured` tells whether a picture follows the text; `shown` is the scene read from it, None where it can't be read;
    `picture` is the picture itself, where it was kept. `attempts`: what was painted for it, where the model checked itself.
    """

    text: str
    pictured: bool
    shown: Scene | None = None
    picture: Picture | None = None
    attempts: tuple[Attempt, ...] = ()


class Stride(NamedTuple):
    """A step beside the truth.

    `actions`: what its text states. `before`, `after`: the true scenes around it, None from the first illegal action on.
    `right`: whether its picture shows the true scene.
    """

    step: Step
    actions: list[Action]
    before: Scene | None
    after: Scene | None
    right: bool


def walk(family: Family, turn: Turn, before: Scene, steps: Sequence[Step]) -> list[Stride]:
    """An answer, step by step, along the true scenes that its own text leads through.

    A request for a picture that no action leads to has no text to follow: its true scene is the turn's own.
    """
    if family.direct(turn):
        goal = turn.pictures[-1]
        return [Stride(step, [], before, goal, step.pictured and _fulfils(turn, step.shown)) for step in steps]
    strides: list[Stride] = []
    scene: Scene | None = before
    for step in steps:
        previous, actions = scene, family.read(step.text)
        for act in actions:
            scene = None if scene is None else family.apply(scene, act)
        right = step.pictured and bool(actions) and scene is not None and step.shown == scene
        strides.append(Stride(step, actions, previous, scene, right))
    return strides


@dataclass
class Tally:
    """Counts that add up over answers; `rates` turns them into scores."""

    hits: int = 0
    false_pictures: int = 0
    missed_pictures: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    plans: list[bool] = field(default_factory=list)
    optimal: list[bool] = field(default_factory=list)
    states: list[bool] = field(default_factory=list)
    agreements: list[bool] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    sequences: list[bool] = field(default_factory=list)
    readable: list[bool] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    first_attempts: list[bool] = field(default_factory=list)
    rejected_wrong: list[bool] = field(default_factory=list)
    wrong_rejected: list[bool] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.hits += other.hits
        self.false_pictures += other.false_pictures
        self.missed_pictures += other.missed_pictures
        self.objects.update(other.objects)
        for entry in fields(self):
            if isinstance(own := getattr(self, entry.name), list):
                own.extend(getattr(other, entry.name))

    def add_picture(self, step: Step, truth: Scene | None, right: Callable[[Scene | None], bool]) -> None:
        """What is counted of every picture: is it right, can it be read, how near is it to the truth, what did the model think.

        Args:
            right: whether a scene is what the picture should show.
        """
        self.states.append(right(step.shown))
        self.readable.append(step.shown is not None)
        if truth is not None and step.picture is not None:
            psnr, ssim = fidelity(step.picture, truth)
            self.psnr.append(psnr)
            self.ssim.append(ssim)
        verdicts = [(attempt.accepted, right(attempt.shown)) for attempt in step.attempts]
        self.first_attempts += [fine for _, fine in verdicts[:1]]
        self.rejected_wrong += [not fine for accepted, fine in verdicts if not accepted]
        self.wrong_rejected += [not accepted for accepted, fine in verdicts if not fine]

    def counts(self) -> dict[str, tuple[float, int]]:
        """Of every score, how much was right and out of how much; they add up over answers."""
        lists: dict[str, Sequence[float]] = {
            "plan_legal_and_goal": self.plans,
            "plan_optimal": self.optimal,
            "step_state_accuracy": self.states,
            "sequence_exact": self.sequences,
            "text_picture_agreement": self.agreements,
            "untouched_kept": self.kept,
            "pictures_readable": self.readable,
            "text_answers_exact": self.answers,
            "psnr": self.psnr,
            "ssim": self.ssim,
            "first_attempt_state_accuracy": self.first_attempts,
            "check_precision": self.rejected_wrong,
            "check_recall": self.wrong_rejected,
        }
        called = 2 * self.hits + self.false_pictures + self.missed_pictures
        partial = {
            "object_f1": (2 * self.objects["there"], self.objects["shown"] + self.objects["true"]),
            "relation_similarity": (self.objects["related"], self.objects["relations"]),
        }
        return {
            "emission_f1": (2 * self.hits, called),
            **{name: (sum(values), len(values)) for name, values in lists.items()},
            **partial,
        }

    def rates(self) -> dict[str, float | None]:
        """Every score from 0 to 1; None where nothing was counted."""
        return {name: right / of if of else None for name, (right, of) in self.counts().items()}


def intervals(tallies: Sequence[Tally], seed: int = 0, draws: int = 1000) -> dict[str, tuple[float, float] | None]:
    """95 % intervals of the scores over answers, by bootstrap over the answers; None where nothing was counted."""
    counts = [tally.counts() for tally in tallies]
    drawn = np.random.default_rng(seed).integers(len(tallies), size=(draws, len(tallies)))
    found: dict[str, tuple[float, float] | None] = {}
    for name in counts[0]:
        right, of = np.array([count[name] for count in counts])[drawn].sum(1).T
        rates = right[of > 0] / of[of > 0]
        if not len(rates):
            found[name] = None
            continue
        low, high = np.quantile(rates, (0.025, 0.975))
        found[name] = (round(float(low), 4), round(float(high), 4))
    return found


def score_turn(family: Family, turn: Turn, before: Scene, steps: Sequence[Step]) -> tuple[Tally, Scene | None]:
    """Scores one answer.

    Args:
        before: the true scene that the request starts from.
        steps: the answer in order.

    Returns:
        The counts, and the true scene after the answer's own actions (None where one isn't legal).
    """
    tally = Tally()
    if not turn.pictures:
        tally.false_pictures = sum(step.pictured for step in steps)
        said = "".join(step.text for step in steps)
        tally.answers.append(family.answers(turn, before, said) and not tally.false_pictures)
        return tally, before
    if family.direct(turn):
        return _score_direct(turn, before, steps)

    truth: Scene | None = before
    seen: Scene | None = before
    exact = True
    for step, actions, previous, truth, right in walk(family, turn, before, steps):
        hit = step.pictured and bool(actions) and (turn.steps is None or tally.hits < turn.steps)
        tally.hits += hit
        tally.false_pictures += step.pictured and not hit
        # Where a request wants so many steps, several actions may share a picture.
        tally.missed_pictures += (len(actions) if turn.steps is None else bool(actions)) - (
            bool(actions) and step.pictured
        )
        if step.pictured:
            exact &= right
            tally.add_picture(step, truth, partial(_is, truth if actions else None))
            if truth is not None:
                tally.objects += objects_right(truth, step.shown)
            tally.agreements.append(_agrees(family, seen, step, actions))
            if previous is not None and truth is not None:
                tally.kept += _kept(previous, truth, seen, step.shown)
            # A picture of another stage says nothing that the next step could begin from.
            seen = step.shown if step.shown is not None and step.shown.stage == before.stage else None
    pictures = sum(step.pictured for step in steps)
    tally.missed_pictures += max(0, len(turn.pictures) - max(pictures, tally.hits + tally.missed_pictures))
    reached = truth is not None and turn.goal(truth) and turn.steps in (None, pictures)
    tally.plans.append(reached)
    if family.shortest:
        stated = sum(len(family.read(step.text)) for step in steps)
        tally.optimal.append(reached and stated <= len(turn.pictures))
    tally.sequences.append(exact and reached and pictures > 0)
    return tally, truth


def _score_direct(turn: Turn, before: Scene, steps: Sequence[Step]) -> tuple[Tally, Scene | None]:
    """A request for one picture, which no action leads to."""
    tally, goal = Tally(), turn.pictures[-1]
    pictured = [step for step in steps if step.pictured]
    tally.hits, tally.false_pictures = min(1, len(pictured)), max(0, len(pictured) - 1)
    tally.missed_pictures = 1 - tally.hits
    shown = pictured[-1].shown if pictured else None
    right = _fulfils(turn, shown)
    tally.add_picture(pictured[-1] if pictured else Step("", False), goal, partial(_fulfils, turn))
    tally.kept += _kept(before, goal, before, shown)
    tally.sequences.append(right and len(pictured) == 1)
    return tally, goal


def _is(should: Scene | None, shown: Scene | None) -> bool:
    return should is not None and shown == should


def _fulfils(turn: Turn, shown: Scene | None) -> bool:
    return shown is not None and turn.goal(shown)


def objects_right(true: Scene, shown: Scene | None) -> Counter[str]:
    """Partial credit for a picture, as in GeNeVA (arXiv 1811.09845): which objects are there, and how they lie to one another.

    `there` of `true` and `shown` objects; `related` of `relations`, whether one of two objects is left or right of, above or
    below the other. Relations with an object that isn't there are wrong; objects that the true scene has several of have none.
    """
    found = Counter(shown.things.values()) if shown is not None else Counter[Thing]()
    wanted = Counter(true.things.values())
    counts = Counter({"there": (found & wanted).total(), "shown": found.total(), "true": wanted.total()})
    places = {} if shown is None else {thing: place for place, thing in shown.things.items() if found[thing] == 1}
    single = [(place, thing) for place, thing in sorted(true.things.items()) if wanted[thing] == 1]
    for (one, first), (two, second) in combinations(single, 2):
        counts["relations"] += 1
        if first in places and second in places:
            counts["related"] += _side(one, two) == _side(places[first], places[second])
    return counts


def _side(one: Place, two: Place) -> tuple[int, int]:
    """-1, 0 or 1 each way."""
    return (one[0] > two[0]) - (one[0] < two[0]), (one[1] > two[1]) - (one[1] < two[1])


def _agrees(family: Family, seen: Scene | None, step: Step, actions: Sequence) -> bool:
    """Whether the text, applied to what the picture before shows, gives what this picture shows."""
    scene = seen
    for act in actions:
        scene = None if scene is None else family.apply(scene, act)
    return bool(actions) and scene is not None and scene == step.shown


def _kept(previous: Scene, truth: Scene, seen: Scene | None, shown: Scene | None) -> list[bool]:
    """For each thing that the step doesn't touch: does it stand in this picture as it stood in the one before?"""
    if seen is None:
        return []
    untouched = [place for place in seen.things if place not in previous.changed(truth)]
    return [shown is not None and shown.things.get(place) == seen.things[place] for place in untouched]
