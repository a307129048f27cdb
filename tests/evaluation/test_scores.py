from __future__ import annotations

from dataclasses import replace

import pytest

from duogen.evaluation.scores import Attempt, Step, Tally, intervals, objects_right, score_turn
from duogen.evaluation.world import Answered, build_report, floors, parser_accuracy, score, tasks_of
from duogen.training.data import FAMILIES
from duogen.training.world.depict import TAGS
from duogen.training.world.scene import Scene, Thing
from duogen.training.world.task import Task, Turn


def perfect(task: Task) -> Answered:
    """The answer that the world itself would give."""
    steps = []
    for turn in task.turns:
        told = [Step(text, True, scene) for text, scene in zip(turn.segments, turn.pictures, strict=False)]
        steps.append(told + [Step(text, False) for text in turn.segments[len(turn.pictures) :]])
    return Answered(task, steps)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_worlds_own_answers_score_one(family: str) -> None:
    total = Tally()
    for task in tasks_of("held-out", [family], 80, 0):
        total.add(score(perfect(task)))
    assert set(total.rates().values()) - {None} == {1.0}


def test_floor_controls_score_low() -> None:
    answers = [perfect(task) for task in tasks_of("held-out", (), 80, 0)]
    for name, rates in floors(answers).items():
        state = rates["step_state_accuracy"]
        assert state is not None and state < (0.4 if name == "shuffled pictures" else 0.15), name


SCENE = Scene("shelf", {(0, 0): Thing("ball", "red"), (1, 0): Thing("cup", "blue")})
FIRST = SCENE.put((2, 2), Thing("star", "green"))
SECOND = FIRST.clear((0, 0))
TURN = Turn(
    "do it",
    ["Put a green star in the bottom right.", "Remove the red ball from the top left."],
    [FIRST, SECOND],
    SECOND.__eq__,
)
STEPS = [Step(TURN.segments[0], True, FIRST), Step(TURN.segments[1], True, SECOND)]


def rates_of(steps: list[Step]) -> dict[str, float | None]:
    return score_turn(FAMILIES["arrange"], TURN, SCENE, steps)[0].rates()


def test_a_wish_for_so_many_steps_is_kept_or_missed() -> None:
    wished = replace(TURN, segments=["\n".join(TURN.segments)], pictures=[SECOND], steps=1)

    def rates(steps: list[Step]) -> dict[str, float | None]:
        return score_turn(FAMILIES["arrange"], wished, SCENE, steps)[0].rates()

    kept = rates([Step("\n".join(TURN.segments), True, SECOND)])
    assert set(kept.values()) - {None} == {1.0}
    missed = rates(STEPS)
    assert missed["emission_f1"] == pytest.approx(2 / 3) and missed["plan_legal_and_goal"] == 0.0


def test_what_the_model_thought_of_its_pictures_is_held_against_the_parser() -> None:
    """Four attempts: one wrongly accepted, one rightly and one wrongly rejected, one rightly accepted."""
    first = replace(STEPS[0], shown=SCENE, attempts=(Attempt(True, SCENE),))
    looked = (Attempt(False, None), Attempt(False, SECOND), Attempt(True, SECOND))
    rates = rates_of([first, replace(STEPS[1], attempts=looked)])
    assert rates["first_attempt_state_accuracy"] == 0.0 and rates["step_state_accuracy"] == 0.5
    assert rates["check_precision"] == 0.5 and rates["check_recall"] == 0.5
    assert rates_of(STEPS)["check_precision"] is None


def test_a_picture_too_many_and_one_too_few() -> None:
    doubled = rates_of([*STEPS, Step("", True, SECOND)])
    assert doubled["emission_f1"] == pytest.approx(4 / 5) and doubled["sequence_exact"] == 0.0
    silent = rates_of([STEPS[0], replace(STEPS[1], pictured=False)])
    assert silent["emission_f1"] == pytest.approx(2 / 3)
    merged = rates_of([Step("\n".join(TURN.segments), True, SECOND)])
    assert merged["emission_f1"] == pytest.approx(2 / 3) and merged["plan_legal_and_goal"] == 1.0
    stopped = rates_of(STEPS[:1])
    assert stopped["emission_f1"] == pytest.approx(2 / 3) and stopped["plan_legal_and_goal"] == 0.0


