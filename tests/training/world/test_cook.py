from __future__ import annotations

import pytest

from duogen.training.data import draw_task
from duogen.training.world.cook import DISHES, EMPTY, Cook, contents
from duogen.training.world.scene import VESSELS, Scene, Thing
from duogen.training.world.task import held_out

FAMILY = Cook()


def cooked(*sentences: str) -> Scene | None:
    scene: Scene | None = EMPTY
    for sentence in sentences:
        (act,) = FAMILY.read(sentence)
        scene = None if scene is None else FAMILY.apply(scene, act)
    return scene


READY = ("Wash the tomato and lay it on the board.", "Chop the tomato on the board.", "Crack the egg into the bowl.")


def test_an_omelette() -> None:
    fried = cooked(*READY, "Whisk the egg in the bowl.", "Fry the tomato and the egg in the pan.")
    assert fried is not None and contents(fried, "pan") == [Thing("tomato", "fried"), Thing("egg", "fried")]
    assert not any(contents(fried, vessel) for vessel in VESSELS if vessel != "pan")
    (serve,) = FAMILY.read("Serve the tomato and the egg on the plate.")
    served = FAMILY.apply(fried, serve)
    assert served is not None and contents(served, "plate") == contents(fried, "pan")
    (garnish,) = FAMILY.read("Garnish it with basil on the plate.")
    garnished = FAMILY.apply(served, garnish)
    assert garnished is not None and contents(garnished, "plate")[-1] == Thing("basil", "whole")


@pytest.mark.parametrize(
    "sentences",
    [
        (READY[0], "Fry the tomato in the pan."),
        ("Peel the carrot on the board.", "Boil the carrot in the pot."),
        (READY[1],),
        (*READY, "Fry the egg in the pan."),
        (*READY, "Fry the tomato, the egg and the ham in the pan."),
        (*READY, "Serve the tomato and the egg on the plate."),
        (READY[0], READY[0]),
        ("Crack the tomato into the bowl.",),
        ("Peel the ham on the board.",),
        ("Garnish it with mint on the plate.",),
        tuple(f"Pour the {food} into the bowl." for food in ("milk", "cream", "honey", "flour", "rice")),
    ],
)
def test_what_the_kitchen_forbids(sentences: tuple[str, ...]) -> None:
    assert cooked(*sentences) is None


def test_a_list_must_be_a_list_of_food() -> None:
    assert FAMILY.read("Fry the tomato and the shoe in the pan.") == []
    assert FAMILY.read("Fry in the pan.") == []


def test_dishes_are_held_out_with_their_fillings() -> None:
    seen = set()
    for index in range(300):
        for split in ("train", "held-out"):
            task = draw_task(1, index, split, "cook")
            plate = contents(task.turns[0].pictures[-1], "plate")
            assert 1 < len(plate) <= 4
            if task.kind == "from a picture":
                assert contents(task.shown[0], "plate") == plate and len(task.shown[0].things) == len(plate)
                continue
            fillings = sorted(t.kind for t in plate if t.kind in DISHES[task.kind].fillings)
            assert held_out("cook", task.kind, *fillings) == (split == "held-out")
            seen.add(task.kind)
    assert seen == set(DISHES)
