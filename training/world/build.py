"""The family *build*: towers, walls, houses, castles, pyramids and bridges rise from the grass, part by part.

Everything is centred: a row of four blocks covers the four middle columns, side towers stand at the far left and right.
Gravity holds: whatever is placed stands on something, a bridge's beam on its two ends.

Every structure has a main and an accent colour: of every other floor or row, of a house's door, a castle's towers, a
bridge's beam. Held out: for each structure and main colour, one accent (``is_held_out``); training never shows the three
together.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from duogen.training.world.language import NUMBERS, Action, Grammar, a, action, join
from duogen.training.world.scene import COLOURS, STAGES, Place, Scene, Thing
from duogen.training.world.task import Family, Task, Turn, gather, in_steps, narrate, vary, ways_to, wording

STRUCTURES = ("tower", "wall", "house", "castle", "pyramid", "bridge")
PRACTISED = (2, 2, 3, 4, 2, 4)
"""Shares of the structures in training; the evaluation asks for all of them alike."""
COLUMNS, ROWS = STAGES["meadow"].columns, STAGES["meadow"].rows
PARTS_OF = {
    "roof": ("roof_left", "roof_middle", "roof_right"),
    "door": ("door_left", "door_right"),
    "battlements": ("battlement",),
    "flags": ("flag",),
}
ASKED = (
    *ways_to("build {what}", "make {what}"),
    *("I need {what}.", "Can you build me {what}?", "Show me the way to {what}.", "Make me {what}.", "{what}, please.")
    * 2,
    "How can I make {what}?",
)
NEEDED = (
    "What do I need to build {what}?", "What does it take to build {what}?", "What is needed for {what}?",
    "What goes into {what}?", "List the parts of {what}.", "Tell me what {what} is made of.",
    "How many parts do I need for {what}?", "Which parts does {what} take?",
)  # fmt: skip
REPAINT = (
    "Now make the {part} {colour}.", "Can the {part} be {colour} instead?", "Please make the {part} {colour}.",
    "Then make the {part} {colour}.", "I want the {part} {colour}.", "Change the {part} to {colour}.",
    "And now turn the {part} {colour}.", "Now paint the {part} {colour}.",
)  # fmt: skip
"""Of each of these the last wording is kept out of training."""
OPTIONAL = {
    "tower": ("a roof", "battlements"), "wall": ("battlements",), "house": ("windows",), "castle": ("a door", "flags"),
    "pyramid": ("a roof",), "bridge": ("battlements",),
}  # fmt: skip
"""What a request may want left away."""
_KIND = {
    "a roof": "roof_left",
    "battlements": "battlement",
    "windows": "window",
    "a door": "door_left",
    "flags": "flag",
}
_DOOR: tuple[Place, Place] = ((2, 0), (3, 0))

GRAMMAR = Grammar(
    words={
        "colour": {colour: (colour,) for colour in COLOURS},
        "number": {number: (word,) for number, word in NUMBERS.items()},
        "side": {"left": ("left",), "right": ("right",)},
        "part": {part: (part,) for part in PARTS_OF},
    },
    templates={
        "ground": (
            "Lay a row of {number} {colour} blocks on the ground.", "Start with a row of {number} {colour} blocks.",
            "Set {number} {colour} blocks side by side on the grass.",
        ),
        "row": (
            "Lay a row of {number} {colour} blocks on top.", "Add another row of {number} {colour} blocks.",
            "Put {number} {colour} blocks on top, side by side.",
        ),
        "tower": (
            "Stack {number} {colour} blocks on the far {side}.", "Build a pillar of {number} {colour} blocks on the {side}.",
            "On the {side}, pile up {number} {colour} blocks.",
        ),
        "beam": (
            "Lay a beam of {number} {colour} blocks across the top.", "Span the gap with {number} {colour} blocks.",
        ),
        "roof": ("Put a {colour} roof on top.", "Finish it with a {colour} roof.", "Set a {colour} roof over the top row."),
        "battlements": (
            "Crown it with {number} {colour} battlements.", "Put a row of {number} {colour} battlements on top.",
        ),
        "door": ("Add a {colour} door at the bottom.", "Fit a {colour} door in the middle.", "Give it a {colour} door."),
        "windows": ("Open two windows in the second row.", "Add two windows in the second row."),
        "flags": ("Fly a {colour} flag from each tower.", "Plant {colour} flags on both towers."),
        "repaint": ("Repaint the {part} {colour}.", "Paint the {part} {colour}.", "Make the {part} {colour}."),
    },
)  # fmt: skip


def is_held_out(structure: str, main: str, accent: str) -> bool:
    """Whether a structure of this main and accent colour never occurs in training."""
    return (3 * STRUCTURES.index(structure) + 2 * COLOURS.index(main) + 3 * COLOURS.index(accent)) % 8 == 2


def _colours(rng: random.Random, structure: str, held: bool) -> tuple[str, str]:
    """A main and an accent colour; about half of the structures of plain rows are of one colour."""
    pairs = [(main, accent) for main in COLOURS for accent in COLOURS if is_held_out(structure, main, accent) == held]
    plain = len(COLOURS) - 1 if structure in ("tower", "wall", "pyramid") else 1
    return rng.choices(pairs, [plain if main == accent else 1 for main, accent in pairs])[0]


Wish = tuple[str, Callable[[Scene], bool]]
"""How a request asks for a property, and whether a final scene has it."""


@dataclass
class _Plan:
    """A structure on its way: actions, and the phrases by which a request may ask for each property."""

    actions: list[Action]
    wishes: list[Wish]
    size: str


def colours_of(scene: Scene, part: str) -> set[str]:
    return {thing.colour for thing in scene.things.values() if thing.kind in PARTS_OF[part]}


def _main(colour: str, place: Place) -> Callable[[Scene], bool]:
    return lambda scene: scene.things.get(place, Thing("", "")).colour == colour


def _part(part: str, colour: str) -> Callable[[Scene], bool]:
    return lambda scene: colours_of(scene, part) == {colour}


def _beam(colour: str) -> Callable[[Scene], bool]:
    """At whatever height: only the middle columns tell a bridge's beam from its ends."""
    return lambda scene: {t.colour for (c, _), t in scene.things.items() if c == 2 and t.kind == "block"} == {colour}


