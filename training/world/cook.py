"""The family *cook*: from the larder to the plate, one action at a time.

A kitchen has six vessels of four places. What is washed, peeled or chopped lies on the board, eggs and liquids go into the
bowl, and pan, pot and oven take everything from board and bowl at once. So each picture shows where every ingredient is and
what has been done to it. Nothing that has to be peeled or cut is cooked before it is; nothing raw is served that the dish
wants cooked.

Held out: by `held_out`, one in eight of all pairs of a dish and its fillings; and the last of the wordings.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from duogen.training.world.language import Action, Grammar, a, action, join
from duogen.training.world.scene import HERBS, INGREDIENTS, LIQUIDS, POWDERS, Scene, Thing, vessel_places
from duogen.training.world.task import Family, Task, Turn, held_out, narrate, vary, ways_to, wording

WASHED = ("tomato", "pepper", "leek", "broccoli", "apple", "pear")
PEELED = ("onion", "carrot", "potato", "pumpkin", "banana")
RINSED = ("spinach", "strawberry", "mushroom")
"""What is washed and used whole."""
_CHOPPED = ("cheese", "ham", "fish", "chicken", "tofu")
_BROUGHT = {
    "wash": ("board", "whole", (*WASHED, *RINSED)),
    "peel": ("board", "peeled", PEELED),
    "chop": ("board", "chopped", _CHOPPED),
    "crack": ("bowl", "cracked", ("egg",)),
    "pour": ("bowl", "poured", (*LIQUIDS, *POWDERS)),
    "garnish": ("plate", "whole", HERBS),
}
"""What each action brings from the larder: into which vessel, in which form."""
_HEATED = {"fry": ("pan", "fried"), "boil": ("pot", "boiled"), "bake": ("oven", "baked")}
_SAVOURY = ("tomato", "pepper", "mushroom", "spinach", "onion", "leek", "cheese", "ham", "potato")
_SWEET = ("apple", "banana", "strawberry", "pear")
_HEARTY = ("broccoli", "carrot", "chicken", "fish", "tofu", "mushroom", "pepper", "onion")


@dataclass(frozen=True)
class Dish:
    """How a dish is made: its fixed ingredients, what may be chosen, and what becomes of it all.

    `finish` is how everything is brought together: ``mix`` in the bowl, or one of the ways to heat it.
    """

    base: tuple[str, ...]
    fillings: tuple[str, ...]
    whisked: bool
    finish: str
    herbs: bool = True


DISHES = {
    "omelette": Dish(("egg",), _SAVOURY, True, "fry"),
    "pancake": Dish(("flour", "egg"), (*_SWEET, "cheese", "ham"), True, "fry", herbs=False),
    "salad": Dish((), ("tomato", "pepper", "spinach", "cheese", "apple", "pear", "carrot", "ham"), False, "mix"),
    "smoothie": Dish(("milk",), _SWEET, False, "mix"),
    "soup": Dish(("cream",), ("tomato", "pumpkin", "carrot", "potato", "leek", "broccoli", "fish"), False, "boil"),
    "porridge": Dish(("milk", "honey"), _SWEET, False, "boil", herbs=False),
    "stir-fry": Dish(("rice",), _HEARTY, False, "fry"),
    "noodle pot": Dish(("noodles",), _HEARTY, False, "boil"),
    "gratin": Dish(("cream",), ("potato", "leek", "broccoli", "cheese", "ham", "fish"), False, "bake"),
    "cake": Dish(("flour", "sugar"), (*_SWEET, "carrot"), True, "bake", herbs=False),
}
PRACTISED = {"salad": (2, 0.35), "soup": (2, 0.35), "cake": (5, 0.8)}
"""Shares of dishes in training, where they are not 1, and how often they have a filling more; the evaluation asks for all alike."""
EVEN = (1, 0.5)

GRAMMAR = Grammar(
    words={"food": {food: (food,) for food in INGREDIENTS}},
    # Where several ingredients are handled at once, the sentence names them all, in the order in which they come to lie.
    templates={
        "wash": ("Wash the {food} and lay it on the board.", "Rinse the {food} and put it on the board."),
        "peel": ("Peel the {food} on the board.", "Take the peel off the {food}, on the board."),
        "chop": ("Chop the {food} on the board.", "Cut the {food} into pieces on the board."),
        "crack": ("Crack the {food} into the bowl.", "Break the {food} into the bowl."),
        "pour": ("Pour the {food} into the bowl.", "Tip the {food} into the bowl."),
        "whisk": ("Whisk {foods} in the bowl.", "Beat {foods} in the bowl until smooth."),
        "mix": ("Mix {foods} in the bowl.", "Stir {foods} together in the bowl."),
        "fry": ("Fry {foods} in the pan.", "Put {foods} into the pan and fry."),
        "boil": ("Boil {foods} in the pot.", "Put {foods} into the pot and boil."),
        "bake": ("Bake {foods} in the oven.", "Put {foods} into the oven and bake."),
        "serve": ("Serve {foods} on the plate.", "Put {foods} on the plate and serve."),
        "garnish": ("Garnish it with {food} on the plate.", "Top it with {food} on the plate."),
    },
    lists={"foods": "food"},
)  # fmt: skip
ASKED = (
    *ways_to("make {what}", "cook {what}", "prepare {what}"),
    *("Give me a recipe for {what}.", "How is {what} made?", "What is the recipe for {what}?", "{what}, please.") * 3,
    "Teach me to prepare {what}.",
)
SHOWN = (
    *ways_to("make this", "cook this dish", "make the dish in the picture"),
    *(
        "Here is my favourite dish. How is it made?", "Give me the recipe for this dish.", "What is the recipe?",
        "How do I get to this plate?", "I would like to make this dish. What is to be done?", "Which way leads to this?",
        "What is to be done for this dish?", "This dish, please.",
    ) * 2,
    "What is the way to this dish?",
)  # fmt: skip
"""With a picture of the dish."""
EMPTY = Scene("kitchen")


def contents(scene: Scene, vessel: str) -> list[Thing]:
    """What is in a vessel, in the order of its places."""
    return [scene.things[place] for place in vessel_places(vessel) if place in scene.things]


def fill(scene: Scene, vessel: str, things: Sequence[Thing]) -> Scene | None:
    """The scene with exactly these things in a vessel; None where they don't fit in."""
    places = vessel_places(vessel)
    if len(things) > len(places):
        return None
    scene = _emptied(scene, vessel)
    for place, thing in zip(places, things, strict=False):
        scene = scene.put(place, thing)
    return scene


