"""The family *arrange*: objects on a shelf are added, removed, moved, painted, replaced and swapped.

Held out: for every object, a shape in a colour, one of the nine places (``is_held_out``). In no training picture or text
does it ever stand there, neither at the start, nor on the way, nor at the end; every held-out task is about at least one
such object.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from duogen.training.world.language import Action, Grammar, a, action, join, sentence
from duogen.training.world.scene import COLOURS, OBJECTS, Place, Scene, Thing
from duogen.training.world.task import Family, Task, Turn, gather, in_steps, narrate, vary, ways_to, wording

_ROWS = (("top",), ("middle", "centre"), ("bottom",))
_COLUMNS = (("left",), ("middle", "centre"), ("right",))


def place_names(column: int, row: int) -> tuple[str, ...]:
    if (column, row) == (1, 1):
        return ("centre", "middle")
    return tuple(f"{r} {c}" for r in _ROWS[row] for c in _COLUMNS[column])


def caption(things: Iterable[tuple[Place, Thing]]) -> str:
    """Things and where they stand: 'a red ball in the top left and a blue cup in the centre'."""
    return join([f"{a(thing.name)} in the {place_names(*place)[0]}" for place, thing in things])


PLACES: list[Place] = [(c, r) for r in range(3) for c in range(3)]
GRAMMAR = Grammar(
    words={
        "colour": {colour: (colour,) for colour in COLOURS},
        "kind": {kind: (kind,) for kind in OBJECTS},
        "place": {place: place_names(*place) for place in PLACES},
    },
    # `colour`, `kind`, `place` are what comes to be; `colour2`, `kind2`, `place2` what was there before. Every sentence says
    # where: a reader needn't search, and neither needs the painter.
    templates={
        "add": (
            "Put a {colour} {kind} in the {place}.", "Place a {colour} {kind} in the {place}.",
            "Set a {colour} {kind} down in the {place}.", "Add a {colour} {kind} in the {place}.",
            "In the {place}, put a {colour} {kind}.",
        ),
        "remove": (
            "Remove the {colour2} {kind2} from the {place2}.", "Take the {colour2} {kind2} out of the {place2}.",
            "Take away the {colour2} {kind2} in the {place2}.",
        ),
        "move": (
            "Move the {colour} {kind} from the {place2} to the {place}.",
            "Bring the {colour} {kind} from the {place2} over to the {place}.",
            "Slide the {colour} {kind} from the {place2} to the {place}.",
        ),
        "paint": (
            "Paint the {colour2} {kind} in the {place} {colour}.", "Turn the {colour2} {kind} in the {place} {colour}.",
            "Make the {colour2} {kind} in the {place} {colour}.",
        ),
        "replace": (
            "Replace the {colour2} {kind2} in the {place} with a {colour} {kind}.",
            "Exchange the {colour2} {kind2} in the {place} for a {colour} {kind}.",
            "In the {place}, put a {colour} {kind} where the {colour2} {kind2} was.",
        ),
    },
)  # fmt: skip

CLAUSES = {
    "add": ("add a {colour} {kind} in the {place}", "put a {colour} {kind} in the {place}"),
    "remove": ("remove the {colour2} {kind2}", "take away the {colour2} {kind2}", "get rid of the {kind2}"),
    "move": ("move the {colour} {kind} to the {place}", "put the {colour} {kind} in the {place} instead",
             "move the {kind} to the {place}"),
    "paint": ("paint the {colour2} {kind} {colour}", "make the {colour2} {kind} {colour}", "paint the {kind} {colour}"),
    "replace": ("replace the {colour2} {kind2} with a {colour} {kind}", "swap the {kind2} for a {colour} {kind}"),
}  # fmt: skip
# Of each of these the last wording is kept out of training.
SET_OUT = (
    *ways_to("arrange {items}", "set up a shelf with {items}", "place {items} on my shelf"),
    *(
        "Please fill my shelf with {items}.", "I want {items}. How do I get there?", "Put {items} on a shelf.",
        "Can you set out {items}?", "A shelf with {items}, step by step.", "I need {items} on my shelf.",
        "Help me to put {items} on a shelf.", "My shelf is empty. Help me with {items}.",
    ) * 2,
    "Help me set out {items}.",
)  # fmt: skip
EDIT = (
    "Here is my shelf. {clauses}.", "This is my shelf. Please {clauses}.", "{clauses}.", "Can you {clauses}?",
    "How do I {clauses}?", "I want to {clauses}. Show me how.", "Here you see my shelf. {clauses}.",
    "Please {clauses}.", "Help me {clauses}.", "Show me how to {clauses}.", "I would like to {clauses}.",
    "In this picture, {clauses}.", "This shelf needs a change: {clauses}.", "Look, here is my shelf. {clauses}.",
    "Take this shelf and {clauses}.", "See my shelf? {clauses}.", "Have a look at my shelf, then {clauses}.",
    "With this shelf, {clauses}.", "Go through my shelf and {clauses}.", "Look at my shelf: {clauses}.",
    "Look at this shelf and {clauses}.",
)  # fmt: skip
WITHOUT = (
    "I want this shelf without the {things}.", "Show me my shelf without the {things}.", "Clear the {things} away.",
    "Please take all the {things} away.", "Can you remove the {things}?",
    "Here is my shelf. It should be without the {things}.", "How would this shelf look without the {things}?",
    "Leave out the {things}.", "My shelf as it is, but without the {things}.", "The same picture without the {things}.",
    "Once more, please, but without the {things}.", "This shelf again, only without the {things}.",
    "The same shelf, please, but without the {things}.",
)  # fmt: skip
FOLLOW_UP = (
    "Now {clauses}.", "And now {clauses}.", "Thanks! Now {clauses}.", "After that, {clauses}.",
    "Good. Then {clauses}.", "Then please {clauses}.", "Can you now {clauses}?", "One more thing: {clauses}.",
    "Next, {clauses}.", "Next, can you {clauses}?", "Please {clauses} next.", "Next, please {clauses}.",
)  # fmt: skip
SWAP = (
    "Swap the {a} and the {b}.", "Here is my shelf. Swap the {a} and the {b}.",
    "Let the {a} and the {b} trade places.", "Exchange the {a} and the {b}.", "Can you swap the {a} and the {b}?",
    "The {a} and the {b} should trade places.", "Please put the {a} where the {b} is, and the {b} where the {a} is.",
    "I want the {a} and the {b} to trade places.", "Show me how to swap the {a} and the {b}.",
    "How do I make the {a} and the {b} trade places?", "Make the {a} and the {b} switch places.",
    "How do I swap the {a} and the {b}?", "How do the {a} and the {b} switch places?",
    "How do I make the {a} and the {b} change places?",
)  # fmt: skip
DRAW = (
    "Draw {items}.", "Draw a shelf with {items}.", "A shelf with {items}.", "Show me {items}.",
    "Paint a shelf with {items}.", "Draw me {items}.", "Make a picture of {items}.",
    "I want to see a shelf with {items}.", "A picture of {items}.",
)  # fmt: skip
RETOUCH = (
    "Edit the picture: {clauses}.", "Change this picture: {clauses}.", "Retouch this: {clauses}.",
    "In the picture, {clauses}.", "Redraw it: {clauses}.", "Change it: {clauses}.", "Edit this: {clauses}.",
)  # fmt: skip


_ALL = [Thing(kind, colour) for kind in OBJECTS for colour in COLOURS]
_HELD_OUT = {
    thing: PLACES[(OBJECTS.index(thing.kind) + 2 * COLOURS.index(thing.colour)) % len(PLACES)] for thing in _ALL
}


def is_held_out(thing: Thing, place: Place) -> bool:
    """Whether this object never stands at this place in training."""
    return _HELD_OUT[thing] == place


Rule = Callable[[Thing, Place], bool]


def _rule(split: str, forced: bool) -> Rule:
    """What a task of the split may put where; in the held-out split, `forced` wants what training never shows."""
    if split == "train":
        return lambda thing, place: not is_held_out(thing, place)
    return is_held_out if forced else lambda thing, place: True


class Arrange(Family):
    """Objects on a shelf. See the module's docstring for what is held out."""

    name = "arrange"
    grammar = GRAMMAR

    def __init__(self) -> None:
        # Share of what people are taken to ask for, which the evaluation draws, and of what training practises.
        self._kinds: dict[str, tuple[float, float, Callable[[random.Random, str], Task]]] = {
            "set out": (0.26, 0.13, self.set_out),
            "edit": (0.25, 0.30, self._edit),
            "swap": (0.10, 0.14, self._swap),
            "without": (0.05, 0.06, self._without),
            "follow-up": (0.18, 0.18, self._follow_up),
            "draw": (0.09, 0.10, self._draw),
            "retouch": (0.07, 0.11, self._retouch),
        }

    def sample(self, rng: random.Random, split: str) -> Task:
        asked, practised, makers = zip(*self._kinds.values(), strict=True)
        return rng.choices(makers, practised if split == "train" else asked)[0](rng, split)

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        v = dict(act.values)
        if act.verb == "add":
            return None if v["place"] in scene.things else scene.put(v["place"], Thing(v["kind"], v["colour"]))
        old = Thing(v["kind2" if "kind2" in v else "kind"], v["colour2" if "colour2" in v else "colour"])
        at = v["place2" if act.verb in ("remove", "move") else "place"]
        if scene.things.get(at) != old:
            return None
        if act.verb == "remove":
            return scene.clear(at)
        if act.verb == "move":
            return None if v["place"] in scene.things else scene.clear(at).put(v["place"], old)
        return scene.put(at, Thing(v["kind"], v["colour"]))

    # The pieces that tasks are made of

    def _newcomers(self, scene: Scene, may: Rule, colours: tuple[str, ...] = COLOURS) -> list[tuple[Place, Thing]]:
        """Every thing of these colours that doesn't stand in the scene yet, at every free place where it may."""
        fresh = [thing for thing in _ALL if thing not in scene.things.values() and thing.colour in colours]
        return [(place, thing) for place in scene.free for thing in fresh if may(thing, place)]

    def shelf(self, rng: random.Random, split: str, count: int, colours: tuple[str, ...] = COLOURS) -> Scene:
        scene = Scene("shelf")
        for index in range(count):
            scene = scene.put(*rng.choice(self._newcomers(scene, _rule(split, forced=index == 0), colours)))
        return scene

    def _random_edit(
        self, rng: random.Random, split: str, scene: Scene, forced: bool, only: Place | None = None
    ) -> Action:
        """A legal edit; with `forced`, one whose outcome, or whose removed object, belongs to the split alone; with `only`, one
        of what stands there."""
        may = _rule(split, forced)
        verbs = ["add"] * (len(scene.things) < 7 and only is None)
        verbs += ["move", "paint", "replace"] + ["remove"] * (len(scene.things) > 1)
        rng.shuffle(verbs)
        return next(act for verb in verbs if (act := self._edit_by(verb, rng, scene, may, only)) is not None)

    def _edit_by(
        self, verb: str, rng: random.Random, scene: Scene, may: Rule, only: Place | None = None
    ) -> Action | None:
        """A random edit of one sort, or None where the rule allows none."""
        standing = [(place, thing) for place, thing in scene.things.items() if only in (None, place)]
        options: list[dict[str, Any]]
        if verb == "add":
            options = [
                {"colour": new.colour, "kind": new.kind, "place": place} for place, new in self._newcomers(scene, may)
            ]
        elif verb == "remove":
            options = [
                {"colour2": old.colour, "kind2": old.kind, "place2": place}
                for place, old in standing
                if may(old, place)
            ]
        elif verb == "move":
            options = [
                {"colour": old.colour, "kind": old.kind, "place2": place, "place": target}
                for place, old in standing for target in scene.free if may(old, target)
            ]  # fmt: skip
        else:
            options = [
                {"colour": new.colour, "kind": new.kind, "colour2": old.colour, "place": place}
                | ({"kind2": old.kind} if verb == "replace" else {})
                for place, old in standing for new in _ALL
                if new not in scene.things.values() and may(new, place) and (verb == "replace" or new.kind == old.kind)
            ]  # fmt: skip
        return action(verb, **rng.choice(options)) if options else None

    def _clause(self, rng: random.Random, scene: Scene, act: Action) -> str:
        options = list(CLAUSES[act.verb])
        old = dict(act.values).get("kind2", dict(act.values).get("kind"))
        if act.verb != "add" and sum(thing.kind == old for thing in scene.things.values()) > 1:
            options.pop()  # the last wording names the shape alone: only where that is enough
        return GRAMMAR.fill(rng.choice(options), rng, **dict(act.values))

    def _edits(
        self, rng: random.Random, split: str, scene: Scene, count: int, last: Place | None = None
    ) -> tuple[list[str], list[str], list[Scene]]:
        """Clauses for the request, sentences for the steps, and the scene after each; `last` is where the edit before them was.

        Training often changes again what has just been changed: a thing is then not what the request's picture shows, and that is
        where a small model errs (docs/LOG.md).
        """
        voice = rng.random()
        clauses, steps, scenes = [], [], []
        for index in range(count):
            again = split == "train" and last in scene.things and rng.random() < 0.4
            act = self._random_edit(rng, split, scene, forced=index == 0, only=last if again else None)
            last = dict(act.values).get("place")
            clauses.append(self._clause(rng, scene, act))
            steps.append(GRAMMAR.say(act, voice))
            after = self.apply(scene, act)
            assert after is not None, f"illegal {act} on {scene}"
            scene = after
            scenes.append(scene)
        return clauses, steps, scenes

    def _turn(self, request: str, steps: list[str], scenes: list[Scene], rng: random.Random, split: str) -> Turn:
        goal, count = scenes[-1], None
        if len(steps) > 2 and rng.random() < (0.25 if split == "train" else 0.15):
            count = rng.randint(2, len(steps) - 1)
            request = in_steps(request, count, rng)
            steps, scenes = gather(steps, scenes, count)
        return Turn(vary(request, rng), narrate(steps, rng), scenes, lambda scene: scene == goal, count)

    def _items(self, scene: Scene, rng: random.Random, order: list[Place]) -> str:
        said = "a {colour} {kind} in the {place}"
        things = [(place, scene.things[place]) for place in order]
        return join([GRAMMAR.fill(said, rng, colour=t.colour, kind=t.kind, place=place) for place, t in things])

    def random_edit(self, rng: random.Random, split: str, scene: Scene) -> tuple[Action, Scene]:
        """A legal edit that belongs to the split, and the scene after it."""
        act = self._random_edit(rng, split, scene, forced=True)
        after = self.apply(scene, act)
        assert after is not None, f"illegal {act} on {scene}"
        return act, after

    # One method for each sort of request

    def set_out(self, rng: random.Random, split: str) -> Task:
        voice = rng.random()
        scene, steps, scenes, order = Scene("shelf"), [], [], []
        for index in range(rng.randint(2, 5)):
            place, thing = rng.choice(self._newcomers(scene, _rule(split, forced=index == 0)))
            steps.append(GRAMMAR.say(action("add", colour=thing.colour, kind=thing.kind, place=place), voice))
            scene = scene.put(place, thing)
            scenes.append(scene)
            order.append(place)
        request = wording(SET_OUT, rng, split).format(items=self._items(scene, rng, order))
        turn = self._turn(request, steps, scenes, rng, split)
        return Task("arrange", "set out", Scene("shelf"), (), [turn])

    def _edit(self, rng: random.Random, split: str) -> Task:
        start = self.shelf(rng, split, rng.randint(2, 6))
        clauses, steps, scenes = self._edits(rng, split, start, rng.choice((1, 2, 2, 3, 3, 4)))
        request = wording(EDIT, rng, split).format(clauses=join(clauses))
        return Task("arrange", "edit", start, (start,), [self._turn(request, steps, scenes, rng, split)])

    def _without(self, rng: random.Random, split: str) -> Task:
        start = self.shelf(rng, split, rng.randint(2, 6))
        # The first thing of a shelf is the one that only its split may show.
        first, *others = start.things
        gone = [first, *rng.sample(others, rng.randint(0, min(2, len(others) - 1)))]
        rng.shuffle(gone)
        scene, steps, scenes, voice = start, [], [], rng.random()
        for place in gone:
            act = action("remove", colour2=scene.things[place].colour, kind2=scene.things[place].kind, place2=place)
            steps.append(GRAMMAR.say(act, voice))
            scene = scene.clear(place)
            scenes.append(scene)
        things = join([start.things[place].name for place in gone])
        request = wording(WITHOUT, rng, split).format(
            things=things.replace(" and ", " and the ").replace(", ", ", the ")
        )
        return Task("arrange", "without", start, (start,), [self._turn(request, steps, scenes, rng, split)])

    def _swap(self, rng: random.Random, split: str) -> Task:
        may = _rule(split, forced=False)
        ways: dict[tuple[Place, Place], Place] = {}
        while not ways:
            start = self.shelf(rng, split, rng.randint(2, 5))
            # The spare place is always the first free one in reading order, so that it can be learned.
            ways = {
                (first, second): spare
                for first, one in start.things.items() for second, two in start.things.items()
                for spare in reversed(start.free)
                if first != second and may(one, spare) and may(two, first) and may(one, second)
                and (split == "train" or is_held_out(one, first))
            }  # fmt: skip
        (first, second), spare = rng.choice(list(ways.items()))
        one, two = start.things[first], start.things[second]
        voice = rng.random()
        scene, steps, scenes = start, [], []
        for thing, source, target in ((one, first, spare), (two, second, first), (one, spare, second)):
            act = action("move", colour=thing.colour, kind=thing.kind, place2=source, place=target)
            steps.append(GRAMMAR.say(act, voice))
            scene = scene.clear(source).put(target, thing)
            scenes.append(scene)
        request = wording(SWAP, rng, split).format(a=f"{one.colour} {one.kind}", b=f"{two.colour} {two.kind}")
        return Task("arrange", "swap", start, (start,), [self._turn(request, steps, scenes, rng, split)])

    def _follow_up(self, rng: random.Random, split: str) -> Task:
        first = rng.choice((self.set_out, self._edit))(rng, split)
        scene = first.turns[0].pictures[-1]
        changed = [place for place, thing in scene.things.items() if first.start.things.get(place) != thing]
        clauses, steps, scenes = self._edits(rng, split, scene, rng.choice((1, 1, 2)), changed[-1] if changed else None)
        request = wording(FOLLOW_UP, rng, split).format(clauses=join(clauses))
        turns = [*first.turns, self._turn(request, steps, scenes, rng, split)]
        return Task("arrange", "follow-up", first.start, first.shown, turns)

    def _draw(self, rng: random.Random, split: str) -> Task:
        scene = self.shelf(rng, split, rng.randint(1, 4))
        order = list(scene.things)
        request = wording(DRAW, rng, split).format(items=self._items(scene, rng, order))
        said = sentence(caption((place, scene.things[place]) for place in order))
        turn = Turn(vary(request, rng), [said], [scene], lambda final: final == scene)
        return Task("arrange", "draw", Scene("shelf"), (), [turn])

    def _retouch(self, rng: random.Random, split: str) -> Task:
        """One edit, said in one sentence and painted: what `duogen edit` asks for."""
        start = self.shelf(rng, split, rng.randint(1, 6))
        clauses, steps, scenes = self._edits(rng, split, start, 1)
        request = vary(wording(RETOUCH, rng, split).format(clauses=clauses[0]), rng)
        return Task(
            "arrange", "retouch", start, (start,), [Turn(request, steps, scenes, lambda final: final == scenes[0])]
        )
