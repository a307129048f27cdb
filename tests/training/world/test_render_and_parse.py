from __future__ import annotations

from PIL import Image, ImageFilter

from duogen.training.data import draw_task
from duogen.training.world.parse import add_noise, parse
from duogen.training.world.render import render
from duogen.training.world.scene import CANVAS, COLOURS, STAGES, Scene, Thing

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


def test_every_thing_is_told_from_every_other() -> None:
    for stage, grid in STAGES.items():
        for kind in grid.kinds:
            for colour in COLOURS:
                scene = Scene(stage, {(1, 1): Thing(kind, colour)})
                assert parse(render(scene)) == scene


def test_what_is_no_scene_is_not_read() -> None:
    blurred = render(Scene("shelf", {(1, 1): Thing("star", "red")})).filter(ImageFilter.GaussianBlur(9))
    half = Image.blend(render(SCENES[0]), Image.new("RGB", (CANVAS, CANVAS), "black"), 0.6)
    for image in (Image.new("RGB", (CANVAS, CANVAS), (10, 200, 10)), half):
        assert parse(image) is None
    assert parse(blurred) != Scene("shelf", {(1, 1): Thing("star", "red")})
