"""Reads a picture back into a `Scene`, by matching each place against everything the renderer could draw there.

The parser knows nothing of how a picture was made. It answers `None` where a place looks like nothing that the world
contains, so that a blurred or half-painted picture counts as unreadable rather than as the nearest guess.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from PIL import Image

from duogen.training.world.backdrops import backdrop
from duogen.training.world.figures import FIGURES
from duogen.training.world.render import POSES, Pose, corner, render, sprite
from duogen.training.world.scene import CANVAS, COLOURS, LOOKS, STAGES, SUBJECTS, Place, Scene, Thing

TOLERANCE = 0.16
"""Largest root mean square difference from the nearest template (pixel values 0..1) that still counts as read."""
COARSE = 4
"""Candidates are first compared at a quarter of the size; this many of the best are then compared in full."""
FAINT = 0.03
"""A place that differs by less than this from the empty one, at a quarter of the size, is empty."""
Candidate = tuple[Thing, Pose]


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


@cache
def _ground(stage: str, look: int) -> np.ndarray:
    return _pixels(backdrop(stage, look))


def _small(pixels: np.ndarray) -> np.ndarray:
    """[..., height, width, channels] at a quarter of the size."""
    *lead, height, width, channels = pixels.shape
    return pixels.reshape(*lead, height // 4, 4, width // 4, 4, channels).mean((-4, -2))


@cache
def _layer(stage: str, candidate: Candidate) -> np.ndarray:
    """What a candidate paints into its place: [height, width, 4], its colours times its opacity, and its opacity.

    What a shift moves out of the place is lost here: it is a pixel or two of outline.
    """
    thing, ((right, down), shrink) = candidate
    grid = STAGES[stage]
    canvas = Image.new("RGBA", (grid.width, grid.height))
    canvas.paste(sprite(thing, stage, shrink), (right + shrink // 2, down + shrink // 2))
    layer = _pixels(canvas)
    return np.concatenate([layer[..., :3] * layer[..., 3:], layer[..., 3:]], -1)


@cache
def _candidates(stage: str) -> tuple[list[Candidate], np.ndarray]:
    """All that may be painted into a place of the stage, and their layers at a quarter of the size."""
    grid = STAGES[stage]
    poses = POSES if grid.loose else POSES[:1]
    found = [(thing, pose) for pose in poses for thing in grid.things]
    return found, _small(np.stack([_layer(stage, candidate) for candidate in found]))


def _distance(crop: np.ndarray, ground: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """Mean squared difference of a crop from each layer [N, height, width, 4] on the ground."""
    painted = layers[..., :3] + (1 - layers[..., 3:]) * ground
    return np.square(painted - crop).mean((1, 2, 3))


def _backdrop_of(pixels: np.ndarray) -> tuple[str, int]:
    """The stage and look whose empty picture is nearest where nothing covers it."""
    thin = pixels[2::4, 2::4]
    options = list(product(STAGES, range(LOOKS)))
    distances = [np.abs(thin - _ground(*option)[2::4, 2::4]).mean(-1) for option in options]
    return options[int(np.argmin([np.quantile(distance, 0.3) for distance in distances]))]


def _thing_at(stage: str, crop: np.ndarray, ground: np.ndarray) -> tuple[Thing | None, float]:
    """The thing that a place shows, and the mean squared difference from it."""
    empty = float(np.square(crop - ground).mean())
    small_crop, small_ground = _small(crop), _small(ground)
    if np.square(small_crop - small_ground).mean() < FAINT**2:
        return None, empty
    candidates, layers = _candidates(stage)
    best = _distance(small_crop, small_ground, layers).argsort()[:COARSE]
    fine = _distance(crop, ground, np.stack([_layer(stage, candidates[index]) for index in best]))
    if empty <= fine.min():
        return None, empty
    return candidates[best[int(fine.argmin())]][0], float(fine.min())


def parse(image: Image.Image) -> Scene | None:
    """The scene that a picture shows, or None where any place of it can't be read.

    Args:
        image: any size; it is scaled to the world's canvas first.
    """
    if image.size != (CANVAS, CANVAS):
        image = image.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
    pixels = _pixels(image.convert("RGB"))
    stage, look = _backdrop_of(pixels)
    if stage == "sheet":
        return _drawing(pixels, look)
    grid, ground = STAGES[stage], _ground(stage, look)
    things: dict[Place, Thing] = {}
    around = np.ones((CANVAS, CANVAS), bool)
    for place in grid.places:
        x, y = corner(stage, place)
        inside = slice(y, y + grid.height), slice(x, x + grid.width)
        around[inside] = False
        thing, squared = _thing_at(stage, pixels[inside], ground[inside])
        if squared > TOLERANCE**2:
            return None
        if thing is not None:
            things[place] = thing
    if around.any() and np.square(pixels[around] - ground[around]).mean() > TOLERANCE**2:
        return None
    return Scene(stage, things, look)


@cache
def _drawings(look: int) -> tuple[list[Scene], np.ndarray]:
    """Every drawing as far as every step of it, and the pictures at a quarter of the size."""
    scenes = [
        Scene("sheet", {(step, 0): Thing(subject, colour) for step in range(count)}, look)
        for subject, colour in product(SUBJECTS, COLOURS)
        for count in range(1, len(FIGURES[subject]) + 1)
    ]
    scenes.insert(0, Scene("sheet", {}, look))
    return scenes, np.stack([_small(_pixels(render(scene))) for scene in scenes])


def _drawing(pixels: np.ndarray, look: int) -> Scene | None:
    """The drawing that a sheet shows; each of its parts of 32 x 32 pixels must be as it should."""
    scenes, pictures = _drawings(look)
    best = np.square(pictures - _small(pixels)).mean((1, 2, 3)).argsort()[: 2 * COARSE]
    squared = [np.square(_pixels(render(scenes[index])) - pixels).mean(-1) for index in best]
    nearest = int(np.argmin([error.mean() for error in squared]))
    parts = squared[nearest].reshape(CANVAS // 32, 32, CANVAS // 32, 32).mean((1, 3))
    return None if parts.max() > TOLERANCE**2 else scenes[best[nearest]]


def add_noise(image: Image.Image, seed: int, strength: float = 0.08) -> Image.Image:
    """`image` with Gaussian pixel noise of that standard deviation (values 0..1), for testing the parser itself."""
    generator = np.random.default_rng(seed)
    pixels = _pixels(image.convert("RGB"))
    noisy = pixels + generator.normal(0.0, strength, pixels.shape).astype(np.float32)
    return Image.fromarray((noisy.clip(0, 1) * 255).round().astype(np.uint8))
