"""What stands where: the exact state behind every picture of the procedural world.

A `Scene` is a stage (its backdrop and its grid) and the things on it. It is a value: every change returns a new
scene, so the states of a plan can be kept, compared and hashed.

Two stages share one canvas of 192 x 192 pixels:

* ``shelf``: 3 x 3 places of 64 pixels, row 0 at the top. Objects of eight shapes stand on three boards.
* ``meadow``: 6 x 5 cells of 32 pixels above a strip of grass, row 0 on the ground. Building parts stand on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "grey")
OBJECTS = ("ball", "cube", "star", "heart", "cone", "cup", "gem", "bell")
PARTS = ("block", "window", "door_left", "door_right", "roof_left", "roof_middle", "roof_right", "battlement", "flag")
CANVAS = 192

Place = tuple[int, int]
"""Column and row on the stage's own grid."""


class Thing(NamedTuple):
    """One object or building part."""

    kind: str
    colour: str


class Stage(NamedTuple):
    """The grid of a backdrop; `cell` is the side of one place in pixels."""

    columns: int
    rows: int
    cell: int
    kinds: tuple[str, ...]


STAGES = {"shelf": Stage(3, 3, 64, OBJECTS), "meadow": Stage(6, 5, 32, PARTS)}


@dataclass(frozen=True)
class Scene:
    """A stage and the things on it, by place."""

    stage: str
    things: dict[Place, Thing] = field(default_factory=dict)

    def put(self, place: Place, thing: Thing) -> Scene:
        """This scene with `thing` at `place`, whatever stood there before."""
        return Scene(self.stage, {**self.things, place: thing})

    def clear(self, place: Place) -> Scene:
        """This scene with nothing at `place`."""
        return Scene(self.stage, {at: thing for at, thing in self.things.items() if at != place})

    def __hash__(self) -> int:
        return hash((self.stage, frozenset(self.things.items())))

    @property
    def free(self) -> list[Place]:
        """Every place with nothing on it, row by row."""
        grid = STAGES[self.stage]
        return [(c, r) for r in range(grid.rows) for c in range(grid.columns) if (c, r) not in self.things]

    def changed(self, other: Scene) -> set[Place]:
        """The places at which this scene and `other` differ."""
        places = self.things.keys() | other.things.keys()
        return {place for place in places if self.things.get(place) != other.things.get(place)}

    def top(self, column: int) -> int:
        """The height of the lowest free cell above everything in a column of the meadow."""
        return max((row + 1 for c, row in self.things if c == column), default=0)
