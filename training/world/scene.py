"""What stands where: the exact state behind every picture of the procedural world.

A `Scene` is a stage (its backdrop and its grid) and the things on it. It is a value: every change returns a new
scene, so the states of a plan can be kept, compared and hashed.

All stages share one canvas of 192 x 192 pixels, in places of whole tokens of the models (32 pixels):

* ``shelf`` and ``page``: 3 x 3 places of 64 pixels, row 0 at the top. Objects of eight shapes and colours.
* ``meadow``: 6 x 5 cells of 32 pixels above a strip of grass, row 0 on the ground. Building parts.
* ``kitchen``: 6 x 6 cells of 32 pixels; six vessels, of four places each. Ingredients.
* ``sheet``: a drawing, stroke by stroke; place (n, 0) is the n-th step of its subject.
* ``map``: 6 x 6 cells of 32 pixels, row 0 at the top. Paths and landmarks.
* ``pegs``, ``piles`` and ``tiles``: the puzzles' boards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "grey")
OBJECTS = ("ball", "cube", "star", "heart", "cone", "cup", "gem", "bell")
PARTS = ("block", "window", "door_left", "door_right", "roof_left", "roof_middle", "roof_right", "battlement", "flag")
FORMS = ("whole", "peeled", "chopped", "cracked", "poured", "mixed", "fried", "boiled", "baked")
INGREDIENTS = (
    "tomato", "pepper", "mushroom", "spinach", "broccoli", "leek", "onion", "carrot", "potato", "pumpkin",
    "apple", "banana", "strawberry", "pear", "cheese", "ham", "fish", "chicken", "tofu", "egg",
    "milk", "cream", "honey", "flour", "rice", "noodles", "sugar", "parsley", "basil", "mint",
)  # fmt: skip
VESSELS = ("pan", "pot", "oven", "board", "bowl", "plate")
SUBJECTS = (
    "cat", "dog", "rabbit", "bear", "mouse", "pig", "owl", "bird", "fish", "turtle",
    "snail", "butterfly", "ladybird", "spider", "snake", "flower", "tree", "cactus", "mushroom", "apple",
    "house", "car", "boat", "train", "rocket", "balloon", "snowman", "robot", "cake", "umbrella",
)  # fmt: skip
STROKES = 7
"""Most steps of one drawing."""
LANDMARKS = ("house", "lake", "school", "shop", "tower", "farm")
MARKS = ("free", "walked", "here")
"""Of a path or landmark: not visited, visited, where the walker is."""
SIZES = ("small", "medium", "large")
DIGITS = tuple("12345")
CANVAS = 192
LOOKS = 3
"""Backdrops of each stage."""

Place = tuple[int, int]
"""Column and row on the stage's own grid."""


class Thing(NamedTuple):
    """One object: what it is, and which colour (of an ingredient: which form) it has."""

    kind: str
    colour: str

    @property
    def name(self) -> str:
        """In words: 'red ball', 'fried egg'."""
        return f"{self.colour} {self.kind}"


class Stage(NamedTuple):
    """The grid of a backdrop, places of `width` x `height` pixels from `top` on, and all that may stand there.

    `rising`: row 0 is the lowest one. `loose`: things are drawn a little larger or smaller, and not quite in the middle of
    their places.
    """

    columns: int
    rows: int
    width: int
    height: int
    things: tuple[Thing, ...]
    rising: bool = False
    loose: bool = False
    top: int = 0

    @property
    def places(self) -> list[Place]:
        """All places, row by row."""
        return [(column, row) for row in range(self.rows) for column in range(self.columns)]


def _all(kinds: Iterable[str], colours: Iterable[str]) -> tuple[Thing, ...]:
    return tuple(Thing(*pair) for pair in product(kinds, colours))


HERBS = ("parsley", "basil", "mint")
LIQUIDS = ("milk", "cream", "honey")
POWDERS = ("flour", "rice", "noodles", "sugar")


def forms_of(ingredient: str) -> tuple[str, ...]:
    """The forms in which an ingredient occurs."""
    if ingredient in HERBS:
        return ("whole",)
    cooked = ("mixed", "fried", "boiled", "baked")
    if ingredient == "egg":
        return ("cracked", *cooked)
    if ingredient in LIQUIDS or ingredient in POWDERS:
        return ("poured", *cooked)
    return ("whole", "peeled", "chopped", *cooked)


STAGES = {
    "shelf": Stage(3, 3, 64, 64, _all(OBJECTS, COLOURS), loose=True),
    "page": Stage(3, 3, 64, 64, _all(OBJECTS, COLOURS), loose=True),
    "meadow": Stage(6, 5, 32, 32, _all(PARTS, COLOURS), rising=True),
    "kitchen": Stage(6, 6, 32, 32, tuple(Thing(kind, form) for kind in INGREDIENTS for form in forms_of(kind))),
    "sheet": Stage(STROKES, 1, CANVAS, CANVAS, _all(SUBJECTS, COLOURS)),
    "map": Stage(6, 6, 32, 32, _all(("path", *LANDMARKS), MARKS)),
    "pegs": Stage(3, 5, 64, 32, _all(("disk",), SIZES), rising=True),
    "piles": Stage(3, 5, 64, 32, _all(("brick",), COLOURS), rising=True),
    "tiles": Stage(3, 2, 64, 64, _all(("tile",), DIGITS), top=32),
}


@dataclass(frozen=True)
class Scene:
    """A stage and the things on it, by place.

    `look` decides the backdrop, and how things are moved about within their places; scenes that differ in nothing else are
    equal.
    """

    stage: str
    things: dict[Place, Thing] = field(default_factory=dict)
    look: int = field(default=0, compare=False)

    def put(self, place: Place, thing: Thing) -> Scene:
        """This scene with `thing` at `place`, whatever stood there before."""
        return replace(self, things={**self.things, place: thing})

    def clear(self, place: Place) -> Scene:
        """This scene with nothing at `place`."""
        return replace(self, things={at: thing for at, thing in self.things.items() if at != place})

    def __hash__(self) -> int:
        return hash((self.stage, frozenset(self.things.items())))

    @property
    def free(self) -> list[Place]:
        """Every place with nothing on it, row by row."""
        return [place for place in STAGES[self.stage].places if place not in self.things]

    def changed(self, other: Scene) -> set[Place]:
        """The places at which this scene and `other` differ."""
        places = self.things.keys() | other.things.keys()
        return {place for place in places if self.things.get(place) != other.things.get(place)}

    def top(self, column: int) -> int:
        """The lowest free row above everything in a column of a rising stage."""
        return max((row + 1 for c, row in self.things if c == column), default=0)


def vessel_places(vessel: str) -> list[Place]:
    """The four places of a vessel of the kitchen, in the order in which it is filled."""
    index = VESSELS.index(vessel)
    left, top = 2 * (index % 3), 3 * (index // 3)
    return [(left, top + 1), (left + 1, top + 1), (left, top), (left + 1, top)]
