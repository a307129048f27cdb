"""Draws a `Scene` exactly: the same scene always gives the same pixels.

Things are drawn once with Pillow at four times the size, scaled down for smooth edges and kept as sprites, so that a
whole picture is a handful of pastes (well under a millisecond) and training never waits for it.
"""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageDraw

from duogen.training.world.scene import CANVAS, STAGES, Place, Scene, Thing

PALETTE = {
    "red": (222, 66, 60),
    "orange": (246, 146, 46),
    "yellow": (252, 214, 74),
    "green": (86, 172, 92),
    "blue": (64, 130, 216),
    "purple": (142, 92, 190),
    "pink": (243, 152, 188),
    "grey": (146, 154, 168),
}
BOARD, BOARD_EDGE = (196, 150, 104), (160, 116, 76)
# Every cubby of the shelf is painted in a tint of its own, so that a small part of a picture tells where it is.
CUBBIES = (
    ((252, 240, 214), (252, 246, 232), (244, 236, 204)),
    ((222, 240, 226), (236, 247, 238), (208, 234, 222)),
    ((232, 228, 246), (241, 238, 250), (222, 220, 242)),
)
SKY_TOP, SKY_LOW, GRASS, GRASS_EDGE = (196, 226, 246), (232, 244, 250), (138, 192, 104), (104, 160, 80)
GLASS, INK = (206, 232, 248), (70, 62, 72)
OVERSAMPLE = 4
RGB = tuple[int, int, int]


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


class _Pen:
    """A canvas in unit coordinates (0..1 across the sprite, y down) with the world's line style."""

    def __init__(self, side: int, colour: str) -> None:
        self.size = side * OVERSAMPLE
        self.image = Image.new("RGBA", (self.size, self.size), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)
        self.fill = PALETTE[colour]
        self.edge = _mix(self.fill, INK, 0.55)
        self.light = _mix(self.fill, (255, 255, 255), 0.45)
        self.dark = _mix(self.fill, INK, 0.18)
        self.line = max(2, round(1.9 * OVERSAMPLE))

    def at(self, *numbers: float) -> list[float]:
        return [n * self.size for n in numbers]

    def polygon(self, *numbers: float, fill: RGB | None = None) -> None:
        xy = self.at(*numbers)
        points = list(zip(xy[::2], xy[1::2], strict=True))
        self.draw.polygon(points, fill=fill or self.fill)
        self.draw.line([*points, points[0], points[1]], fill=self.edge, width=self.line, joint="curve")

    def ellipse(self, *box: float, fill: RGB | None = None, outline: bool = True) -> None:
        self.draw.ellipse(
            self.at(*box), fill=fill or self.fill, outline=self.edge if outline else None, width=self.line
        )

    def rounded(self, *box: float, radius: float = 0.08, fill: RGB | None = None, outline: bool = True) -> None:
        edge = self.edge if outline else None
        self.draw.rounded_rectangle(
            self.at(*box), radius * self.size, fill=fill or self.fill, outline=edge, width=self.line
        )

    def stroke(self, *numbers: float, fill: RGB | None = None, width: float = 1.0) -> None:
        self.draw.line(self.at(*numbers), fill=fill or self.edge, width=round(self.line * width), joint="curve")

    def arc(self, start: float, end: float, *box: float) -> None:
        self.draw.arc(self.at(*box), start, end, fill=self.edge, width=round(self.line * 1.6))

    def finish(self, side: int) -> Image.Image:
        return self.image.resize((side, side), Image.Resampling.BOX)


def _ball(p: _Pen) -> None:
    p.ellipse(0.18, 0.22, 0.82, 0.86)
    p.ellipse(0.30, 0.32, 0.46, 0.46, fill=p.light, outline=False)


def _cube(p: _Pen) -> None:
    p.polygon(0.16, 0.40, 0.62, 0.40, 0.62, 0.86, 0.16, 0.86)
    p.polygon(0.16, 0.40, 0.34, 0.22, 0.82, 0.22, 0.62, 0.40, fill=p.light)
    p.polygon(0.62, 0.40, 0.82, 0.22, 0.82, 0.68, 0.62, 0.86, fill=p.dark)


def _star(p: _Pen) -> None:
    p.polygon(
        0.50, 0.14, 0.60, 0.40, 0.86, 0.41, 0.66, 0.58, 0.74, 0.86,
        0.50, 0.70, 0.26, 0.86, 0.34, 0.58, 0.14, 0.41, 0.40, 0.40,
    )  # fmt: skip
    p.ellipse(0.42, 0.40, 0.52, 0.50, fill=p.light, outline=False)


