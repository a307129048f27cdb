from __future__ import annotations

import pytest

from duogen.training.world.scene import Scene, Thing
from duogen.training.world.seeing import differences, seen

SHELF = Scene("shelf", {(0, 0): Thing("ball", "red"), (2, 1): Thing("cup", "blue")})
WALL = Scene("meadow", {(column, 0): Thing("block", "red") for column in range(1, 5)})
KITCHEN = Scene("kitchen", {(0, 4): Thing("ham", "chopped"), (2, 4): Thing("egg", "mixed")})
DRAWING = Scene("sheet", {(step, 0): Thing("cat", "blue") for step in range(2)})


def test_shelves_are_compared_place_by_place() -> None:
    after = SHELF.clear((0, 0)).put((1, 2), Thing("ball", "red"))
    words = "in the top left a red ball, now nothing and in the bottom middle nothing, now a red ball"
    assert differences(SHELF, after) == words == seen(SHELF, after)
    assert seen(None, SHELF) == "a red ball in the top left and a blue cup in the middle right"


@pytest.mark.parametrize("scene", [SHELF, WALL, KITCHEN, DRAWING])
def test_where_nothing_is_new_that_is_said(scene: Scene) -> None:
    assert seen(scene, scene) == "nothing new"
    assert seen(None, scene) == seen(Scene("map"), scene) != "nothing new", "another stage is no picture before it"


def test_building_parts_are_counted_row_by_row() -> None:
    assert seen(None, WALL) == "four red blocks in the first row"
    after = WALL.clear((4, 0)).put((0, 0), Thing("block", "red")).put((1, 1), Thing("roof_left", "grey"))
    assert seen(WALL, after) == (
        "one red block in the first row, one grey roof piece in the second row and one red block gone"
    )


def test_vessels_are_told_that_hold_something_else_now() -> None:
    after = KITCHEN.clear((0, 4)).clear((2, 4)).put((0, 1), Thing("ham", "fried")).put((1, 1), Thing("egg", "fried"))
    words = "in the pan fried ham and fried egg, on the board nothing and in the bowl nothing"
    assert seen(KITCHEN, after) == words


def test_strokes_are_named() -> None:
    assert seen(DRAWING.clear((1, 0)), DRAWING) == "the pointed ears of the blue cat"
    assert seen(DRAWING, DRAWING.clear((1, 0))) == "nothing"