def _change(scene: Scene, vessel: str, old: Thing, form: str) -> Scene | None:
    """With one thing of a vessel in another form."""
    inside = contents(scene, vessel)
    if old not in inside:
        return None
    return fill(scene, vessel, [Thing(t.kind, form) if t == old else t for t in inside])


class Cook(Family):
    """Recipes. See the module's docstring for the rules of the kitchen and for what is held out."""

    name = "cook"
    grammar = GRAMMAR

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        if act.verb == "whisk":
            return _gather(scene, act["foods"], ("bowl",), "bowl", "mixed")
        if act.verb == "serve":
            return _serve(scene, act["foods"])
        if act.verb == "mix":
            return _gather(scene, act["foods"], ("board", "bowl"), "bowl", "mixed")
        if act.verb in _HEATED:
            return _gather(scene, act["foods"], ("board", "bowl"), *_HEATED[act.verb])
        food = act["food"]
        if act.verb == "chop" and food in (*WASHED, *PEELED):
            return _change(scene, "board", Thing(food, "whole" if food in WASHED else "peeled"), "chopped")
        vessel, form, foods = _BROUGHT[act.verb]
        if food not in foods or any(thing.kind == food for thing in scene.things.values()):
            return None
        if act.verb == "garnish" and not contents(scene, "plate"):
            return None
        return fill(scene, vessel, [*contents(scene, vessel), Thing(food, form)])

    # Tasks

    def sample(self, rng: random.Random, split: str) -> Task:
        name, fillings = _choose(rng, split)
        while held_out("cook", name, *sorted(fillings)) != (split == "held-out"):
            name, fillings = _choose(rng, split)
        dish = DISHES[name]
        seasoned = 0.45 if split == "held-out" else 0.75  # one word of an answer, and so one to practise
        herb = rng.choice(HERBS) if dish.herbs and rng.random() < seasoned else None
        voice = rng.random()
        scene, scenes, steps = EMPTY, [], []
        for act in recipe(dish, fillings, herb):
            after = self.apply(scene, act)
            assert after is not None, f"illegal {act} on {scene}"
            scene = after
            scenes.append(scene)
            steps.append(GRAMMAR.say(act, voice))
        goal = sorted(contents(scene, "plate"))
        kind = name
        shown: tuple[Scene, ...] = ()
        request = wording(ASKED, rng, split).format(
            what=a(f"{join(fillings)} {name}") + (f" with {herb}" if herb else "")
        )
        if rng.random() < 0.25:
            kind, shown = "from a picture", (scene,)
            request = wording(SHOWN, rng, split)
        done = lambda final: sorted(contents(final, "plate")) == goal  # noqa: E731
        return Task("cook", kind, EMPTY, shown, [Turn(vary(request, rng), narrate(steps, rng), scenes, done)])