def _height(column: int, height: int) -> Callable[[Scene], bool]:
    return lambda scene: sum(t.kind == "block" for (c, _), t in scene.things.items() if c == column) == height


class Build(Family):
    """Structures on a meadow. See the module's docstring for gravity and for what is held out."""

    name = "build"
    grammar = GRAMMAR

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        v = dict(act.values)
        if act.verb in ("ground", "row", "beam", "battlements"):
            return self._row(scene, act.verb, v["number"], v["colour"])
        if act.verb == "tower":
            column = 0 if v["side"] == "left" else COLUMNS - 1
            if scene.top(column) or v["number"] > ROWS:
                return None
            for row in range(v["number"]):
                scene = scene.put((column, row), Thing("block", v["colour"]))
            return scene
        if act.verb == "roof":
            return self._roof(scene, v["colour"])
        if act.verb == "door":
            if any(scene.things.get(place, Thing("", "")).kind != "block" for place in _DOOR):
                return None
            left, right = _DOOR
            return scene.put(left, Thing("door_left", v["colour"])).put(right, Thing("door_right", v["colour"]))
        if act.verb == "windows":
            columns = [c for c in range(1, COLUMNS - 1) if scene.things.get((c, 1), Thing("", "")).kind == "block"]
            if len(columns) < 2:
                return None
            for column in (columns[0], columns[-1]):
                scene = scene.put((column, 1), Thing("window", scene.things[column, 1].colour))
            return scene
        if act.verb == "flags":
            tops = [(column, scene.top(column)) for column in (0, COLUMNS - 1)]
            if any(not 0 < row < ROWS for _, row in tops):
                return None
            for place in tops:
                scene = scene.put(place, Thing("flag", v["colour"]))
            return scene
        places = [place for place, thing in scene.things.items() if thing.kind in PARTS_OF[v["part"]]]
        for place in places:
            scene = scene.put(place, Thing(scene.things[place].kind, v["colour"]))
        return scene if places else None

    def _row(self, scene: Scene, verb: str, number: int, colour: str) -> Scene | None:
        low = (COLUMNS - number) // 2
        columns = range(low, low + number)
        heights = [scene.top(column) for column in columns]
        level = max(heights)
        resting = {heights[0], heights[-1]} == {level} if verb == "beam" else set(heights) == {level}
        if number % 2 or not resting or level >= ROWS or (verb == "ground") != (level == 0):
            return None
        for column in columns:
            scene = scene.put((column, level), Thing("battlement" if verb == "battlements" else "block", colour))
        return scene

    def _roof(self, scene: Scene, colour: str) -> Scene | None:
        level = scene.top(COLUMNS // 2)
        columns = sorted(column for column, row in scene.things if row == level - 1)
        if not 0 < level < ROWS or len(columns) < 2:
            return None
        for column in columns:
            end = {columns[0]: "roof_left", columns[-1]: "roof_right"}
            scene = scene.put((column, level), Thing(end.get(column, "roof_middle"), colour))
        return scene

    # The structures

    def sample(self, rng: random.Random, split: str) -> Task:
        held = split == "held-out"
        structure = rng.choices(STRUCTURES, None if held else PRACTISED)[0]
        main, accent = _colours(rng, structure, held)
        plan: _Plan = getattr(self, f"_{structure}")(rng, main, accent)
        voice = rng.random()
        scene, scenes, steps = Scene("meadow"), [], []
        for act in plan.actions:
            after = self.apply(scene, act)
            assert after is not None, f"illegal {act} on {scene}"
            scene = after
            scenes.append(scene)
            steps.append(GRAMMAR.say(act, voice))
        # A held-out task names all of its colours, so that it really asks for what is held out.
        named = held or rng.random() < 0.7
        rng.shuffle(rest := plan.wishes[1:])
        wishes = plan.wishes[:named] + [wish for wish in rest if held or rng.random() < 0.75]
        size = plan.size if rng.random() < 0.5 else ""
        if rng.random() < 0.12:
            return self._needs(rng, split, structure, self._what(rng, structure, plan.size, plan.wishes, True), scene)
        what = self._what(rng, structure, size, wishes, named)
        absent = [part for part in OPTIONAL[structure] if _lacks(part)(scene)]
        if absent and rng.random() < (0.35 if held else 0.65):
            part = rng.choice(absent)
            what += f"{',' * (' with ' in what)} without {part}"
            wishes = [*wishes, (part, _lacks(part))]
        request, count = wording(ASKED, rng, split).format(what=what), None
        if len(steps) > 2 and rng.random() < (0.12 if held else 0.3):
            count = rng.randint(2, len(steps) - 1)
            request = in_steps(request, count, rng)
            steps, scenes = gather(steps, scenes, count)
        turns = [Turn(vary(request, rng), narrate(steps, rng), scenes, _all(wishes), count)]
        if rng.random() < 0.2 and (follow := self._follow_up(rng, split, structure, main, scene, wishes)):
            turns.append(follow)
        return Task("build", structure, Scene("meadow"), (), turns)

    def _what(self, rng: random.Random, structure: str, size: str, wishes: list[Wish], named: bool) -> str:
        """'a small red house with a blue roof'; `named` tells whether the first wish is the main colour."""
        phrases = [phrase for phrase, _ in wishes]
        main = phrases.pop(0) if named else ""
        if structure == "house" and named and rng.random() < 0.5:
            main, phrases = "", [f"{main} walls", *phrases]
        what = " ".join(f"{size} {main} {structure}".split())
        return a(what) + (f" with {join(phrases)}" if phrases else "")

    def _needs(self, rng: random.Random, split: str, structure: str, what: str, scene: Scene) -> Task:
        """A question that is answered in text alone: what it takes."""
        counts: dict[tuple[str, str], int] = {}
        names = {"door_left": "door", "window": "window", "battlement": "battlement", "flag": "flag", "block": "block"}
        for thing in scene.things.values():
            name = "roof" if thing.kind == "roof_left" else names.get(thing.kind)
            if name:
                counts[name, thing.colour] = counts.get((name, thing.colour), 0) + 1
        order = ("block", "window", "door", "roof", "battlement", "flag")
        listed = sorted(counts.items(), key=lambda item: order.index(item[0][0]))  # blocks as they are laid
        items = join([f"{count} {colour} {name}{'s' * (count > 1)}" for (name, colour), count in listed])
        request = vary(wording(NEEDED, rng, split).format(what=what), rng)
        answer = rng.choice(("You need: {items}.", "It takes: {items}.")).format(items=items)
        return Task("build", "needs", Scene("meadow"), (), [Turn(request, [answer], [], lambda scene: True)])

    def _follow_up(
        self, rng: random.Random, split: str, structure: str, main: str, scene: Scene, wishes: list[Wish]
    ) -> Turn | None:
        """Another colour for a part; what was wished for before still holds, where the two go together."""
        parts = [part for part in PARTS_OF if colours_of(scene, part)]
        if not parts:
            return None
        part = rng.choice(parts)
        accent = structure == "house" and part == "door"
        colour = rng.choice([
            colour for colour in COLOURS
            if colour not in colours_of(scene, part) and not (accent and is_held_out(structure, main, colour))
        ])  # fmt: skip
        act = action("repaint", part=part, colour=colour)
        after = self.apply(scene, act)
        assert after is not None
        request = vary(wording(REPAINT, rng, split).format(part=part, colour=colour), rng)
        goal = _all([*(wish for wish in wishes if wish[1](after)), (part, _part(part, colour))])
        return Turn(request, narrate([GRAMMAR.say(act, rng.random())], rng), [after], goal)

    def _tower(self, rng: random.Random, main: str, accent: str) -> _Plan:
        height = rng.randint(2, 4)
        floors = [main if row % 2 == 0 else accent for row in range(height)]
        acts = [action("row" if row else "ground", number=2, colour=colour) for row, colour in enumerate(floors)]
        wishes = [(main, _main(main, (2, 0))), (f"{NUMBERS[height]} floors", _height(2, height))]
        if accent != main:
            wishes.append((f"every other floor in {accent}", _main(accent, (2, 1))))
        self._crown(rng, acts, wishes, 2, ("roof", "battlements", ""))
        return _Plan(acts, wishes, {2: "small", 3: "", 4: "tall"}[height])

    def _wall(self, rng: random.Random, main: str, accent: str) -> _Plan:
        width, height = rng.choice((4, 6)), rng.randint(1 if accent == main else 2, 3)
        acts = [action("row" if row else "ground", number=width, colour=accent if row % 2 else main)
                for row in range(height)]  # fmt: skip
        wishes = [(main, _main(main, (2, 0))), (f"{NUMBERS[height]} row{'s' * (height > 1)}", _height(2, height))]
        if accent != main:
            wishes.append((f"every other row in {accent}", _main(accent, (2, 1))))
        self._crown(rng, acts, wishes, width, ("battlements", ""))
        return _Plan(acts, wishes, {4: "short", 6: "long"}[width])

    def _house(self, rng: random.Random, main: str, accent: str) -> _Plan:
        width, height = rng.choice(((4, 2), (4, 3), (6, 2), (6, 3)))
        acts = [action("row" if row else "ground", number=width, colour=main) for row in range(height)]
        wishes = [(main, _main(main, (1, 0)))]
        acts.append(action("door", colour=accent))
        if rng.random() < 0.6:
            acts.append(action("windows"))
            wishes.append(("two windows", lambda scene: any(t.kind == "window" for t in scene.things.values())))
        wishes.append((a(f"{accent} door"), _part("door", accent)))
        self._crown(rng, acts, wishes, width, ("roof",))
        return _Plan(acts, wishes, {(4, 2): "small", (4, 3): "narrow", (6, 2): "wide", (6, 3): "big"}[width, height])

    def _castle(self, rng: random.Random, main: str, accent: str) -> _Plan:
        height, wall, flag = rng.randint(2, 4), rng.randint(1, 2), rng.choice(COLOURS)
        door = rng.choice(COLOURS)
        acts = [action("row" if row else "ground", number=4, colour=main) for row in range(wall)]
        acts += [action("tower", side=side, number=height, colour=accent) for side in ("left", "right")]
        wishes = [(main, _main(main, (1, 0))), (f"two {accent} towers", _main(accent, (0, 0)))]
        wishes.append((f"{NUMBERS[wall]} row{'s' * (wall > 1)} of wall", _height(1, wall)))
        if rng.random() < 0.6:
            acts.append(action("door", colour=door))
            wishes.append((a(f"{door} door"), _part("door", door)))
        self._crown(rng, acts, wishes, 4, ("battlements", ""))
        if rng.random() < 0.7:
            acts.append(action("flags", colour=flag))
            wishes.append((f"{flag} flags", _part("flags", flag)))
        return _Plan(acts, wishes, {2: "low", 3: "small", 4: "tall"}[height])

    def _pyramid(self, rng: random.Random, main: str, accent: str) -> _Plan:
        widths = rng.choice(((4, 2), (6, 4, 2)))
        acts = [action("row" if row else "ground", number=width, colour=accent if row % 2 else main)
                for row, width in enumerate(widths)]  # fmt: skip
        wishes = [(main, _main(main, (2, 0)))]
        if accent != main:
            wishes.append((f"every other row in {accent}", _main(accent, (2, 1))))
        if rng.random() < 0.4:
            self._crown(rng, acts, wishes, 2, ("roof",))
        return _Plan(acts, wishes, "small" if len(widths) == 2 else "big")

    def _bridge(self, rng: random.Random, main: str, accent: str) -> _Plan:
        height = rng.randint(1, 3)
        acts = [action("tower", side=side, number=height, colour=main) for side in ("left", "right")]
        acts.append(action("beam", number=6, colour=accent))
        wishes = [(main, _main(main, (0, 0))), (a(f"{accent} beam"), _beam(accent))]
        self._crown(rng, acts, wishes, 6, ("battlements", ""))
        return _Plan(acts, wishes, {1: "low", 2: "", 3: "high"}[height])

    def _crown(
        self, rng: random.Random, acts: list[Action], wishes: list[Wish], width: int, options: tuple[str, ...]
    ) -> None:
        """Adds a roof or battlements, or nothing, and the wish that goes with it."""
        kind, colour = rng.choice(options), rng.choice(COLOURS)
        if kind == "roof":
            acts.append(action("roof", colour=colour))
            wishes.append((a(f"{colour} roof"), _part("roof", colour)))
        elif kind == "battlements":
            acts.append(action("battlements", number=width, colour=colour))
            wishes.append((f"{colour} battlements", _part("battlements", colour)))


def _lacks(part: str) -> Callable[[Scene], bool]:
    return lambda scene: all(thing.kind != _KIND[part] for thing in scene.things.values())


def _all(wishes: list[Wish]) -> Callable[[Scene], bool]:
    return lambda scene: all(check(scene) for _, check in wishes)
