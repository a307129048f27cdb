"""Batches of the procedural world, drawn on the fly and the same for every run of a seed.

Which dialogues a step sees depends on the seed and the step alone, so a resumed run needs no sampler state. Dialogues
are drawn in groups of several batches and sorted by length within the group, to pad little.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from duogen.models.layout import Slot, Turn, lay_out
from duogen.models.processor import DuoGenProcessor
from duogen.models.vae import to_frames
from duogen.training.world.arrange import Arrange
from duogen.training.world.beyond import Beyond
from duogen.training.world.build import Build
from duogen.training.world.cook import Cook
from duogen.training.world.depict import Depict
from duogen.training.world.draw import Draw
from duogen.training.world.look import Look, listing
from duogen.training.world.puzzle import Puzzle
from duogen.training.world.render import POSES, render
from duogen.training.world.route import Route
from duogen.training.world.scene import COLOURS, LOOKS, Scene
from duogen.training.world.task import Family, Task, mistyped

_ARRANGE, _LOOK = Arrange(), Look()
FAMILIES: dict[str, Family] = {
    family.name: family for family in (_ARRANGE, Build(), Depict(), _LOOK, Beyond(), Cook(), Draw(), Route(), Puzzle())
}
PRACTISED = {
    "arrange": 6, "build": 4, "depict": 2, "look": 5, "beyond": 1, "cook": 4, "draw": 2, "route": 2, "puzzle": 2,
}  # fmt: skip
"""Shares of the families in training: to find things in a picture takes more practice than to build from nothing."""
SLIPS = 0.15
"""How many requests of training have one more slip of the pen than the world puts into requests anyway."""
GROUP = 8
GROUP_STRIDE = 1_000_000


def draw_task(
    seed: int, index: int, split: str = "train", family: str | None = None, shares: Mapping[str, float] = PRACTISED
) -> Task:
    """Task number `index` of a seed, in a random look: families in these shares, unless one is named."""
    rng = random.Random(f"{split}/{seed}/{index}")
    chosen = family or rng.choices(list(shares), list(shares.values()))[0]
    task = FAMILIES[chosen].sample(rng, split).seen(rng.randrange(len(POSES) * LOOKS))
    return mistyped(task, rng) if split == "train" and rng.random() < SLIPS else task


def _picture(scene: Scene) -> Image.Image:
    """The picture of a scene, with the scene in its `info`, for losses that look at what is shown."""
    image = render(scene)
    image.info["scene"] = scene
    return image


def turns_of_task(task: Task) -> list[Turn]:
    """A task as the dialogue that the models learn from."""
    turns: list[Turn] = []
    for number, turn in enumerate(task.turns):
        shown = [_picture(scene) for scene in task.shown] if number == 0 else []
        turns.append(("user", [*shown, turn.request]))
        parts: list[str | Image.Image | None] = []
        for index, segment in enumerate(turn.segments):
            parts.append(segment)
            if index < len(turn.pictures):
                parts.append(_picture(turn.pictures[index]))
        turns.append(("assistant", [part for part in parts if part != ""]))
    return turns


def spoken_turns_of_task(task: Task) -> list[Turn]:
    """A task with few or no pictures, for pretraining: the same language at a fraction of the cost.

    Half of the tasks that start from a shelf become the description of that shelf. In all others the pictures are gone: what
    the shelf holds is told in words, and a `<BOV>` stands where each other picture was. Questions about pictures, and
    pictures that no words are known for, are shown.
    """
    if not task.turns[0].pictures or any(scene.stage != "shelf" for scene in task.shown):
        return glimpsed_turns_of_task(task)
    if task.shown:
        rng = random.Random(task.turns[0].request)
        if rng.random() < 0.5:
            return turns_of_task(_LOOK.describe(rng, task.start))
    turns: list[Turn] = []
    for number, turn in enumerate(task.turns):
        told = f"On the shelf there is: {listing(task.start)}.\n" if number == 0 and task.shown else ""
        turns.append(("user", [told + turn.request]))
        parts: list[str | Image.Image | None] = []
        for index, segment in enumerate(turn.segments):
            parts += [segment] * bool(segment) + [None] * (index < len(turn.pictures))
        turns.append(("assistant", parts))
    return turns


def glimpsed_turns_of_task(task: Task) -> list[Turn]:
    """A task of which the user's own picture alone is shown; a bare `<BOV>` stands where each other picture was."""
    return [
        (role, parts if role == "user" else [None if isinstance(part, Image.Image) else part for part in parts])
        for role, parts in turns_of_task(task)
    ]


def draw_lesson(seed: int, index: int) -> Task:
    """A short exercise: a list to set out in the order given, a picture of a few things to describe, or things to find.

    Every batch holds all of them, one, one and six in eight: practised in turns, each is forgotten over the others. Half
    of what is to be found is pointed at, and half of those shelves hold things of one colour: where colours tell things
    apart, shapes are never learned to be matched.
    """
    rng = random.Random(f"lesson/{seed}/{index}")
    return _lesson(rng, index).seen(rng.randrange(len(POSES) * LOOKS))


def _lesson(rng: random.Random, index: int) -> Task:
    if index % 8 == 0:
        return _ARRANGE.set_out(rng, "train")
    if index % 8 == 1:
        return _LOOK.describe(rng, _ARRANGE.shelf(rng, "train", rng.randint(1, 3)))
    colours = (rng.choice(COLOURS),) if index % 2 else COLOURS
    scene = _ARRANGE.shelf(rng, "train", rng.randint(2, 5), colours)
    return _LOOK.point(rng, scene) if index % 8 < 5 else _LOOK.find(rng, scene, by_shape=0.8)


