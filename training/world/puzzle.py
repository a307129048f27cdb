"""The family *puzzle*: tower of Hanoi, sliding tiles and piles of bricks; pictures serve as drafts for reasoning.

The user shows a position and says where it should end. Every answer is a shortest solution, one move a picture. A quarter of
the requests want the moves in words alone: the same reasoning without the drafts.

Held out: by `held_out`, one in eight of all positions to start from; and the last of the wordings.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

from duogen.training.world.language import Action, Grammar, action
from duogen.training.world.scene import COLOURS, DIGITS, SIZES, STAGES, Place, Scene, Thing
from duogen.training.world.task import Family, Task, Turn, held_out, narrate, vary, wording

SPOTS = {0: "left", 1: "middle", 2: "right"}
_SLIDES: dict[str, Place] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
GRAMMAR = Grammar(
    words={
        "size": {size: (size,) for size in SIZES},
        "colour": {colour: (colour,) for colour in COLOURS},
        "digit": {digit: (digit,) for digit in DIGITS},
        "spot": {spot: (name,) for spot, name in SPOTS.items()},
        "direction": {name: (name,) for name in _SLIDES},
    },
    templates={
        "disk": ("Move the {size} disk from the {spot2} peg to the {spot} peg.",
                 "Put the {size} disk from the {spot2} peg on the {spot} peg."),
        "slide": ("Slide tile {digit} {direction}.", "Push tile {digit} {direction}."),
        "brick": ("Move the {colour} brick from the {spot2} pile to the {spot} pile.",
                  "Put the {colour} brick from the {spot2} pile on the {spot} pile."),
    },
)  # fmt: skip
ASKED = {
    "pegs": ("Move all disks to the {spot} peg.", "Bring the whole tower to the {spot} peg.",
             "How do I get the tower to the {spot} peg?", "All disks should end on the {spot} peg."),
    "tiles": ("Put the tiles in order.", "Solve this sliding puzzle.", "Slide the tiles into order.",
              "How do I sort these tiles?"),
    "piles": ("Pile all bricks in the {spot}.", "Gather the bricks in the {spot} pile.",
              "How do I get all bricks into the {spot} pile?", "All bricks should stand in the {spot}."),
}  # fmt: skip
IN_WORDS = " Answer in words only."
SOLVED = Scene(
    "tiles", {place: Thing("tile", digit) for place, digit in zip(STAGES["tiles"].places, DIGITS, strict=False)}
)
MOST_MOVES = 7


def _piled(scene: Scene, column: int) -> list[Thing]:
    """What lies in a column, from below."""
    return [thing for (c, _), thing in sorted(scene.things.items()) if c == column]


def _carry(scene: Scene, source: int, target: int) -> Scene:
    thing = scene.things[source, scene.top(source) - 1]
    return scene.clear((source, scene.top(source) - 1)).put((target, scene.top(target)), thing)


def moves(scene: Scene) -> Iterator[tuple[Action, Scene]]:
    """Every legal move and the scene after it."""
    if scene.stage == "tiles":
        if len(scene.free) != 1:
            return
        (blank,) = scene.free
        for name, (right, down) in _SLIDES.items():
            place = (blank[0] - right, blank[1] - down)
            if place in scene.things:
                tile = scene.things[place]
                yield action("slide", digit=tile.colour, direction=name), scene.clear(place).put(blank, tile)
        return
    for source in SPOTS:
        for target in SPOTS:
            if source == target or not _piled(scene, source) or scene.top(target) == STAGES[scene.stage].rows:
                continue
            top, below = _piled(scene, source)[-1], _piled(scene, target)[-1:]
            if scene.stage == "piles":
                yield action("brick", colour=top.colour, spot2=source, spot=target), _carry(scene, source, target)
            elif all(SIZES.index(top.colour) < SIZES.index(thing.colour) for thing in below):
                yield action("disk", size=top.colour, spot2=source, spot=target), _carry(scene, source, target)


def solve(scene: Scene, spot: int) -> list[Action]:
    """A shortest solution, the first in the fixed order of `moves`."""
    found: dict[Scene, tuple[Scene, Action] | None] = {scene: None}
    queue = deque([scene])
    while queue:
        now = queue.popleft()
        if is_solved(now, spot):
            acts = []
            while (came := found[now]) is not None:
                now, act = came
                acts.append(act)
            return acts[::-1]
        for act, after in moves(now):
            if after not in found:
                found[after] = (now, act)
                queue.append(after)
    raise AssertionError(f"no solution from {scene}")


def is_solved(scene: Scene, spot: int) -> bool:
    """Whether the tiles are in order, or everything stands at one spot."""
    return scene == SOLVED if scene.stage == "tiles" else len(_piled(scene, spot)) == len(scene.things)


class Puzzle(Family):
    """Three puzzles. See the module's docstring for what is right and what is held out."""

    name = "puzzle"
    shortest = True
    grammar = GRAMMAR

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        return dict(moves(scene)).get(act)

    def sample(self, rng: random.Random, split: str) -> Task:
        while True:
            stage = rng.choice(list(ASKED))
            start, spot = _position(rng, stage)
            if held_out("puzzle", *sorted(start.things.items())) != (split == "held-out") or is_solved(start, spot):
                continue
            acts = solve(start, spot)
            if len(acts) <= MOST_MOVES:
                break
        scene, scenes, voice = start, [], rng.random()
        for act in acts:
            scene = dict(moves(scene))[act]
            scenes.append(scene)
        steps = [GRAMMAR.say(act, voice) for act in acts]
        in_words = rng.random() < 0.25
        asked = wording(ASKED[stage], rng, split).format(spot=SPOTS[spot])
        request = vary(asked + IN_WORDS * in_words, rng)
        goal = lambda final: is_solved(final, spot)  # noqa: E731
        if in_words:
            turn = Turn(request, ["\n".join(steps)], [], goal)
            return Task("puzzle", f"{stage} in words", start, (start,), [turn])
        return Task("puzzle", stage, start, (start,), [Turn(request, narrate(steps, rng), scenes, goal)])

    def answers(self, turn: Turn, before: Scene, text: str) -> bool:
        """Whether the moves that it states are legal and solve the puzzle."""
        scene: Scene | None = before
        for act in self.read(text):
            scene = None if scene is None else self.apply(scene, act)
        return scene is not None and turn.goal(scene)


def _position(rng: random.Random, stage: str) -> tuple[Scene, int]:
    """A random position, and the spot at which everything should end."""
    spot = rng.randrange(3)
    if stage == "tiles":
        scene = SOLVED
        for _ in range(rng.randint(2, 12)):
            scene = rng.choice([after for _, after in moves(scene)])
        return scene, spot
    scene = Scene(stage)
    if stage == "pegs":
        things = [Thing("disk", size) for size in reversed(SIZES)]
    else:
        things = [Thing("brick", colour) for colour in rng.sample(COLOURS, rng.randint(2, 4))]
    for thing in things:
        column = rng.randrange(3)
        scene = scene.put((column, scene.top(column)), thing)
    return scene, spot