def _ready(thing: Thing) -> bool:
    """Whether it may be mixed or heated: nothing that still has to be cut."""
    return thing.colour != "peeled" and (thing.colour != "whole" or thing.kind in RINSED)


def _gather(scene: Scene, foods: tuple[str, ...], source: Sequence[str], target: str, form: str) -> Scene | None:
    """Everything in the source vessels comes together in one form; all of it must be named, and ready."""
    things = [thing for vessel in source for thing in contents(scene, vessel)]
    if not all(map(_ready, things)) or not _named(things, foods) or (target not in source and contents(scene, target)):
        return None
    for vessel in source:
        scene = _emptied(scene, vessel)
    return fill(scene, target, [Thing(food, form) for food in foods])


def _serve(scene: Scene, foods: tuple[str, ...]) -> Scene | None:
    """What is cooked or mixed goes on the plate; nothing may be left on the board."""
    source = [vessel for vessel in ("pan", "pot", "oven", "bowl") if contents(scene, vessel)]
    things = {thing.kind: thing for vessel in source for thing in contents(scene, vessel)}
    finished = all(thing.colour in ("mixed", "fried", "boiled", "baked") for thing in things.values())
    if not _named(list(things.values()), foods) or not finished or contents(scene, "board") or contents(scene, "plate"):
        return None
    for vessel in source:
        scene = _emptied(scene, vessel)
    return fill(scene, "plate", [things[food] for food in foods])


def _named(things: Sequence[Thing], foods: tuple[str, ...]) -> bool:
    """Whether a sentence names these things, all and alone."""
    return bool(things) and sorted(thing.kind for thing in things) == sorted(foods)


def _emptied(scene: Scene, vessel: str) -> Scene:
    for place in vessel_places(vessel):
        scene = scene.clear(place)
    return scene


def _choose(rng: random.Random, split: str) -> tuple[str, tuple[str, ...]]:
    """A dish and what goes into it beside its base. Training has more salads and soups of two ingredients, whose last one was told twice, as if
    there had to be three; and more cakes of two fillings, of which one was painted as another."""
    train = split == "train"
    name = rng.choices(list(DISHES), [PRACTISED.get(dish, EVEN)[0] if train else 1 for dish in DISHES])[0]
    least = 1 if DISHES[name].base else 2
    more = rng.random() < (PRACTISED.get(name, EVEN) if train else EVEN)[1]
    return name, tuple(rng.sample(DISHES[name].fillings, least + more))


def recipe(dish: Dish, fillings: Sequence[str], herb: str | None) -> list[Action]:
    """The actions that make a dish: fillings in the order named, then the base, then everything together."""
    acts = []
    for food in fillings:
        if food in (*WASHED, *RINSED):
            acts.append(action("wash", food=food))
        if food in PEELED:
            acts.append(action("peel", food=food))
        if food not in RINSED:
            acts.append(action("chop", food=food))
    acts += [action("crack" if food == "egg" else "pour", food=food) for food in dish.base]
    if dish.whisked:
        acts.append(action("whisk", foods=dish.base))
    foods = (*fillings, *dish.base)
    acts += [action(dish.finish, foods=foods), action("serve", foods=foods)]
    return acts + ([action("garnish", food=herb)] if herb else [])