def _heart(p: _Pen) -> None:
    p.polygon(
        0.50, 0.86, 0.22, 0.60, 0.14, 0.46, 0.15, 0.32, 0.25, 0.23, 0.37, 0.23, 0.46, 0.30, 0.50, 0.37,
        0.54, 0.30, 0.63, 0.23, 0.75, 0.23, 0.85, 0.32, 0.86, 0.46, 0.78, 0.60,
    )  # fmt: skip
    p.ellipse(0.25, 0.31, 0.37, 0.42, fill=p.light, outline=False)


def _cone(p: _Pen) -> None:
    p.polygon(0.50, 0.12, 0.78, 0.86, 0.22, 0.86)
    p.polygon(0.425, 0.32, 0.575, 0.32, 0.625, 0.46, 0.375, 0.46, fill=p.light)
    p.polygon(0.32, 0.60, 0.68, 0.60, 0.725, 0.72, 0.275, 0.72, fill=p.light)


def _cup(p: _Pen) -> None:
    p.ellipse(0.58, 0.40, 0.88, 0.68, fill=p.dark)
    p.ellipse(0.66, 0.47, 0.80, 0.61, fill=p.light)
    p.rounded(0.18, 0.32, 0.70, 0.86, radius=0.10)
    p.rounded(0.25, 0.40, 0.33, 0.72, radius=0.04, fill=p.light, outline=False)
    p.ellipse(0.18, 0.25, 0.70, 0.39, fill=p.dark)


def _gem(p: _Pen) -> None:
    p.polygon(0.32, 0.30, 0.68, 0.30, 0.86, 0.48, 0.50, 0.86, 0.14, 0.48)
    p.polygon(0.32, 0.30, 0.68, 0.30, 0.62, 0.48, 0.38, 0.48, fill=p.light)
    p.polygon(0.38, 0.48, 0.62, 0.48, 0.50, 0.86, fill=p.dark)


def _bell(p: _Pen) -> None:
    p.ellipse(0.42, 0.74, 0.58, 0.88, fill=p.dark)
    p.ellipse(0.44, 0.14, 0.56, 0.26)
    p.polygon(
        0.50, 0.20, 0.62, 0.24, 0.70, 0.36, 0.72, 0.58, 0.82, 0.72, 0.82, 0.78,
        0.18, 0.78, 0.18, 0.72, 0.28, 0.58, 0.30, 0.36, 0.38, 0.24,
    )  # fmt: skip
    p.rounded(0.36, 0.34, 0.42, 0.58, radius=0.03, fill=p.light, outline=False)


def _block(p: _Pen) -> None:
    p.rounded(0.02, 0.02, 0.98, 0.98, radius=0.10)
    p.rounded(0.12, 0.12, 0.88, 0.24, radius=0.06, fill=p.light, outline=False)
    p.rounded(0.12, 0.80, 0.88, 0.88, radius=0.04, fill=p.dark, outline=False)


def _window(p: _Pen) -> None:
    _block(p)
    p.rounded(0.22, 0.20, 0.78, 0.82, radius=0.06, fill=GLASS)
    p.stroke(0.50, 0.20, 0.50, 0.82)
    p.stroke(0.22, 0.51, 0.78, 0.51)


def _door(p: _Pen, hinge: float, knob: float) -> None:
    left, right = min(hinge, 1 - hinge), 1.0
    if hinge > 0.5:
        left, right = 0.0, hinge
    p.draw.rectangle(p.at(left, 0.06, right, 1.0), fill=p.fill, outline=p.edge, width=p.line)
    p.rounded(left + 0.20, 0.22, right - 0.20, 0.52, radius=0.05, fill=p.dark, outline=False)
    p.rounded(left + 0.20, 0.64, right - 0.20, 0.90, radius=0.05, fill=p.dark, outline=False)
    p.ellipse(knob - 0.06, 0.53, knob + 0.06, 0.65, fill=(255, 236, 160))


def _roof_left(p: _Pen) -> None:
    p.polygon(0.02, 0.98, 1.0, 0.04, 1.0, 0.98)
    p.stroke(0.50, 0.80, 0.98, 0.80, fill=p.light)
    p.stroke(0.70, 0.54, 0.98, 0.54, fill=p.light)


def _roof_middle(p: _Pen) -> None:
    p.draw.rectangle(p.at(0.0, 0.03, 1.0, 0.98), fill=p.fill)
    p.stroke(0.0, 0.05, 1.0, 0.05)
    p.stroke(0.0, 0.96, 1.0, 0.96)
    p.stroke(0.0, 0.54, 1.0, 0.54, fill=p.light)
    p.stroke(0.0, 0.80, 1.0, 0.80, fill=p.light)


def _roof_right(p: _Pen) -> None:
    p.polygon(0.98, 0.98, 0.0, 0.04, 0.0, 0.98)
    p.stroke(0.50, 0.80, 0.02, 0.80, fill=p.light)
    p.stroke(0.30, 0.54, 0.02, 0.54, fill=p.light)


