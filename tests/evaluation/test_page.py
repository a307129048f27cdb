from __future__ import annotations

from duogen.document import Picture
from duogen.evaluation.page import page
from duogen.evaluation.scores import Step
from duogen.evaluation.world import Answered
from duogen.training.world.render import render
from duogen.training.world.scene import Scene, Thing
from duogen.training.world.task import Task, Turn

START = Scene("shelf", {(0, 0): Thing("ball", "red")})
GOAL = START.put((2, 2), Thing("star", "green"))
TURN = Turn("<b>do it</b>", ["Put a green star in the bottom right."], [GOAL], GOAL.__eq__)
TASK = Task("arrange", "edit", START, (START,), [TURN])


def answered(text: str, shown: Scene) -> Answered:
    return Answered(TASK, [[Step(text, True, shown, Picture.from_image(render(shown)))]])


def test_the_truth_stands_beside_what_is_wrong() -> None:
    right = page([answered(TURN.segments[0], GOAL)], "a table")
    assert right.count("<img") == 2 and 'class="right"' in right and 'class="good"' in right
    wrong = page([answered(TURN.segments[0], START)], "a table")
    assert wrong.count("<img") == 3 and 'class="wrong pair"' in wrong and 'class="good"' not in wrong
    illegal = page([answered("Remove the blue cup from the centre.", START)], "a table")
    assert illegal.count("<img") == 2 and "not a legal step" in illegal and "goal reached: no" in illegal


def test_text_never_becomes_markup() -> None:
    bad = answered("<script>alert(1)</script>", GOAL)
    made = page([bad], "<i>table</i>")
    assert "<script" not in made and "<b>do" not in made and "<i>" not in made


def test_a_question_is_shown_with_its_right_answer() -> None:
    turn = Turn("What is on my shelf?", ["I can see: a red ball in the top left."], [], lambda scene: True)
    task = Task("look", "list", START, (START,), [turn])
    made = page([Answered(task, [[Step("I can see: a blue cup.", False)]])], "")
    assert "answer exact: no" in made and "right: I can see: a red ball" in made
