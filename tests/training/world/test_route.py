from __future__ import annotations

import random

import pytest

from duogen.training.data import draw_task
from duogen.training.world.route import Route, distances, draw_map, neighbours, shortest, walker
from duogen.training.world.scene import Scene, Thing

FAMILY = Route()
LINE = Scene("map", {(x, 2): Thing("path", "free") for x in range(1, 5)})
START = LINE.put((0, 2), Thing("house", "here")).put((5, 2), Thing("lake", "free"))


def walk(scene: Scene, *sentences: str) -> Scene | None:
    after: Scene | None = scene
    for sentence in sentences:
        (act,) = FAMILY.read(sentence)
        after = None if after is None else FAMILY.apply(after, act)
    return after


def test_walking_leaves_footprints() -> None:
    half = walk(START, "Go two squares right.")
    assert half is not None and walker(half) == (2, 2)
    assert half.things[0, 2] == Thing("house", "walked") and half.things[1, 2].colour == "walked"
    there = walk(START, "Go two squares right.", "Walk three squares right.")
    assert there is not None and walker(there) == (5, 2) and there.things[5, 2].kind == "lake"


@pytest.mark.parametrize("sentence", ["Go one square up.", "Go one square left.", "Walk two squares down."])
def test_trees_stand_in_the_way(sentence: str) -> None:
    assert walk(START, sentence) is None
    assert walk(LINE, sentence) is None, "nobody walks"


def test_the_shortest_way_is_the_shortest() -> None:
    for seed in range(40):
        scene = draw_map(random.Random(seed))
        start, end = random.Random(seed).sample(list(scene.things), 2)
        assert sum(number for _, number in shortest(scene, start, end)) == distances(scene, end)[start]
        assert all(neighbours(scene, place) for place in scene.things), "no path is alone"


def test_a_detour_reaches_the_goal_but_is_not_the_best() -> None:
    task = draw_task(1, 0, "train", "route")
    assert FAMILY.shortest and task.turns[0].goal(task.turns[0].pictures[-1])
    assert not task.turns[0].goal(task.start)