def _battlement(p: _Pen) -> None:
    p.polygon(0.02, 0.98, 0.02, 0.40, 0.34, 0.40, 0.34, 0.66, 0.66, 0.66, 0.66, 0.40, 0.98, 0.40, 0.98, 0.98)
    p.rounded(0.10, 0.80, 0.90, 0.88, radius=0.03, fill=p.light, outline=False)


def _flag(p: _Pen) -> None:
    p.stroke(0.24, 0.06, 0.24, 1.0, fill=INK, width=1.2)
    p.polygon(0.27, 0.10, 0.92, 0.32, 0.27, 0.54)


_SHAPES = {
    "ball": _ball, "cube": _cube, "star": _star, "heart": _heart, "cone": _cone, "cup": _cup, "gem": _gem,
    "bell": _bell, "block": _block, "window": _window, "roof_left": _roof_left, "roof_middle": _roof_middle,
    "roof_right": _roof_right, "battlement": _battlement, "flag": _flag,
    "door_left": lambda p: _door(p, 0.06, 0.80), "door_right": lambda p: _door(p, 0.94, 0.20),
}  # fmt: skip


@cache
def sprite(thing: Thing, side: int) -> Image.Image:
    """The RGBA picture of one thing, `side` pixels square, with a transparent ground."""
    pen = _Pen(side, thing.colour)
    _SHAPES[thing.kind](pen)
    return pen.finish(side)


@cache
def backdrop(stage: str) -> Image.Image:
    """The empty stage, RGB, `CANVAS` pixels square."""
    grid = STAGES[stage]
    if stage == "shelf":
        image = Image.new("RGB", (CANVAS, CANVAS), BOARD)
        draw = ImageDraw.Draw(image)
        for row, tints in enumerate(CUBBIES):
            for column, tint in enumerate(tints):
                x, y = column * grid.cell, row * grid.cell
                draw.rectangle((x + 2, y + 2, x + grid.cell - 3, y + grid.cell - 9), fill=tint)
                draw.line((x + 2, y + 2, x + grid.cell - 3, y + 2), fill=_mix(tint, INK, 0.14), width=2)
                draw.line((x + 2, y + 2, x + 2, y + grid.cell - 9), fill=_mix(tint, INK, 0.08), width=2)
            draw.line((0, (row + 1) * grid.cell - 1, CANVAS, (row + 1) * grid.cell - 1), fill=BOARD_EDGE)
        return image
    return _meadow(grid.rows * grid.cell)


def _meadow(ground: int) -> Image.Image:
    """Sky, hills and grass, with the grass beginning `ground` pixels from the top."""
    n = OVERSAMPLE
    image = Image.new("RGB", (CANVAS * n, CANVAS * n))
    draw = ImageDraw.Draw(image)
    for y in range(ground * n):
        draw.line((0, y, CANVAS * n, y), fill=_mix(SKY_TOP, SKY_LOW, y / (ground * n)))
    hills = _mix(GRASS, SKY_LOW, 0.55)
    draw.ellipse((-70 * n, (ground - 26) * n, 86 * n, (ground + 60) * n), fill=hills)
    draw.ellipse((120 * n, (ground - 40) * n, 280 * n, (ground + 70) * n), fill=_mix(hills, SKY_LOW, 0.25))
    draw.ellipse((150 * n, 10 * n, 178 * n, 38 * n), fill=(255, 232, 140))
    for x, y, wide in ((14, 18, 34), (24, 12, 30), (36, 18, 30), (92, 34, 30), (102, 29, 24)):
        draw.rounded_rectangle((x * n, y * n, (x + wide) * n, (y + 12) * n), 6 * n, fill=(250, 252, 254))
    draw.rectangle((0, ground * n, CANVAS * n, CANVAS * n), fill=GRASS)
    draw.rectangle((0, ground * n, CANVAS * n, (ground + 4) * n - 1), fill=_mix(GRASS, (255, 255, 255), 0.25))
    for x in range(8, CANVAS, 32):
        for foot, tip in ((x, x + 3), (x + 6, x + 4)):
            draw.line((foot * n, (ground + 20) * n, tip * n, (ground + 12) * n), fill=GRASS_EDGE, width=2 * n)
    return image.resize((CANVAS, CANVAS), Image.Resampling.BOX)


def corner(stage: str, place: Place) -> tuple[int, int]:
    """The top left pixel (x, y) of a place."""
    grid = STAGES[stage]
    column, row = place
    return column * grid.cell, (row if stage == "shelf" else grid.rows - 1 - row) * grid.cell


def render(scene: Scene) -> Image.Image:
    """The picture of a scene: RGB, `CANVAS` x `CANVAS` pixels."""
    image = backdrop(scene.stage).copy()
    side = STAGES[scene.stage].cell
    for place, thing in sorted(scene.things.items()):
        drawn = sprite(thing, side)
        image.paste(drawn, corner(scene.stage, place), drawn)
    return image
