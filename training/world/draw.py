"""The family *draw*: lessons that teach how to draw something, a few strokes at a time.

Thirty subjects, each in a colour that the request may name. Every step adds its strokes to what is there.

Held out: by `held_out`, one in eight of all pairs of subject and colour; and the last of the wordings.
"""

from __future__ import annotations

import random

from duogen.training.world.figures import strokes
from duogen.training.world.language import Action, Grammar, a, action
from duogen.training.world.scene import COLOURS, SUBJECTS, Scene, Thing
from duogen.training.world.task import Family, Task, Turn, held_out, narrate, vary, ways_to, wording

GRAMMAR = Grammar(
    words={
        "stroke": {name: (name,) for subject in SUBJECTS for name in strokes(subject)},
        "colour": {colour: (colour,) for colour in COLOURS},
        "subject": {subject: (subject,) for subject in SUBJECTS},
    },
    templates={
        "draw": (
            "Draw the {stroke} of the {colour} {subject}.", "Add the {stroke} of the {colour} {subject}.",
            "Sketch the {stroke} of the {colour} {subject}.",
        ),
    },
)  # fmt: skip
ASKED = (
    *ways_to("draw {what}", "draw {what}, step by step", "sketch {what}"),
    *("How is {what} drawn?", "Draw {what} with me, step by step.", "A drawing lesson: {what}.") * 2,
    "Help me sketch {what}.",
)  # fmt: skip


class Draw(Family):
    """Drawing lessons. See the module's docstring."""

    name = "draw"
    grammar = GRAMMAR

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        """The strokes of a subject come in their order, all in one colour."""
        step, thing = len(scene.things), Thing(act["subject"], act["colour"])
        if strokes(thing.kind)[step : step + 1] != (act["stroke"],) or {*scene.things.values()} - {thing}:
            return None
        return scene.put((step, 0), thing)

    def sample(self, rng: random.Random, split: str) -> Task:
        while True:
            thing = Thing(rng.choice(SUBJECTS), rng.choice(COLOURS))
            if held_out("draw", *thing) == (split == "held-out"):
                break
        scene, scenes, steps, voice = Scene("sheet"), [], [], rng.random()
        for step, stroke in enumerate(strokes(thing.kind)):
            scene = scene.put((step, 0), thing)
            scenes.append(scene)
            steps.append(GRAMMAR.say(action("draw", stroke=stroke, colour=thing.colour, subject=thing.kind), voice))
        named = split == "held-out" or rng.random() < 0.7
        what = a(thing.name if named else thing.kind)
        goal = scene

        def done(final: Scene) -> bool:
            """The whole subject, in the colour that was asked for, if one was."""
            drawn = {drawn.kind for drawn in final.things.values()}
            return final == goal if named else drawn == {thing.kind} and final.things.keys() == goal.things.keys()

        request = vary(wording(ASKED, rng, split).format(what=what), rng)
        return Task("draw", thing.kind, Scene("sheet"), (), [Turn(request, narrate(steps, rng), scenes, done)])
