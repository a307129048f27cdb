"""Reads a picture back into a `Scene`, by matching each place against everything the renderer could draw there.

The parser knows nothing of how a picture was made. It answers `None` where a place looks like nothing that the world
contains, so that a blurred or half-painted picture counts as unreadable rather than as the nearest guess.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from duogen.training.world.render import backdrop, corner, sprite
from duogen.training.world.scene import CANVAS, COLOURS, STAGES, Place, Scene, Thing

TOLERANCE = 0.16
"""Largest root mean square difference from the nearest template (pixel values 0..1) that still counts as read."""


@cache
def _templates(stage: str) -> tuple[list[Place], list[Thing | None], np.ndarray, np.ndarray]:
    """Places, candidates, templates [places, candidates, 3 * side^2] in 0..1 and their squared norms."""
    grid = STAGES[stage]
    places = [(c, r) for r in range(grid.rows) for c in range(grid.columns)]
    candidates: list[Thing | None] = [None, *(Thing(kind, colour) for kind in grid.kinds for colour in COLOURS)]
    rows = []
    for place in places:
        x, y = corner(stage, place)
        ground = backdrop(stage).crop((x, y, x + grid.cell, y + grid.cell))
        for thing in candidates:
            crop = ground.copy()
            if thing is not None:
                drawn = sprite(thing, grid.cell)
                crop.paste(drawn, (0, 0), drawn)
            rows.append(np.asarray(crop, np.float32).ravel() / 255)
    stacked = np.stack(rows).reshape(len(places), len(candidates), -1)
    return places, candidates, stacked, (stacked**2).sum(-1)


def _stage_of(pixels: np.ndarray) -> str:
    """The stage whose empty picture is nearer in the strips that things seldom cover."""
    strips = {stage: np.asarray(backdrop(stage), np.float32) / 255 for stage in STAGES}
    rows = slice(CANVAS - 32, CANVAS)
    return min(strips, key=lambda stage: float(np.median(np.abs(pixels[rows] - strips[stage][rows]))))


def parse(image: Image.Image) -> Scene | None:
    """The scene that a picture shows, or None where any place of it can't be read.

    Args:
        image: any size; it is scaled to the world's canvas first.
    """
    if image.size != (CANVAS, CANVAS):
        image = image.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
    pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    stage = _stage_of(pixels)
    places, candidates, templates, norms = _templates(stage)
    side = STAGES[stage].cell
    things: dict[Place, Thing] = {}
    for index, place in enumerate(places):
        x, y = corner(stage, place)
        crop = pixels[y : y + side, x : x + side].ravel()
        squared = norms[index] - 2 * templates[index] @ crop + crop @ crop
        best = int(squared.argmin())
        if squared[best] / crop.size > TOLERANCE**2:
            return None
        thing = candidates[best]
        if thing is not None:
            things[place] = thing
    return Scene(stage, things)


def add_noise(image: Image.Image, seed: int, strength: float = 0.08) -> Image.Image:
    """`image` with Gaussian pixel noise of that standard deviation (values 0..1), for testing the parser itself."""
    generator = np.random.default_rng(seed)
    pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    noisy = pixels + generator.normal(0.0, strength, pixels.shape).astype(np.float32)
    return Image.fromarray((noisy.clip(0, 1) * 255).round().astype(np.uint8))
