"""The family *route*: a way on a map, from one landmark to another.

A map has six by six squares: paths, landmarks on them, trees between. One step goes straight on for some squares; its picture
shows footprints behind the walker and a pin where the walker is. The way must be a shortest one.

Held out: by `held_out`, one in eight of all triples of the first landmark, the last one and where the last one stands; and
the last of the wordings.
"""

from __future__ import annotations

import random
from collections import deque
from itertools import groupby

from duogen.training.world.language import NUMBERS, Action, Grammar, action
from duogen.training.world.scene import LANDMARKS, STAGES, Place, Scene, Thing
from duogen.training.world.task import Family, Task, Turn, held_out, narrate, vary, wording

DIRECTIONS: dict[str, Place] = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
SIDE = STAGES["map"].columns
GRAMMAR = Grammar(
    words={
        "direction": {name: (name,) for name in DIRECTIONS},
        "number": {n: (f"{word} square{'s' * (n > 1)}",) for n, word in NUMBERS.items() if n < SIDE},
    },
    templates={
        "go": (
            "Go {number} {direction}.", "Walk {number} {direction}.", "Head {direction} for {number}.",
        ),
    },
)  # fmt: skip
ASKED = (
    "Lead me from the {start} to the {end} on this map.", "How do I get from the {start} to the {end}?",
    "Show me the way from the {start} to the {end}.", "I am at the {start} and want to go to the {end}.",
    "Find the shortest way from the {start} to the {end}.",
)  # fmt: skip


def neighbours(scene: Scene, place: Place) -> list[Place]:
    """The squares beside a place on which one can walk."""
    around = [(place[0] + x, place[1] + y) for x, y in DIRECTIONS.values()]
    return [other for other in around if other in scene.things]


def distances(scene: Scene, end: Place) -> dict[Place, int]:
    """How many squares every place that can be reached is away from `end`."""
    found, queue = {end: 0}, deque([end])
    while queue:
        place = queue.popleft()
        for other in neighbours(scene, place):
            if other not in found:
                found[other] = found[place] + 1
                queue.append(other)
    return found


def shortest(scene: Scene, start: Place, end: Place) -> list[tuple[str, int]]:
    """A shortest way as directions and numbers of squares; of several, the one that goes straight on for longest."""
    away = distances(scene, end)
    place, moves, last = start, [], ""
    while place != end:
        options = [
            name
            for name, (x, y) in DIRECTIONS.items()
            if away.get((place[0] + x, place[1] + y), len(away) + 1) < away[place]
        ]
        last = last if last in options else options[0]
        place = (place[0] + DIRECTIONS[last][0], place[1] + DIRECTIONS[last][1])
        moves.append(last)
    return [(name, len(list(group))) for name, group in groupby(moves)]


def walker(scene: Scene) -> Place | None:
    """Where the pin stands."""
    return next((place for place, thing in scene.things.items() if thing.colour == "here"), None)


def draw_map(rng: random.Random) -> Scene:
    """Paths that branch, with three or four landmarks on them."""
    scene = Scene("map").put((rng.randrange(SIDE), rng.randrange(SIDE)), Thing("path", "free"))
    for _ in range(200):
        if len(scene.things) >= 17:
            break
        x, y = rng.choice(list(scene.things))
        right, down = rng.choice(list(DIRECTIONS.values()))
        run = [(x + right * n, y + down * n) for n in range(1, rng.randint(2, 4) + 1)]
        # A run of path touches nothing but the square that it starts from.
        fresh = [place for place in run if place not in scene.things and min(place) >= 0 and max(place) < SIDE]
        if len(fresh) == len(run) and all(set(neighbours(scene, place)) <= {(x, y)} for place in run):
            for place in run:
                scene = scene.put(place, Thing("path", "free"))
    ends = sorted(scene.things, key=lambda place: (len(neighbours(scene, place)), rng.random()))
    for place, kind in zip(ends, rng.sample(LANDMARKS, rng.randint(3, 4)), strict=False):
        scene = scene.put(place, Thing(kind, "free"))
    return scene


class Route(Family):
    """Ways on a map. See the module's docstring for what is right and what is held out."""

    name = "route"
    shortest = True
    grammar = GRAMMAR

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        place = walker(scene)
        if place is None:
            return None
        right, down = DIRECTIONS[act["direction"]]
        for _ in range(act["number"]):
            beyond = (place[0] + right, place[1] + down)
            if beyond not in scene.things:
                return None
            scene = scene.put(place, Thing(scene.things[place].kind, "walked"))
            scene = scene.put(beyond, Thing(scene.things[beyond].kind, "here"))
            place = beyond
        return scene

    def sample(self, rng: random.Random, split: str) -> Task:
        while True:
            scene = draw_map(rng)
            marks = [place for place, thing in scene.things.items() if thing.kind != "path"]
            start, end = rng.sample(marks, 2)
            names = {"start": scene.things[start].kind, "end": scene.things[end].kind}
            way = shortest(scene, start, end)
            if 2 <= len(way) <= 6 and held_out("route", *names.values(), end) == (split == "held-out"):
                break
        scene = scene.put(start, Thing(names["start"], "here"))
        here, scenes, steps, voice = scene, [], [], rng.random()
        for direction, number in way:
            act = action("go", direction=direction, number=number)
            after = self.apply(here, act)
            assert after is not None, f"illegal {act} on {here}"
            here = after
            scenes.append(here)
            steps.append(GRAMMAR.say(act, voice))
        request = vary(wording(ASKED, rng, split).format(**names), rng)
        turn = Turn(request, narrate(steps, rng), scenes, lambda final: walker(final) == end)
        return Task("route", f"{len(way)} steps", scene, (scene,), [turn])
