"""What two pictures of one stage differ in, in words: written down by the model before it draws a conclusion from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from duogen.training.world.arrange import caption, place_names
from duogen.training.world.cook import contents
from duogen.training.world.figures import strokes
from duogen.training.world.language import NUMBERS, ORDINALS, a, join
from duogen.training.world.scene import VESSELS, Place, Scene, Thing, vessel_places


def in_order(scene: Scene) -> list[tuple[Place, Thing]]:
    """The things of a scene in reading order."""
    return sorted(scene.things.items(), key=lambda item: _reading_order(item[0]))


def _reading_order(place: Place) -> tuple[int, int]:
    return place[1], place[0]


def differences(before: Scene, after: Scene) -> str:
    """Of two shelves: 'in the top left a red ball, now nothing and in the centre nothing, now a red ball'."""
    other = sorted(before.changed(after), key=_reading_order)
    was, now = ([a(t.name) if (t := scene.things.get(p)) else "nothing" for p in other] for scene in (before, after))
    parts = [f"in the {place_names(*p)[0]} {w}, now {n}" for p, w, n in zip(other, was, now, strict=True)]
    return join(parts)


def seen(before: Scene | None, after: Scene) -> str:
    """What a picture shows that the one before doesn't; all of it, where none of the same stage is before it."""
    start = Scene(after.stage) if before is None or before.stage != after.stage else before
    changed = start.changed(after)
    if not changed:
        return "nothing new"
    if after.stage in ("shelf", "page"):
        return differences(start, after) if start is before else caption(in_order(after))
    if after.stage == "meadow":
        return _parts(start, after, changed)
    if after.stage == "kitchen":
        touched = [vessel for vessel in VESSELS if changed & set(vessel_places(vessel))]
        return join([f"{inside(vessel)} {held(after, vessel)}" for vessel in touched])
    new = sorted(changed & after.things.keys())
    return _all(f"the {strokes(after.things[place].kind)[place[0]]} of the {after.things[place].name}" for place in new)


def inside(vessel: str) -> str:
    """'in the pan', 'on the board'."""
    return f"{'on' if vessel in ('board', 'plate') else 'in'} the {vessel}"


def held(scene: Scene, vessel: str) -> str:
    """What a vessel holds: 'fried ham and fried egg', 'nothing'."""
    return _all(thing.name for thing in contents(scene, vessel))


def _all(names: Iterable[str]) -> str:
    return join(list(names) or ["nothing"])


def _parts(before: Scene, after: Scene, changed: set[Place]) -> str:
    """Building parts row by row: 'two red blocks in the second row'; at last what is gone."""
    new, gone = Counter[tuple[int, str]](), Counter[str]()
    for place in sorted(changed, key=_reading_order):
        thing = after.things.get(place)
        if thing is None:
            gone[_piece(before.things[place])] += 1
        else:
            new[place[1], _piece(thing)] += 1
    here = [f"{_counted(count, name)} in the {ORDINALS[row + 1]} row" for (row, name), count in new.items()]
    return join(here + [f"{_counted(count, name)} gone" for name, count in gone.items()])


def _piece(thing: Thing) -> str:
    """'red block', and 'red roof piece' of what is put together."""
    whole, _, piece = thing.kind.partition("_")
    return f"{thing.colour} {whole} piece" if piece else f"{thing.colour} {whole}"


def _counted(count: int, name: str) -> str:
    return f"{NUMBERS.get(count, count)} {name}{'s' * (count > 1)}"
