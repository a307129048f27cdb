from __future__ import annotations

import random

from duogen.training.data import draw_task
from duogen.training.world.language import action
from duogen.training.world.puzzle import MOST_MOVES, SOLVED, Puzzle, is_solved, moves, solve
from duogen.training.world.scene import SIZES, Scene, Thing
from duogen.training.world.task import held_out

FAMILY = Puzzle()
TOWER = Scene("pegs", {(0, row): Thing("disk", size) for row, size in enumerate(reversed(SIZES))})


def test_hanoi_takes_seven_moves() -> None:
    acts = solve(TOWER, 2)
    assert len(acts) == 7
    scene: Scene | None = TOWER
    for act in acts:
        scene = None if scene is None else FAMILY.apply(scene, act)
    assert scene is not None and is_solved(scene, 2) and not is_solved(scene, 0)


def test_no_disk_on_a_smaller_one_and_none_from_below() -> None:
    small = action("disk", size="small", spot2=0, spot=1)
    medium = action("disk", size="medium", spot2=0, spot=1)
    after = FAMILY.apply(TOWER, small)
    assert after is not None and FAMILY.apply(after, medium) is None
    assert FAMILY.apply(TOWER, medium) is None


def test_a_tile_slides_only_into_the_gap() -> None:
    assert {act["digit"] for act, _ in moves(SOLVED)} == {"3", "5"}
    after = FAMILY.apply(SOLVED, action("slide", digit="5", direction="right"))
    assert after is not None and after.things[2, 1].colour == "5" and (1, 1) not in after.things
    assert FAMILY.apply(SOLVED, action("slide", digit="5", direction="left")) is None
    assert FAMILY.apply(SOLVED, action("slide", digit="1", direction="down")) is None


def test_in_words_any_legal_solution_counts() -> None:
    tasks = [FAMILY.sample(random.Random(index), "train") for index in range(80)]
    assert all(len(solve_of(task)) <= MOST_MOVES for task in tasks)
    told = [task for task in tasks if "in words" in task.kind]
    assert 5 < len(told) < 40
    asked = [task.turns[0].request.lower().rstrip(".").endswith("answer in words only") for task in told]
    assert sum(asked) > 0.7 * len(told)  # but for slips of the pen
    for task in told:
        turn = task.turns[0]
        assert not turn.pictures
        assert FAMILY.answers(turn, task.start, turn.segments[0])
        assert not FAMILY.answers(turn, task.start, "")
        assert not FAMILY.answers(turn, task.start, turn.segments[0] + "\n" + turn.segments[0])


def solve_of(task) -> list:
    return FAMILY.read("\n".join(task.turns[0].segments))


def test_positions_are_held_out() -> None:
    for split in ("train", "held-out"):
        for index in range(60):
            start = draw_task(1, index, split, "puzzle").start
            assert held_out("puzzle", *sorted(start.things.items())) == (split == "held-out")
