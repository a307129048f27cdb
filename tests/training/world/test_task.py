from __future__ import annotations

import random

from duogen.training.data import draw_task
from duogen.training.world import arrange, build
from duogen.training.world.scene import Scene
from duogen.training.world.task import gather, in_steps, vary


def test_requests_are_typed_in_many_ways() -> None:
    plain, rng = "Put a red ball in the middle.", random.Random(0)
    typed = [vary(plain, rng) for _ in range(600)]
    assert 0.6 < typed.count(plain) / 600 < 0.9
    assert plain.lower().rstrip(".") in typed
    mistyped = [text for text in typed if text.lower().rstrip(".") != plain.lower().rstrip(".")]
    assert 0.05 < len(mistyped) / 600 < 0.16
    for text in mistyped:
        words = zip(text.lower().rstrip(".").split(), plain.lower().rstrip(".").split(), strict=True)
        changed = [(new, old) for new, old in words if new != old]
        assert len(changed) == 1 and len(changed[0][1]) > 3, "one word of some length"
    assert vary("A red cup", random.Random(1)).lower() == "a red cup", "short words are typed right"


def test_a_wish_for_steps_is_said_and_steps_are_gathered() -> None:
    said = {in_steps("Build a wall.", 2, random.Random(seed)) for seed in range(20)}
    assert said == {"Build a wall in two steps.", "In two steps: build a wall."}
    scenes = [Scene("shelf", look=index) for index in range(5)]
    lines, shown = gather(list("abcde"), scenes, 2)
    assert lines == ["a\nb\nc", "d\ne"] and [scene.look for scene in shown] == [2, 4]


def test_training_asks_for_fewer_steps_and_for_things_left_away() -> None:
    tasks = [draw_task(5, index, "train", family) for index in range(400) for family in ("arrange", "build")]
    turns = [turn for task in tasks for turn in task.turns]
    wished = [turn for turn in turns if turn.steps]
    assert len(wished) > 20 and all(len(turn.pictures) == turn.steps for turn in wished)
    without = [
        turn for task in tasks for turn in task.turns[:1] if task.family == "build" and "without" in turn.request
    ]
    assert len(without) > 20 and all(turn.goal(turn.pictures[-1]) for turn in without if turn.pictures)


def test_a_structure_with_what_should_be_left_away_misses_its_goal() -> None:
    turns = (draw_task(6, index, "train", "build").turns[0] for index in range(400))
    turn = next(turn for turn in turns if turn.request.endswith("without flags.") and turn.pictures)
    family = build.Build()
    (act,) = family.read("Fly a red flag from each tower.")
    flagged = family.apply(turn.pictures[-1], act)
    assert flagged is not None and not turn.goal(flagged)


def test_the_last_wording_is_held_out() -> None:
    """Each of these phrases is of a wording that stands last, and of no other."""
    phrases = ("help me set out", "look at this shelf", "same shelf", "next, please", "change places", "edit this")
    phrases += ("how can i make", "which parts does", "now paint the roof", "now paint the door", "now paint the flags")
    assert phrases[0] in arrange.SET_OUT[-1].lower() and "how can i make" in build.ASKED[-1].lower()
    for split, expected in (("train", False), ("held-out", True)):
        tasks = [draw_task(7, index, split, family) for index in range(700) for family in ("arrange", "build")]
        asked = " ".join(turn.request for task in tasks for turn in task.turns).lower()
        for phrase in phrases:
            assert (phrase in asked) == expected, (split, phrase)


def test_a_task_is_seen_in_another_look_throughout() -> None:
    task = draw_task(8, 1, "train", "arrange")
    other = task.seen(5)
    assert {scene.look for scene in [other.start, *other.pictures]} == {5}
    assert other.pictures == task.pictures and [turn.request for turn in other.turns] == [
        turn.request for turn in task.turns
    ]
    looks = {draw_task(8, index).start.look for index in range(200)}
    assert looks == set(range(12))
