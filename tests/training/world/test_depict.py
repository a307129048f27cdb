from __future__ import annotations

import pytest

from duogen.training.data import FAMILIES, draw_task
from duogen.training.world.arrange import caption
from duogen.training.world.depict import ASKED, TAGS, shows, stands
from duogen.training.world.language import sentence
from duogen.training.world.scene import Scene, Thing

BALL, CUP = Thing("ball", "red"), Thing("cup", "blue")


def page(**things: Thing) -> Scene:
    return Scene("page", {(int(at[1]), int(at[2])): thing for at, thing in things.items()})


def test_exactly_what_was_asked_for() -> None:
    both = page(p01=BALL, p21=CUP)
    assert shows(BALL, CUP)(both) and shows(Thing("cup", ""), Thing("ball", ""))(both)
    assert shows(Thing("ball", ""), CUP)(both)
    assert not shows(BALL)(both), "nothing more"
    assert not shows(BALL, CUP, CUP)(both), "nothing less"
    assert not shows(Thing("ball", "blue"), Thing("cup", "red"))(both), "no colours changed about"
    assert shows(BALL, Thing("ball", ""))(page(p01=BALL, p21=Thing("ball", "pink")))


@pytest.mark.parametrize(
    ("relation", "right"), [("left of", True), ("right of", False), ("above", False), ("below", False)]
)
def test_relations(relation: str, right: bool) -> None:
    beside = page(p01=BALL, p21=CUP)
    assert stands("ball", relation, "cup")(beside) == right
    assert not stands("ball", relation, "star")(beside)
    assert not stands("ball", relation, "cup")(page(p01=BALL, p21=CUP, p11=CUP))


def test_every_tag_occurs_and_its_own_picture_is_right() -> None:
    for split in ("train", "held-out"):
        tasks = [draw_task(1, index, split, "depict") for index in range(200)]
        assert {task.kind for task in tasks} == set(TAGS)
        assert all(task.turns[0].goal(task.pictures[0]) for task in tasks)


def test_the_answer_says_what_it_will_show_and_where() -> None:
    asked = {"two_object": "a cup and a heart", "counting": "balls", "position": " left of "}
    for kind, words in asked.items():
        task = next(
            t for t in (draw_task(5, i, "train", "depict") for i in range(2000))
            if t.kind == kind and words in t.turns[0].request
        )  # fmt: skip
        (said,), (scene,) = task.turns[0].segments, task.pictures
        assert said == sentence(caption(scene.things.items())) and said.count(" in the ") == len(scene.things)
        assert not task.turns[0].steps and FAMILIES["depict"].direct(task.turns[0])


def test_neither_sentence_nor_wording_of_the_held_out_split_is_trained_on() -> None:
    trained = {draw_task(1, index, "train", "depict").turns[0].request.lower().rstrip(".") for index in range(3000)}
    held = {draw_task(1, index, "held-out", "depict").turns[0].request.lower().rstrip(".") for index in range(300)}
    assert not trained & held
    last = ASKED[-1].split("{")[0].lower()
    assert not any(request.startswith(last) for request in trained) and any(r.startswith(last) for r in held)
