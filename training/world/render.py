"""Draws a `Scene` exactly: the same scene, look included, always gives the same pixels.

Things are drawn once with Pillow at four times the size, scaled down for smooth edges and kept as sprites, so that a
whole picture is a handful of pastes (well under a millisecond) and training never waits for it.
"""

from __future__ import annotations

from functools import cache

from PIL import Image

from duogen.training.world.backdrops import backdrop
from duogen.training.world.boards import brick, disk, path, tile
from duogen.training.world.figures import figure
from duogen.training.world.food import ingredient
from duogen.training.world.pen import INK, PALETTE, Pen
from duogen.training.world.scene import LOOKS, STAGES, Place, Scene, Thing
from duogen.training.world.sprites import SHAPES

Pose = tuple[tuple[int, int], int]
POSES: tuple[Pose, ...] = (((0, 0), 0), ((0, 0), 6), ((-3, 3), 6), ((3, 3), 6))
"""How the things of a loose stage may be drawn: by how many pixels off the middle of their places, and smaller than these."""

_SPECIAL = {"disk": disk, "brick": brick, "tile": tile}


@cache
def sprite(thing: Thing, stage: str, shrink: int = 0) -> Image.Image:
    """The RGBA picture of one thing, with a transparent ground."""
    grid = STAGES[stage]
    pen = Pen(grid.width - shrink, grid.height - shrink, PALETTE.get(thing.colour, INK))
    if stage == "kitchen":
        ingredient(pen, *thing)
    elif stage == "map":
        path(pen, *thing)
    elif thing.kind in _SPECIAL:
        _SPECIAL[thing.kind](pen, thing.colour)
    else:
        SHAPES[thing.kind](pen)
    return pen.finish()


def corner(stage: str, place: Place) -> tuple[int, int]:
    """The top left pixel (x, y) of a place."""
    grid = STAGES[stage]
    column, row = place
    return column * grid.width, grid.top + (grid.rows - 1 - row if grid.rising else row) * grid.height


def pose(scene: Scene) -> Pose:
    """How all things of a scene are drawn; looks that share a backdrop differ in it.

    Where every thing had a pose of its own, a painter had to choose one for each new thing, the same in all tokens of it: what
    nothing foretells is learned last, and pictures stayed blurred for it (docs/LOG.md).
    """
    return POSES[scene.look // LOOKS % len(POSES)] if STAGES[scene.stage].loose else POSES[0]


def render(scene: Scene) -> Image.Image:
    """The picture of a scene: RGB, `CANVAS` x `CANVAS` pixels."""
    image = backdrop(scene.stage, scene.look).copy()
    (right, down), shrink = pose(scene)
    for place, thing in sorted(scene.things.items()):
        if scene.stage == "sheet":
            strokes = figure(thing.kind, place[0], thing.colour)
            image.paste(strokes, (0, 0), strokes)
            continue
        drawn = sprite(thing, scene.stage, shrink)
        x, y = corner(scene.stage, place)
        image.paste(drawn, (x + right + shrink // 2, y + down + shrink // 2), drawn)
    return image
