"""Runs a model on requests of the procedural world and scores what comes back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from duogen.agent.agent import Agent
from duogen.agent.events import Event, PictureChecked
from duogen.document import Document, ImagePart, Message, Picture, TextPart
from duogen.evaluation.scores import Attempt, Step, Tally, intervals, score_turn
from duogen.models.layout import Turn as Dialogue
from duogen.models.layout import Unseen
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings, Session
from duogen.training.data import FAMILIES, draw_task, turns_of_task
from duogen.training.world.depict import TAGS
from duogen.training.world.parse import add_noise, parse
from duogen.training.world.render import render
from duogen.training.world.scene import Scene
from duogen.training.world.task import Task, Turn

MAX_PICTURES = 12


@dataclass
class Answered:
    """A task, the model's answer to each of its turns, and the whole dialogue, where it was one."""

    task: Task
    steps: list[list[Step]]
    document: Document | None = None


def tasks_of(split: str, families: Sequence[str], limit: int, seed: int) -> list[Task]:
    """The first `limit` tasks of a split, the same for every model; of all families in turn, where none is named."""
    families = families or list(FAMILIES)
    return [
        _task(split, families[index % len(families)], index // len(families), index, seed) for index in range(limit)
    ]


def _task(split: str, family: str, number: int, index: int, seed: int) -> Task:
    """Held-out tasks of a family that has a list of them come in its order."""
    fixed = FAMILIES[family].fixed() if split == "held-out" else []
    return fixed[number % len(fixed)] if fixed else draw_task(10_000 + seed, index, split, family)


def answer(agent: Agent, task: Task, settings: PaintSettings, self_check: int = 0) -> Answered:
    """Puts a task's requests to a model, each after the model's own answer to the one before."""
    document: Document | None = None
    steps = []
    for number, turn in enumerate(task.turns):
        shown = [Picture.from_image(render(scene)) for scene in task.shown] if number == 0 else []
        checked: dict[int, list[Attempt]] = {}

        def note(event: Event, checked: dict[int, list[Attempt]] = checked) -> None:
            if isinstance(event, PictureChecked):
                checked.setdefault(event.index, []).append(Attempt(event.accepted, parse(event.picture.image())))

        plan = agent.plan(
            turn.request, shown, after=document, settings=settings, max_pictures=MAX_PICTURES, on_event=note,
            self_check=self_check,
        )  # fmt: skip
        document = plan.document
        answered = steps_of(document, document.messages[-1])
        pictured = [step for step in answered if step.pictured]
        for number, step in enumerate(pictured, 1):
            step.attempts = tuple(checked.get(number, ()))
        steps.append(answered)
    return Answered(task, steps, document)


def answer_in_words(pipeline: DuoGenPipeline, task: Task, max_pictures: int = MAX_PICTURES) -> Answered:
    """As `answer`, for the MLLM alone: behind each `<BOV>` it is shown the true picture of what it wrote."""
    family, scene, answered = FAMILIES[task.family], task.start, []
    turns: list[Dialogue] = []
    for number, turn in enumerate(task.turns):
        shown = [render(scene) for scene in task.shown] if number == 0 else []
        turns.append(("user", [*shown, turn.request]))
        session = Session(pipeline, turns)
        steps: list[Step] = []
        parts: list[str | Image.Image | None] = []
        while True:
            text = "".join(session.decode(DecodeSettings()))
            pictured = session.stopped == "picture" and len(steps) < max_pictures
            if pictured:
                for act in family.read(text):
                    scene = family.apply(scene, act) or scene
                if family.direct(turn):
                    scene = turn.pictures[-1]
                image = render(scene)
                session.append(image, pipeline.encode_picture(image))
                parts += [text, image] if text else [image]
            elif text:
                parts.append(text)
            steps.append(Step(text, pictured, scene if pictured else None))
            if not pictured:
                break
        turns.append(("assistant", parts))
        answered.append(steps)
    return Answered(task, answered)


def answer_in_pictures(pipeline: DuoGenPipeline, task: Task, settings: PaintSettings) -> Answered:
    """As `answer`, for the DiT alone: each picture is painted behind the true text and the true pictures before it."""
    told: list[Dialogue] = []
    answered: list[list[Step]] = []
    number = 0
    for role, parts in turns_of_task(task):
        done: list[str | Image.Image | Unseen | None] = []
        steps: list[Step] = []
        for part in parts:
            if role == "assistant" and isinstance(part, Image.Image):
                session = Session(pipeline, [*told, (role, done)])
                session.ask()
                painted = session.paint(settings.for_picture(number)).image
                text = done[-1] if done and isinstance(done[-1], str) else ""
                steps.append(Step(text, True, parse(painted), Picture.from_image(painted)))
                number += 1
            done.append(part)
        told.append((role, done))
        if role == "assistant":
            last = done[-1]
            answered.append([*steps, Step(last, False)] if isinstance(last, str) else steps)
    return Answered(task, answered)


def steps_of(document: Document, message: Message) -> list[Step]:
    """An answer as text pieces, each with what its picture shows."""
    steps, text = [], ""
    for part in message.content:
        if isinstance(part, TextPart):
            text += part.text
        elif isinstance(part, ImagePart):
            picture = document.picture(part)
            steps.append(Step(text, True, parse(picture.image()), picture))
            text = ""
    return [*steps, Step(text, False)] if text.strip() else steps


def turns_scored(answered: Answered) -> Iterator[tuple[Turn, Scene, Tally, list[Step]]]:
    """Each turn of a task with the true scene that it starts from, its counts, and its steps."""
    scene, family = answered.task.start, FAMILIES[answered.task.family]
    for turn, steps in zip(answered.task.turns, answered.steps, strict=True):
        tally, after = score_turn(family, turn, scene, steps)
        yield turn, scene, tally, steps
        # After an illegal answer the next turn is held against what the answer should have led to.
        scene = after if after is not None else turn.pictures[-1]


def score(answered: Answered) -> Tally:
    """The counts of all turns of a task."""
    return _sum([tally for _, _, tally, _ in turns_scored(answered)])


def _sum(tallies: Sequence[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def floors(answers: Sequence[Answered], seed: int = 0) -> dict[str, dict[str, float | None]]:
    """What the same scores say of pictures that can't be right: they show what a score is worth.

    ``copy previous picture``: every picture repeats the one before. ``shuffled pictures``: a plan's own pictures in
    another order. ``random picture``: the answer's text with pictures of other answers.
    """
    rng = random.Random(seed)
    everything = [step.shown for a in answers for steps in a.steps for step in steps if step.pictured]

    def copied(a: Answered) -> Iterator[Scene | None]:
        yield a.task.shown[-1] if a.task.shown else None
        yield from _shown(a)

    def shuffled(a: Answered) -> Iterator[Scene | None]:
        return iter(rng.sample(shown := _shown(a), len(shown)))

    def random_ones(a: Answered) -> Iterator[Scene | None]:
        return iter([rng.choice(everything) for _ in _shown(a)])

    kinds = {"copy previous picture": copied, "shuffled pictures": shuffled, "random picture": random_ones}
    return {name: _with_pictures(answers, replaced) for name, replaced in kinds.items()}


def _shown(answered: Answered) -> list[Scene | None]:
    return [step.shown for steps in answered.steps for step in steps if step.pictured]


def _with_pictures(
    answers: Sequence[Answered], pictures: Callable[[Answered], Iterator[Scene | None]]
) -> dict[str, float | None]:
    total = Tally()
    for answered in answers:
        scenes = pictures(answered)
        steps = [
            [replace(s, shown=next(scenes), picture=None, attempts=()) if s.pictured else s for s in turn]
            for turn in answered.steps
        ]
        total.add(score(Answered(answered.task, steps)))
    return total.rates()


def parser_accuracy(tasks: Sequence[Task], seed: int = 0) -> dict[str, float]:
    """How often the parser reads a true render back exactly, clean and with noise."""
    scenes = [scene for task in tasks for scene in task.pictures]
    clean = sum(parse(render(scene)) == scene for scene in scenes)
    noised = sum(parse(add_noise(render(scene), seed + i)) == scene for i, scene in enumerate(scenes))
    most = max(1, len(scenes))
    return {"clean": clean / most, "noised": noised / most, "pictures": len(scenes)}


def _tags(groups: Mapping[str, Sequence[Tally]]) -> dict[str, float]:
    """How many pictures of each of depict's six tags are right, and the mean of the tags; empty where one wasn't asked for."""
    found = {tag: _sum(groups.get(f"depict: {tag}", [])).states for tag in TAGS}
    if not all(found.values()):
        return {}
    rates = {tag: sum(states) / len(states) for tag, states in found.items()}
    return {**rates, "mean": sum(rates.values()) / len(rates)}


def build_report(answers: Sequence[Answered]) -> dict[str, Any]:
    """Scores by family and kind and overall with their 95 % intervals, the state accuracy of first, second, ... pictures,
    the floor controls, and the parser's own accuracy."""
    groups: dict[str, list[Tally]] = {"overall": []}
    places: dict[int, list[bool]] = {}
    for answered in answers:
        tally, task = score(answered), answered.task
        for name in ("overall", task.family, f"{task.family}: {task.kind}"):
            groups.setdefault(name, []).append(tally)
        for place, right in enumerate(tally.states, 1):
            places.setdefault(place, []).append(right)
    ordered = ["overall", *sorted(name for name in groups if name != "overall")]
    return {
        "scores": {name: _sum(groups[name]).rates() for name in ordered},
        "intervals": {name: intervals(groups[name]) for name in ordered},
        "depict_tags": _tags(groups),
        "state_by_picture": {n: {"accuracy": sum(r) / len(r), "pictures": len(r)} for n, r in sorted(places.items())},
        "floors": floors(answers),
        "pictures": sum(len(_shown(answered)) for answered in answers),
        "parser": parser_accuracy([answered.task for answered in answers]),
    }
