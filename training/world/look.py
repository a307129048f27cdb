"""The family *look*: questions about pictures, answered in text; no picture is drawn.

What is there, where, how many, in which colour, what lies in a vessel of the kitchen, what a structure's parts look like,
what has changed between two pictures, and whether a picture shows what a step says. Every question has one right answer, in
one fixed wording. What has to be gathered first, the things of a shelf and those that are counted, the places that changed
and what is new in a picture, is written down in front of a colon, and only what stands behind it is the answer.

The pictures are those of the families that draw; what those keep out of training is kept out here. The last of the
wordings is held out too.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from duogen.models.check import NO, QUESTION, YES
from duogen.training.world.arrange import Arrange, caption, place_names
from duogen.training.world.build import PARTS_OF, Build, colours_of
from duogen.training.world.check import spoil, step_of
from duogen.training.world.cook import Cook, contents
from duogen.training.world.depict import Depict
from duogen.training.world.draw import Draw
from duogen.training.world.language import NUMBERS, Action, Grammar, join, sentence
from duogen.training.world.scene import COLOURS, OBJECTS, VESSELS, Scene
from duogen.training.world.seeing import differences, held, in_order, inside, seen
from duogen.training.world.task import Family, Task, Turn, vary, wording

LIST = (
    "What is on my shelf?", "What can you see in this picture?", "Tell me what is on the shelf.", "What do you see?",
    "Which things are on my shelf?", "Describe this picture.", "List what is on the shelf.", "What is there?",
    "Name all the things here.", "What is here?",
)  # fmt: skip
LISTED = ("On the shelf there is: {items}.", "I can see: {items}.")
FIND = (
    "Where do I find {items}?", "Can you find {items} on my shelf?", "Help me find {items}.",
    "Show me where {items} can be found.", "Where can I find {items}?", "I am looking for {items}.",
    "Tell me where to find {items}.", "Help! Where did I put {items}?", "Where have {items} been put?",
    "Where did I leave {items}?", "I can't remember where I put {items}.", "Where have I put {items}?",
)  # fmt: skip
COUNT = (
    "How many {what} are there?", "How many {what} can you see?", "Count the {what}.", "How many {what} do you see?",
    "How many {what} are in the picture?", "Tell me how many {what} there are.", "Can you count the {what}?",
    "Give me the number of {what}.", "I wonder how many {what} there are.", "The number of {what}, please.",
    "Which number of {what} is this?", "Do you know the number of {what}?", "What is the number of {what}?",
)  # fmt: skip
COLOUR = (
    "What colour is the {what}?", "Which colour does the {what} have?", "Tell me the colour of the {what}.",
    "Which colour is the {what}?", "Name the colour of the {what}.", "What is the colour of the {what}?",
    "In what colour is the {what}?", "Say what colour the {what} has.", "The {what}: which colour?",
    "My {what}: what is its colour?", "What colour is it, the {what}?", "About the {what}: which colour does it have?",
    "The {what}: what colour is it?",
)  # fmt: skip
COLOURS_OF = (
    "Which colour do the {what} have?", "Tell me the colour of the {what}.", "Name the colour of the {what}.",
    "What is the colour of the {what}?", "Say what colour the {what} have.", "In what colour are the {what}?",
    "What colour are the {what}?",
)  # fmt: skip
INSIDE = (
    "What is {where}?", "What can you see {where}?", "Tell me what is {where}.", "What do you see {where}?",
    "What is there {where}?", "Name what is {where}.", "Say what lies {where}.", "Is there anything {where}?",
    "List what is {where}.", "What lies {where}?",
)  # fmt: skip
CHANGED = (
    "What has changed between these two pictures?", "What changed?",
    "Tell me what is different in the second picture.", "What is different now?",
    "What is the change between these pictures?", "Which change do you see?", "Tell me what has changed.",
    "Find the difference.", "How do these two pictures differ?", "What has happened to my shelf?",
    "Compare these two pictures.",
)  # fmt: skip


def listing(scene: Scene) -> str:
    """All things of a shelf in reading order, in one fixed wording."""
    return caption(in_order(scene))


def number(count: int) -> str:
    return NUMBERS.get(count, "no")


class Look(Family):
    """Questions about pictures. See the module's docstring."""

    name = "look"
    grammar = Grammar({}, {})

    def __init__(self) -> None:
        self.arrange, self.build, self.cook = Arrange(), Build(), Cook()
        self.painted: tuple[Family, ...] = (self.arrange, self.build, self.cook, Depict(), Draw())
        # Shares in the evaluation and in training: finding is what every edit depends on.
        self._kinds: dict[str, tuple[int, int, Callable[[random.Random, str], Task]]] = {
            "list": (2, 3, self._list), "find": (2, 4, self._find), "count": (2, 7, self._count),
            "colour": (2, 3, self._colour), "part": (1, 1, self._part), "inside": (2, 4, self._inside),
            "changed": (2, 6, self._changed), "check": (1, 9, self._check),
        }  # fmt: skip

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        """A question changes nothing."""
        return None

    def sample(self, rng: random.Random, split: str) -> Task:
        asked, practised, makers = zip(*self._kinds.values(), strict=True)
        return rng.choices(makers, practised if split == "train" else asked)[0](rng, split)

    def _shelf(self, rng: random.Random, split: str, least: int = 1) -> Scene:
        return self.arrange.shelf(rng, split, rng.randint(least, 6))

    # What lessons are made of, too

    def describe(self, rng: random.Random, scene: Scene, split: str = "train") -> Task:
        """The task of saying in words what a shelf holds."""
        answer = rng.choice(LISTED).format(items=listing(scene))
        return _task("list", rng, (scene,), wording(LIST, rng, split), answer)

    def find(self, rng: random.Random, scene: Scene, split: str = "train", by_shape: float = 0.5) -> Task:
        """The task of saying where things stand, in the order asked for; the heart of every edit of a picture.

        Args:
            by_shape: chance that a thing is named by its shape alone, where no other thing has that shape.
        """
        # The first thing of a shelf is the one that only its split may show.
        first, *others = scene.things.items()
        wanted = [first, *rng.sample(others, rng.randint(0, min(3, len(others))))]
        rng.shuffle(wanted)
        kinds = [thing.kind for thing in scene.things.values()]
        asked = [
            f"the {thing.kind}" if kinds.count(thing.kind) == 1 and rng.random() < by_shape else f"the {thing.name}"
            for _, thing in wanted
        ]
        found = join([f"the {t.name} is in the {place_names(*place)[0]}" for place, t in wanted])
        request = wording(FIND, rng, split).format(items=join(asked))
        return _task("find", rng, (scene,), request, sentence(found))

    def point(self, rng: random.Random, scene: Scene) -> Task:
        """The exercise that finding is learned from: colour and place are asked for right behind a thing's name.

        A thing is named by its shape where no other has that shape, and by its colour too where one has.
        """
        kinds = [thing.kind for thing in scene.things.values()]
        wanted = list(scene.things.items())
        rng.shuffle(wanted)
        asked = [t.kind if kinds.count(t.kind) == 1 else t.name for _, t in wanted]
        found = ", ".join(f"{t.kind} {t.colour} {place_names(*place)[0]}" for place, t in wanted)
        turn = Turn("Point at " + ", ".join(asked), [found], [], lambda final: True)
        return Task("look", "point", scene, (scene,), [turn])

    # One method for each sort of question

    def _list(self, rng: random.Random, split: str) -> Task:
        return self.describe(rng, self._shelf(rng, split), split)

    def _find(self, rng: random.Random, split: str) -> Task:
        return self.find(rng, self._shelf(rng, split, least=2), split)

    def _count(self, rng: random.Random, split: str) -> Task:
        """Of a kind, a colour, or all; things that aren't there are asked for too."""
        scene = self._shelf(rng, split)
        kinds, colours = ([thing[i] for thing in scene.things.values()] for i in (0, 1))
        of_kind, of_colour = rng.choice([*kinds, rng.choice(OBJECTS)]), rng.choice([*colours, rng.choice(COLOURS)])
        options = [
            ("things", len(scene.things)), (f"{of_kind}s", kinds.count(of_kind)),
            (f"{of_colour} things", colours.count(of_colour)),
        ]  # fmt: skip
        what, count = rng.choice(options)
        counted = [item for item in in_order(scene) if what == "things" or what.split()[0].removesuffix("s") in item[1]]
        of = what.removesuffix("s") if count == 1 else what
        chosen = "" if what == "things" else f", of which {caption(counted) if counted else 'none'}"
        said = sentence(f"{listing(scene)}{chosen}: {number(count)} {of}")
        return _task("count", rng, (scene,), wording(COUNT, rng, split).format(what=what), said)

    def _colour(self, rng: random.Random, split: str) -> Task:
        scene = self._shelf(rng, split)
        kinds = [thing.kind for thing in scene.things.values()]
        single = [thing for thing in scene.things.values() if kinds.count(thing.kind) == 1]
        if not single:
            return self._colour(rng, split)
        thing = rng.choice(single)
        request = wording(COLOUR, rng, split).format(what=thing.kind)
        return _task("colour", rng, (scene,), request, f"The {thing.kind} is {thing.colour}.")

    def _part(self, rng: random.Random, split: str) -> Task:
        scene = self.build.sample(rng, split).pictures[-1:]
        parts = [part for part in PARTS_OF if scene and len(colours_of(scene[0], part)) == 1]
        if not parts:
            return self._part(rng, split)
        part = rng.choice(parts)
        (colour,) = colours_of(scene[0], part)
        asked, verb = (COLOURS_OF, "are") if part.endswith("s") else (COLOUR, "is")
        request = wording(asked, rng, split).format(what=part)
        return _task("part", rng, tuple(scene), request, f"The {part} {verb} {colour}.")

    def _inside(self, rng: random.Random, split: str) -> Task:
        scene = rng.choice(self.cook.sample(rng, split).turns[0].pictures)
        full = [vessel for vessel in VESSELS if contents(scene, vessel)]
        vessel = rng.choice(full if rng.random() < 0.8 else VESSELS)
        where = inside(vessel)
        request = wording(INSIDE, rng, split).format(where=where)
        return _task("inside", rng, (scene,), request, sentence(f"{where}: {held(scene, vessel)}"))

    def _changed(self, rng: random.Random, split: str) -> Task:
        before = self._shelf(rng, split, least=2)
        act, after = self.arrange.random_edit(rng, split, before)
        said = sentence(f"{differences(before, after)}: {_past(act)}")
        return _task("changed", rng, (before, after), wording(CHANGED, rng, split), said)

    def _check(self, rng: random.Random, split: str) -> Task:
        family = rng.choices(self.painted, (4, 4, 3, 2, 2))[0]
        task = family.sample(rng, split)
        if not task.turns[0].pictures:
            return self._check(rng, split)
        said, before, after, turn = step_of(rng, task)
        right = rng.random() < 0.5
        if not right:
            true, after = after, spoil(rng, before, after)
            while said == turn.request and turn.goal(after):  # what a sentence leaves open may look so, too
                after = spoil(rng, before, true)
        shown = (after,) if before is None else (before, after)
        answer = sentence(f"{seen(before, after)}: {YES if right else NO}")
        turn = Turn(QUESTION.format(step=said), [answer], [], lambda final: True)
        return Task("look", "check", after, shown, [turn])


def _past(act: Action) -> str:
    """What an action has done to a shelf, as far as two pictures tell."""
    v = {name: place_names(*value)[0] if name.startswith("place") else value for name, value in act.values}
    sentences = {
        "add": "There is a new {colour} {kind} in the {place}",
        "remove": "The {colour2} {kind2} in the {place2} is gone",
        "move": "The {colour} {kind} went from the {place2} to the {place}",
        "replace": "The {colour2} {kind2} in the {place} is a {colour} {kind} now",
    }
    # Whether it was painted or another one was put there, two pictures don't tell.
    verb, v = ("replace", {"kind2": v["kind"], **v}) if act.verb == "paint" else (act.verb, v)
    return sentences[verb].format(**v).replace(" a orange", " an orange")


def _task(kind: str, rng: random.Random, shown: tuple[Scene, ...], request: str, answer: str) -> Task:
    turn = Turn(vary(request, rng), [answer], [], lambda final: True)
    return Task("look", kind, shown[-1], shown, [turn])
