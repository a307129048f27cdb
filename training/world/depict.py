"""The family *depict*: one picture from one sentence, in the six kinds of GenEval (arXiv 2310.11513).

What a sentence leaves open, the answer may choose: colours that aren't named, and whether two things stand side by side or
one above the other. It is said in words before it is painted: a painter that paints all places at once would have to agree
with itself on what nobody told it. A picture is right if it shows what was asked for and nothing else.

Held out: by `held_out`, one in eight of all pairs of kinds, of kinds and numbers, of kinds and colours, of kinds and
relations, and of pairs of coloured things; and the last of the wordings.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from duogen.training.world.arrange import caption
from duogen.training.world.language import NUMBERS, Action, Grammar, a, join, sentence
from duogen.training.world.scene import COLOURS, OBJECTS, Place, Scene, Thing
from duogen.training.world.task import Family, Task, Turn, held_out, vary, wording

ASKED = (
    "Draw {what}.", "A picture of {what}.", "Paint {what}.", "Show me {what}.", "I would like a picture of {what}.",
    "A photo of {what}.", "Create a picture of {what}.", "Make a photo of {what}.", "I want to see {what}.",
    "Can you draw {what}?", "An image of {what}.", "Make an image of {what}.",
)  # fmt: skip
TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
_BESIDE: tuple[Place, Place] = ((0, 1), (2, 1))
_STACKED: tuple[Place, Place] = ((1, 0), (1, 2))
_LAYOUTS: dict[int, tuple[Place, ...]] = {
    1: ((1, 1),), 2: _BESIDE, 3: ((0, 1), (1, 1), (2, 1)), 4: ((0, 0), (2, 0), (0, 2), (2, 2)),
}  # fmt: skip
RELATIONS: dict[str, tuple[Place, Place]] = {
    "left of": _BESIDE, "right of": (_BESIDE[1], _BESIDE[0]), "above": _STACKED, "below": (_STACKED[1], _STACKED[0]),
}  # fmt: skip


def shows(*wanted: Thing) -> Callable[[Scene], bool]:
    """Whether a scene holds exactly these things; an empty colour stands for any."""

    def check(scene: Scene) -> bool:
        there = Counter(scene.things.values())
        for thing in sorted(wanted, key=lambda thing: thing.colour, reverse=True):
            fits = [t for t in +there if t.kind == thing.kind and thing.colour in ("", t.colour)]
            if not fits:
                return False
            there[fits[0]] -= 1
        return not +there

    return check


def stands(first: str, relation: str, second: str) -> Callable[[Scene], bool]:
    """Whether a scene holds one thing of each kind and nothing else, the first so related to the second."""

    def check(scene: Scene) -> bool:
        at = {thing.kind: place for place, thing in scene.things.items()}
        if len(scene.things) != 2 or at.keys() != {first, second}:
            return False
        right, down = (at[first][i] - at[second][i] for i in (0, 1))
        return {"left of": right < 0, "right of": right > 0, "above": down < 0, "below": down > 0}[relation]

    return check


Made = tuple[str, tuple[object, ...], Scene, Callable[[Scene], bool]]
"""What a sentence asks for, what that is made of, one scene that fits, and the check whether a scene does."""


class Depict(Family):
    """One picture from one sentence. See the module's docstring for what is right and what is held out."""

    name = "depict"
    grammar = Grammar({}, {})

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        """A picture without a plan has no steps."""
        return None

    def sample(self, rng: random.Random, split: str) -> Task:
        tag = rng.choice(TAGS)
        make: Callable[[random.Random], Made]
        make = getattr(self, f"_{tag}")
        what, key, scene, goal = make(rng)
        while key and held_out(tag, *key) != (split == "held-out"):
            what, key, scene, goal = make(rng)
        # A single object is made of too little to hold it out: there the wording alone is new.
        asked = wording(ASKED, rng, split) if key or split == "train" else ASKED[-1]
        turn = Turn(vary(asked.format(what=what), rng), [sentence(caption(scene.things.items()))], [scene], goal)
        return Task("depict", tag, Scene("page"), (), [turn])

    # One method for each tag

    def _single_object(self, rng: random.Random) -> Made:
        thing = _any(rng)
        return a(thing.kind), (), _lay((thing,)), shows(Thing(thing.kind, ""))

    def _two_object(self, rng: random.Random) -> Made:
        one, two = _two(rng)
        scene = _lay((one, two), rng.choice((_BESIDE, _STACKED)))
        what, key = f"{a(one.kind)} and {a(two.kind)}", tuple(sorted((one.kind, two.kind)))
        return what, key, scene, shows(Thing(one.kind, ""), Thing(two.kind, ""))

    def _counting(self, rng: random.Random) -> Made:
        thing, number = _any(rng), rng.randint(2, 4)
        what = f"{NUMBERS[number]} {plural(thing.kind)}"
        return what, (number, thing.kind), _lay((thing,) * number), shows(*[Thing(thing.kind, "")] * number)

    def _colors(self, rng: random.Random) -> Made:
        thing = _any(rng)
        return a(thing.name), (thing.colour, thing.kind), _lay((thing,)), shows(thing)

    def _position(self, rng: random.Random) -> Made:
        (one, two), relation = _two(rng), rng.choice(list(RELATIONS))
        what = f"{a(one.kind)} {relation} {a(two.kind)}"
        key = (one.kind, relation, two.kind)
        return what, key, _lay((one, two), RELATIONS[relation]), stands(one.kind, relation, two.kind)

    def _color_attr(self, rng: random.Random) -> Made:
        one, two = _two(rng)
        what = join([a(thing.name) for thing in (one, two)])
        key = tuple(word for thing in sorted((one, two)) for word in thing)
        return what, key, _lay((one, two), rng.choice((_BESIDE, _STACKED))), shows(one, two)


def plural(kind: str) -> str:
    """'balls'."""
    return kind + "s"


def _any(rng: random.Random) -> Thing:
    return Thing(rng.choice(OBJECTS), rng.choice(COLOURS))


def _two(rng: random.Random) -> tuple[Thing, Thing]:
    kinds, colours = rng.sample(OBJECTS, 2), rng.sample(COLOURS, 2)
    return Thing(kinds[0], colours[0]), Thing(kinds[1], colours[1])


def _lay(things: tuple[Thing, ...], places: tuple[Place, ...] = ()) -> Scene:
    return Scene("page", dict(zip(places or _LAYOUTS[len(things)], things, strict=True)))
