from __future__ import annotations

import pytest
from PIL import Image, ImageFilter

from duogen.training.data import draw_task
from duogen.training.world.figures import FIGURES
from duogen.training.world.parse import add_noise, parse
from duogen.training.world.render import POSES, render
from duogen.training.world.scene import CANVAS, COLOURS, LOOKS, STAGES, STROKES, Scene, Thing

TASKS = [draw_task(6, index, split) for index in range(60) for split in ("train", "held-out")]
SCENES = [scene for task in TASKS for scene in task.pictures]


def test_the_same_scene_gives_the_same_pixels() -> None:
    assert render(SCENES[0]).tobytes() == render(SCENES[0]).tobytes()
    assert render(SCENES[0]).size == (CANVAS, CANVAS)


def test_true_pictures_are_read_exactly() -> None:
    assert all(parse(render(scene)) == scene for scene in SCENES)


def test_noise_and_scaling_are_borne() -> None:
    noised = [parse(add_noise(render(scene), seed)) == scene for seed, scene in enumerate(SCENES)]
    assert sum(noised) / len(noised) >= 0.98
    small = [parse(render(scene).resize((160, 160), Image.Resampling.BICUBIC)) == scene for scene in SCENES[:60]]
    assert sum(small) / len(small) >= 0.95


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "sheet"])
def test_every_thing_is_told_from_every_other(stage: str) -> None:
    grid = STAGES[stage]
    for look, thing in enumerate(grid.things):
        scene = Scene(stage, {grid.places[look % len(grid.places)]: thing}, look)
        assert parse(render(scene)) == scene


def test_every_step_of_every_drawing_is_told_from_every_other() -> None:
    for number, (subject, steps) in enumerate(FIGURES.items()):
        assert len(steps) <= STROKES
        thing = Thing(subject, COLOURS[number % len(COLOURS)])
        for count in range(len(steps) + 1):
            scene = Scene("sheet", {(step, 0): thing for step in range(count)}, number)
            assert parse(render(scene)) == scene


def test_a_drawing_with_a_stroke_missing_is_not_read() -> None:
    thing = Thing("cat", "grey")
    whole = Scene("sheet", {(step, 0): thing for step in range(6)})
    assert parse(render(whole.clear((1, 0)))) is None


@pytest.mark.parametrize("stage", STAGES)
def test_looks_differ_and_stay_readable(stage: str) -> None:
    empty = [render(Scene(stage, {}, look)) for look in range(LOOKS)]
    assert len({image.tobytes() for image in empty}) == LOOKS
    assert all(parse(image) == Scene(stage) for image in empty)


def test_what_is_not_touched_stays_where_it_is_drawn() -> None:
    scene = Scene("shelf", {(0, 0): Thing("ball", "red"), (1, 1): Thing("cup", "blue")}, look=5)
    after = scene.put((2, 2), Thing("star", "pink")).clear((1, 1))
    box = (0, 0, 60, 60)
    assert render(scene).crop(box).tobytes() == render(after).crop(box).tobytes()
    poses = {render(Scene("shelf", {(0, 0): Thing("ball", "red")}, look)).tobytes() for look in range(0, 60, LOOKS)}
    assert len(poses) == len(POSES) > 3, "things stand loosely"


def test_what_is_no_scene_is_not_read() -> None:
    blurred = render(Scene("shelf", {(1, 1): Thing("star", "red")})).filter(ImageFilter.GaussianBlur(9))
    half = Image.blend(render(SCENES[0]), Image.new("RGB", (CANVAS, CANVAS), "black"), 0.6)
    for image in (Image.new("RGB", (CANVAS, CANVAS), (10, 200, 10)), half):
        assert parse(image) is None
    assert parse(blurred) != Scene("shelf", {(1, 1): Thing("star", "red")})
