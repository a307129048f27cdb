from __future__ import annotations

import random

import pytest

from duogen.models.check import NO, YES
from duogen.training.data import FAMILIES, draw_task
from duogen.training.world.check import spoil, step_of
from duogen.training.world.parse import parse
from duogen.training.world.render import render
from duogen.training.world.scene import Scene, Thing

PAINTED = ("arrange", "build", "cook", "depict", "draw")


@pytest.mark.parametrize("family", PAINTED)
def test_a_near_miss_is_wrong_and_can_be_seen(family: str) -> None:
    rng = random.Random(0)
    for index in range(40):
        task = draw_task(1, index, "train", family)
        if not task.turns[0].pictures:
            continue
        said, before, after, turn = step_of(rng, task)
        assert said in [*(segment.strip() for segment in turn.segments), turn.request]
        assert after in turn.pictures and (before is None or before in task.pictures)
        wrong = spoil(rng, before, after)
        assert wrong != after and wrong.stage == after.stage and wrong.look == after.look
        if index < 8:
            assert parse(render(wrong)) == wrong, "what is drawn is what is said"


def test_misses_are_of_many_kinds() -> None:
    after = Scene("shelf", {(0, 0): Thing("ball", "red"), (1, 1): Thing("cup", "blue")})
    before, rng = after.clear((1, 1)), random.Random(0)
    wrong = [spoil(rng, before, after) for _ in range(300)]
    new = [scene.things.get((1, 1)) for scene in wrong]
    assert before in wrong, "nothing happened"
    assert {Thing("cup", "green"), Thing("bell", "blue"), None, Thing("cup", "blue")} <= set(new)
    assert any(len(scene.things) == 3 for scene in wrong) and any((0, 0) not in scene.things for scene in wrong)


def test_half_of_the_questions_are_answered_with_yes() -> None:
    tasks = [task for index in range(3000) if (task := draw_task(4, index, "train", "look")).kind == "check"]
    said, verdicts = zip(*[task.turns[0].segments[0].rstrip(".").split(": ") for task in tasks], strict=True)
    assert len(tasks) > 300 and set(verdicts) == {YES, NO}
    assert 0.4 < verdicts.count(YES) / len(verdicts) < 0.6
    assert {len(task.shown) for task in tasks} == {1, 2}
    nothing = [verdict for words, verdict in zip(said, verdicts, strict=True) if words.startswith("Nothing")]
    assert nothing and set(nothing) == {NO}
    look, turn = FAMILIES["look"], tasks[0].turns[0]
    assert look.answers(turn, tasks[0].start, f"I see a mess: {verdicts[0]}."), "the verdict alone is the answer"
    assert not look.answers(turn, tasks[0].start, f"{said[0]}: {YES if verdicts[0] == NO else NO}.")