@dataclass
class Batch:
    """Dialogues of one step: `ids` [B, L] right-padded, `positions` [3, B, L], `trained` [B, L].

    `slots` are each dialogue's pictures, `scenes` what they show, where that is known. All pictures in order: `pixels` and
    `grids` as patches for the vision encoder, `frames` [P, 3, height, width] as bytes.
    """

    ids: Tensor
    positions: Tensor
    trained: Tensor
    slots: list[list[Slot]]
    scenes: list[list[Scene | None]]
    pixels: Tensor | None
    grids: Tensor | None
    frames: Tensor | None


View = Callable[[Task], list[Turn]]
"""How a task is shown to the models."""


def picture_count(turns: list[Turn]) -> int:
    return sum(isinstance(part, Image.Image) for _, parts in turns for part in parts)


def rough_length(turns: list[Turn]) -> int:
    """About how many tokens a dialogue takes."""
    words = sum(len(part.split()) for _, parts in turns for part in parts if isinstance(part, str))
    return words + 38 * picture_count(turns)


def collate(dialogues: list[list[Turn]], processor: DuoGenProcessor) -> Batch:
    """Dialogues laid out and padded to the longest."""
    laid = [lay_out(turns, processor) for turns in dialogues]
    tapes = [tape for tape, _ in laid]
    length = max(len(tape.ids) for tape in tapes)
    ids = torch.zeros(len(tapes), length, dtype=torch.long)
    positions = torch.zeros(3, len(tapes), length, dtype=torch.long)
    trained = torch.zeros(len(tapes), length, dtype=torch.bool)
    for row, tape in enumerate(tapes):
        size = len(tape.ids)
        ids[row, :size] = torch.tensor(tape.ids)
        positions[:, row, :size] = tape.positions()
        trained[row, :size] = torch.tensor(tape.trained)
    pixels = [patches for _, patches in laid if patches is not None]
    shown = [[part for _, own in turns for part in own if isinstance(part, Image.Image)] for turns in dialogues]
    images = [image for own in shown for image in own]
    grids = [slot.grid for tape in tapes for slot in tape.slots]
    return Batch(
        ids,
        positions,
        trained,
        [tape.slots for tape in tapes],
        [[image.info.get("scene") for image in own] for own in shown],
        torch.cat(pixels) if pixels else None,
        torch.tensor(grids) if grids else None,
        to_frames(images) if images else None,
    )


class WorldBatches(Dataset[list[Batch]]):
    """`batch(step)`: the dialogues of one training step; `stream` gives one after the other.

    Args:
        wanted: leaves out tasks that a stage can't use.
        shares: of the families.
        size: what a batch's dialogues should be alike in.
    """

    def __init__(
        self,
        seed: int,
        batch_size: int,
        processor: DuoGenProcessor,
        view: View,
        wanted: Callable[[Task], bool] = lambda task: True,
        size: Callable[[list[Turn]], int] = rough_length,
        lesson_steps: int = 0,
        shares: Mapping[str, float] = PRACTISED,
    ) -> None:
        self.seed, self.batch_size, self.processor, self.shares = seed, batch_size, processor, shares
        self.view, self.wanted, self.size, self.lesson_steps = view, wanted, size, lesson_steps
        self._group = lru_cache(maxsize=2)(self._draw_group)

    def _draw_group(self, group: int) -> list[list[list[Turn]]]:
        dialogues: list[list[Turn]] = []
        index = 0
        lesson = group * GROUP < self.lesson_steps
        while len(dialogues) < GROUP * self.batch_size:
            number = group * GROUP_STRIDE + index
            task = draw_lesson(self.seed, number) if lesson else draw_task(self.seed, number, shares=self.shares)
            index += 1
            if self.wanted(task):
                dialogues.append(spoken_turns_of_task(task) if lesson else self.view(task))
        if not lesson:
            dialogues.sort(key=self.size)
        batches = [dialogues[i : i + self.batch_size] for i in range(0, len(dialogues), self.batch_size)]
        random.Random(f"{self.seed}/{group}").shuffle(batches)
        return batches

    def batch(self, step: int) -> Batch:
        return collate(self._group(step // GROUP)[step % GROUP], self.processor)

    def __getitem__(self, group: int) -> list[Batch]:
        return [self.batch(group * GROUP + index) for index in range(GROUP)]

    def stream(self, step: int, workers: int = 0) -> Iterator[Batch]:
        """The batches from a step on, without end; `workers` processes draw them ahead of time."""
        if not workers:
            yield from map(self.batch, count(step))
        groups = range(step // GROUP, sys.maxsize)
        for number, batches in enumerate(DataLoader(self, batch_size=None, sampler=groups, num_workers=workers)):
            yield from batches[step % GROUP if number == 0 else 0 :]


def rng_of(task: Task, *purpose: str) -> random.Random:
    """Random numbers for some purpose that a task's words alone decide: the same in every run."""
    return random.Random("/".join([*purpose, task.turns[0].request, *task.turns[0].segments]))


def mixed_view(spoken: float, whole: float) -> View:
    """Every task in one of three forms: told or whole in these shares, only the user's picture shown in the rest.

    A dialogue with all its pictures costs several times one without, and teaches hardly more about what to write; but
    what has been learned on told scenes is soon forgotten where it isn't practised (docs/LOG.md).
    """

    def view(task: Task) -> list[Turn]:
        drawn = rng_of(task).random()
        if drawn < spoken:
            return spoken_turns_of_task(task)
        return turns_of_task(task) if drawn < spoken + whole else glimpsed_turns_of_task(task)

    return view
