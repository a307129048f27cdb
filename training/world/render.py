"""Draws a `Scene` exactly: the same scene, look included, always gives the same pixels.

Things are drawn once with Pillow at four times the size, scaled down for smooth edges and kept as sprites, so that a
whole picture is a handful of pastes (well under a millisecond) and training never waits for it.
"""

from __future__ import annotations

from functools import cache
from zlib import crc32

from PIL import Image

from duogen.training.world.backdrops import backdrop
from duogen.training.world.boards import brick, disk, path, tile
from duogen.training.world.figures import figure
from duogen.training.world.food import ingredient
from duogen.training.world.pen import INK, PALETTE, Pen
from duogen.training.world.scene import STAGES, Place, Scene, Thing
from duogen.training.world.sprites import SHAPES

SHIFTS = tuple((x, y) for x in (-3, 0, 3) for y in (-3, 0, 3))
"""By how many pixels a thing of a loose stage may stand off the middle of its place."""
SHRINKS = (0, 6)
"""By how many pixels it may be smaller than its place."""

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


def pose(scene: Scene, place: Place) -> tuple[tuple[int, int], int]:
    """How the thing at a place is drawn there: its shift in pixels and how much smaller it is.

    It depends on the look, the place and the thing alone, so what isn't touched stays as it is. Look 0 is tidy.
    """
    if not STAGES[scene.stage].loose or not scene.look:
        return (0, 0), 0
    drawn = crc32(f"{scene.look}/{place}/{scene.things[place]}".encode())
    return SHIFTS[drawn % len(SHIFTS)], SHRINKS[drawn // 64 % len(SHRINKS)]


def render(scene: Scene) -> Image.Image:
    """The picture of a scene: RGB, `CANVAS` x `CANVAS` pixels."""
    image = backdrop(scene.stage, scene.look).copy()
    for place, thing in sorted(scene.things.items()):
        if scene.stage == "sheet":
            strokes = figure(thing.kind, place[0], thing.colour)
            image.paste(strokes, (0, 0), strokes)
            continue
        (right, down), shrink = pose(scene, place)
        drawn = sprite(thing, scene.stage, shrink)
        x, y = corner(scene.stage, place)
        image.paste(drawn, (x + right + shrink // 2, y + down + shrink // 2), drawn)
    return image
