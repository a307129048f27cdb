"""Questions about the model's own work: does the last picture show what it was to show?

The agent asks them of every picture it paints, where a self-check is wanted (`duogen.models.check`). Wrong pictures are near
misses of the true one: what the step should have changed is as it was, missing, elsewhere, of another kind or colour, or
there once too often; or something that the step doesn't touch has changed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from duogen.training.world.figures import FIGURES
from duogen.training.world.scene import COLOURS, STAGES, SUBJECTS, VESSELS, Place, Scene, Thing, vessel_places
from duogen.training.world.task import Task, Turn


def step_of(rng: random.Random, task: Task) -> tuple[str, Scene | None, Scene, Turn]:
    """A step of a task, chosen at random: what it says, the picture before it (None for a first one), the one after, its turn.

    A picture that is asked for without a word is said by the request itself.
    """
    steps = []
    before = task.shown[-1] if task.shown else None
    for turn in task.turns:
        for segment, picture in zip(turn.segments, turn.pictures, strict=False):
            steps.append((segment.strip() or turn.request, before, picture, turn))
            before = picture
    return rng.choice(steps)


def spoil(rng: random.Random, before: Scene | None, after: Scene) -> Scene:
    """A near miss of `after`, the picture of a step that begins from `before`."""
    start = before if before is not None and before.stage == after.stage else Scene(after.stage, {}, after.look)
    wrong = after
    while wrong == after:
        if before is not None and rng.random() < 0.2:
            wrong = start
        elif after.stage == "sheet":
            wrong = _other_drawing(rng, after)
        else:
            changed = sorted(start.changed(after)) or sorted(after.things)
            touched = rng.random() < 0.75 or not after.things
            wrong = _amiss(rng, start, after, rng.choice(changed if touched else sorted(after.things)))
    return wrong


def _amiss(rng: random.Random, before: Scene, after: Scene, place: Place) -> Scene:
    """With one place not as it should be."""
    thing = after.things.get(place)
    if thing is None:  # what should be gone is still there
        return after.put(place, before.things[place])
    way = rng.choice(("gone", "colour", "kind", "elsewhere", "twice"))
    if way == "gone":
        return after.clear(place)
    if way in ("colour", "kind"):
        same = way == "kind"
        others = [t for t in STAGES[after.stage].things if t[same] == thing[same] and t != thing]
        return after.put(place, rng.choice(others)) if others else after
    free = _nearest(after, place)
    if not free:
        return after
    return (after.clear(place) if way == "elsewhere" else after).put(rng.choice(free[:4]), thing)


def _nearest(scene: Scene, place: Place) -> Sequence[Place]:
    """Free places, the nearest first; in a kitchen those of its vessels."""
    free = scene.free
    if scene.stage == "kitchen":
        vessels = [place for vessel in VESSELS for place in vessel_places(vessel)]
        free = [other for other in free if other in vessels]
    return sorted(free, key=lambda other: abs(other[0] - place[0]) + abs(other[1] - place[1]))


def _other_drawing(rng: random.Random, after: Scene) -> Scene:
    """A drawing with a step more or less, in another colour or of another subject."""
    thing, count = next(iter(after.things.values())), len(after.things)
    way = rng.choice(("step", "colour", "subject"))
    if way == "step":
        count += rng.choice((-1, 1))
    elif way == "colour":
        thing = Thing(thing.kind, rng.choice(COLOURS))
    else:
        thing = Thing(rng.choice(SUBJECTS), thing.colour)
    if not 0 < count <= len(FIGURES[thing.kind]):
        return after
    return Scene("sheet", {(step, 0): thing for step in range(count)}, after.look)