def test_a_wrong_picture_counts_once_for_itself() -> None:
    wrong = FIRST.put((1, 0), Thing("cup", "pink"))
    rates = rates_of([replace(STEPS[0], shown=wrong), STEPS[1]])
    assert rates["step_state_accuracy"] == 0.5 and rates["plan_legal_and_goal"] == 1.0
    assert rates["text_picture_agreement"] == 0.0, "neither agrees with the picture before it"
    assert rates["untouched_kept"] == pytest.approx(2 / 4)


def test_a_picture_that_cannot_be_read_is_wrong_everywhere() -> None:
    rates = rates_of([STEPS[0], replace(STEPS[1], shown=None)])
    assert rates["pictures_readable"] == 0.5 and rates["step_state_accuracy"] == 0.5
    assert rates["text_picture_agreement"] == 0.5


def test_illegal_text_spoils_the_plan_and_its_states() -> None:
    rates = rates_of([Step("Put a green star in the top left.", True, FIRST), STEPS[1]])
    assert rates["plan_legal_and_goal"] == 0.0 and rates["step_state_accuracy"] == 0.0


def test_partial_credit_for_objects_and_relations() -> None:
    true = Scene("shelf", {(0, 0): Thing("ball", "red"), (2, 0): Thing("cup", "blue"), (1, 2): Thing("gem", "pink")})
    assert objects_right(true, true) == {"there": 3, "shown": 3, "true": 3, "related": 3, "relations": 3}
    none = objects_right(true, None)
    assert (none["there"], none["shown"], none["true"], none["related"], none["relations"]) == (0, 0, 3, 0, 3)
    # The cup has gone below everything, another colour of gem stands where the gem should.
    shown = Scene("shelf", {(0, 0): Thing("ball", "red"), (2, 2): Thing("cup", "blue"), (1, 2): Thing("gem", "grey")})
    some = objects_right(true, shown)
    assert (some["there"], some["related"]) == (2, 0)
    rates = rates_of([STEPS[0], replace(STEPS[1], shown=FIRST)])
    assert rates["object_f1"] == pytest.approx(2 * 5 / (3 + 3 + 3 + 2)) and rates["relation_similarity"] == 1.0


def test_depict_has_a_mean_over_its_tags() -> None:
    tasks = tasks_of("held-out", ["depict"], 60, 0)
    tags = build_report([perfect(task) for task in tasks])["depict_tags"]
    assert tags.pop("mean") == 1.0 and set(tags) == set(TAGS)
    missing = [perfect(task) for task in tasks if task.kind != "counting"]
    assert build_report(missing)["depict_tags"] == {}


def test_answers_in_text() -> None:
    turn = Turn("what?", ["I can see: a red ball in the top left."], [], lambda scene: True)
    right, _ = score_turn(FAMILIES["arrange"], turn, SCENE, [Step("On it: A red ball in the top left.", False)])
    wrong, _ = score_turn(FAMILIES["arrange"], turn, SCENE, [Step("I can see: a cup.", True, SCENE)])
    assert right.rates()["text_answers_exact"] == 1.0 and wrong.rates()["text_answers_exact"] == 0.0
    assert wrong.rates()["emission_f1"] == 0.0


def test_the_parser_is_measured_beside() -> None:
    accuracy = parser_accuracy(tasks_of("held-out", (), 45, 0))
    assert accuracy["clean"] == 1.0 and accuracy["noised"] >= 0.98


def test_intervals_hold_the_score_and_narrow_with_more_answers() -> None:
    some = [Tally(states=[True, False]), Tally(states=[True]), Tally(states=[False])]
    few, many = (intervals(some * times)["step_state_accuracy"] for times in (4, 40))
    assert few is not None and many is not None
    assert few[0] < many[0] < 0.5 < many[1] < few[1]
    assert intervals(some)["text_answers_exact"] is None
    assert intervals([Tally(states=[True])] * 3)["step_state_accuracy"] == (1.0, 1.0)
    assert intervals(some, seed=1) == intervals(some, seed=1)
