from __future__ import annotations

from difflib import get_close_matches

import pytest

from duogen.training.data import draw_task
from duogen.training.world.draw import Draw
from duogen.training.world.scene import SUBJECTS, Scene, Thing
from duogen.training.world.task import held_out

FAMILY = Draw()


@pytest.mark.parametrize(
    ("sentence", "legal"),
    [
        ("Add the pointed ears of the grey cat.", True),
        ("Draw the body of the grey cat.", False),
        ("Add the pointed ears of the red cat.", False),
        ("Add the pointed ears of the grey dog.", False),
    ],
)
def test_strokes_come_in_order_and_in_one_colour(sentence: str, legal: bool) -> None:
    head = Scene("sheet", {(0, 0): Thing("cat", "grey")})
    (act,) = FAMILY.read(sentence)
    assert (FAMILY.apply(head, act) is not None) == legal


def test_subjects_and_colours_are_held_out_in_pairs() -> None:
    for split in ("train", "held-out"):
        tasks = [draw_task(1, index, split, "draw") for index in range(500)]
        for task in tasks:
            (thing,) = set(task.turns[0].pictures[-1].things.values())
            assert held_out("draw", *thing) == (split == "held-out")
            # A word may be mistyped.
            words = task.turns[0].request.lower().strip(".?").split()
            assert split == "train" or get_close_matches(thing.colour, words, cutoff=0.6)
        assert len({task.kind for task in tasks}) > len(SUBJECTS) / 2


def test_where_no_colour_is_named_any_will_do() -> None:
    tasks = (draw_task(1, index, "train", "draw") for index in range(100))
    turn = next(task.turns[0] for task in tasks if not _names_colour(task.turns[0]))
    whole = turn.pictures[-1]
    painted = Scene("sheet", {place: Thing(thing.kind, "pink") for place, thing in whole.things.items()})
    assert turn.goal(painted) and not turn.goal(painted.clear((0, 0)))


def _names_colour(turn) -> bool:
    (thing,) = set(turn.pictures[-1].things.values())
    return thing.colour in turn.request
