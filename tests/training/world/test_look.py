from __future__ import annotations

import pytest

from duogen.training.data import draw_task
from duogen.training.world.look import Look
from duogen.training.world.scene import COLOURS

TASKS = [draw_task(1, index, split, "look") for index in range(400) for split in ("train", "held-out")]
KINDS = {"list": 1, "find": 1, "count": 1, "colour": 1, "part": 1, "inside": 1, "changed": 2, "check": None}


def of(kind: str) -> list:
    return [task for task in TASKS if task.kind == kind]


@pytest.mark.parametrize("kind", KINDS)
def test_questions_come_with_their_pictures_and_want_none(kind: str) -> None:
    assert len(of(kind)) > 20
    for task in of(kind):
        assert len(task.shown) == (KINDS[kind] or len(task.shown)) and not task.turns[0].pictures


def test_counts_are_true() -> None:
    words = {"no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
    for task in of("count"):
        gathered, counted = task.turns[0].segments[0].rstrip(".").split(": ")
        listed, _, chosen = gathered.partition(", of which ")
        assert listed.count(" in the ") == len(task.shown[0].things)
        number, *what = counted.split()
        there = list(task.shown[0].things.values())
        if what[0] in COLOURS:
            there = [thing for thing in there if thing.colour == what[0]]
        elif not what[0].startswith("thing"):
            there = [thing for thing in there if thing.kind == what[0].removesuffix("s")]
        assert words[number] == len(there) == (chosen or listed).count(" in the ")


def test_colours_and_changes_are_true() -> None:
    for task in of("colour"):
        _, kind, _, colour = task.turns[0].segments[0].rstrip(".").split()
        assert [thing.colour for thing in task.shown[0].things.values() if thing.kind == kind] == [colour]
    for task in of("changed"):
        before, after = task.shown
        assert 1 <= len(before.changed(after)) <= 2
        gathered, said = task.turns[0].segments[0].split(": ")
        assert gathered.count(", now ") == len(before.changed(after))
        if "gone" in said:
            assert len(after.things) < len(before.things) and gathered.endswith("now nothing")
        if " now." in said:  # painted or replaced, told in the same words
            (place,) = before.changed(after)
            assert before.things[place].name in said and after.things[place].name in said


def test_an_answer_must_be_exact_but_for_its_opening() -> None:
    task = of("list")[0]
    truth = task.turns[0].segments[0]
    family = Look()
    assert family.answers(task.turns[0], task.start, truth)
    assert family.answers(task.turns[0], task.start, "I see: " + truth.split(":")[1])
    assert not family.answers(task.turns[0], task.start, truth.replace(" in ", " under "))
