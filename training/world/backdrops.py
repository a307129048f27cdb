"""The empty stages, each in `LOOKS` palettes."""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageDraw

from duogen.training.world.pen import INK, OVERSAMPLE, RGB, WHITE, mix
from duogen.training.world.scene import CANVAS, LOOKS, STAGES

# Every cubby of the shelf is painted in a tint of its own, so that a small part of a picture tells where it is.
_CUBBIES = (
    ((252, 240, 214), (252, 246, 232), (244, 236, 204)),
    ((222, 240, 226), (236, 247, 238), (208, 234, 222)),
    ((232, 228, 246), (241, 238, 250), (222, 220, 242)),
)
_BOARDS = (((196, 150, 104), (160, 116, 76)), ((228, 222, 214), (186, 178, 168)), ((132, 96, 76), (96, 68, 54)))
_SKIES = (
    ((196, 226, 246), (232, 244, 250), (138, 192, 104), (104, 160, 80), (255, 232, 140)),
    ((250, 206, 178), (253, 238, 214), (156, 178, 96), (120, 142, 72), (255, 196, 120)),
    ((186, 206, 226), (226, 234, 240), (222, 230, 234), (178, 194, 204), (244, 240, 220)),
)
_PAPERS: tuple[RGB, ...] = ((252, 248, 238), (238, 246, 250), (246, 240, 248))
_WALLS = (
    ((240, 236, 222), (222, 214, 196)), ((226, 240, 238), (200, 222, 218)), ((244, 230, 224), (226, 206, 198)),
)  # fmt: skip
_TOPS: tuple[RGB, ...] = ((206, 170, 130), (184, 188, 194), (170, 128, 98))
_FELTS: tuple[RGB, ...] = ((226, 236, 228), (232, 230, 242), (242, 234, 222))
_STEEL: RGB = (112, 118, 130)


@cache
def backdrop(stage: str, look: int = 0) -> Image.Image:
    """The empty stage, RGB, `CANVAS` pixels square; looks repeat after `LOOKS`."""
    image = Image.new("RGB", (CANVAS * OVERSAMPLE, CANVAS * OVERSAMPLE))
    _DRAWN[stage](_Brush(image), look % LOOKS)
    return image.resize((CANVAS, CANVAS), Image.Resampling.BOX)


class _Brush:
    """Draws in pixels of the finished picture."""

    def __init__(self, image: Image.Image) -> None:
        self.draw = ImageDraw.Draw(image)

    @staticmethod
    def _scaled(*numbers: float) -> list[float]:
        return [n * OVERSAMPLE for n in numbers]

    def box(self, x: float, y: float, right: float, low: float, fill: RGB) -> None:
        """All pixels from (x, y) up to, and without, (right, low)."""
        x, y, right, low = self._scaled(x, y, right, low)
        self.draw.rectangle((x, y, right - 1, low - 1), fill=fill)

    def ellipse(self, *box: float, fill: RGB) -> None:
        self.draw.ellipse(self._scaled(*box), fill=fill)

    def rounded(self, *box: float, radius: float, fill: RGB, edge: RGB | None = None) -> None:
        self.draw.rounded_rectangle(self._scaled(*box), radius * OVERSAMPLE, fill, edge, 2 * OVERSAMPLE)

    def line(self, *points: float, fill: RGB, width: float = 2) -> None:
        self.draw.line(self._scaled(*points), fill=fill, width=round(width * OVERSAMPLE))


def _shelf(b: _Brush, look: int) -> None:
    board, edge = _BOARDS[look]
    cell = STAGES["shelf"].width
    b.box(0, 0, CANVAS, CANVAS, board)
    for row, tints in enumerate(_CUBBIES):
        for column, tint in enumerate(tints):
            x, y = column * cell, row * cell
            b.box(x + 2, y + 2, x + cell - 2, y + cell - 8, tint)
            b.box(x + 2, y + 2, x + cell - 2, y + 4, mix(tint, INK, 0.14))
            b.box(x + 2, y + 4, x + 4, y + cell - 8, mix(tint, INK, 0.08))
        b.box(0, (row + 1) * cell - 1, CANVAS, (row + 1) * cell, edge)


def _meadow(b: _Brush, look: int) -> None:
    high, low, grass, edge, sun = _SKIES[look]
    ground = STAGES["meadow"].rows * STAGES["meadow"].height
    for y in range(ground):
        b.box(0, y, CANVAS, y + 1, mix(high, low, y / ground))
    hills = mix(grass, low, 0.55)
    b.ellipse(-70, ground - 26, 86, ground + 60, fill=hills)
    b.ellipse(120, ground - 40, 280, ground + 70, fill=mix(hills, low, 0.25))
    b.ellipse(150, 10, 178, 38, fill=sun)
    for x, y, wide in ((14, 18, 34), (24, 12, 30), (36, 18, 30), (92, 34, 30), (102, 29, 24)):
        b.rounded(x, y, x + wide, y + 12, radius=6, fill=mix(low, WHITE, 0.8))
    b.box(0, ground, CANVAS, CANVAS, grass)
    b.box(0, ground, CANVAS, ground + 4, mix(grass, WHITE, 0.25))
    for x in range(8, CANVAS, 32):
        b.line(x, ground + 20, x + 3, ground + 12, fill=edge)
        b.line(x + 6, ground + 20, x + 4, ground + 12, fill=edge)


def _page(b: _Brush, look: int) -> None:
    """Paper with a soft frame; a faint tint tells the places apart."""
    paper = _PAPERS[look]
    b.box(0, 0, CANVAS, CANVAS, mix(paper, INK, 0.10))
    for row in range(3):
        for column in range(3):
            tint = mix(paper, _CUBBIES[row][column], 0.5)
            b.box(max(3, 64 * column), max(3, 64 * row), min(189, 64 * column + 64), min(189, 64 * row + 64), tint)


def _sheet(b: _Brush, look: int) -> None:
    """Squared paper."""
    paper = _PAPERS[(look + 1) % LOOKS]
    b.box(0, 0, CANVAS, CANVAS, mix(paper, WHITE, 0.5))
    for at in range(16, CANVAS, 32):
        b.box(at, 0, at + 1, CANVAS, mix(paper, INK, 0.08))
        b.box(0, at, CANVAS, at + 1, mix(paper, INK, 0.08))


def _kitchen(b: _Brush, look: int) -> None:
    wall, joint = _WALLS[look]
    top = _TOPS[look]
    b.box(0, 0, CANVAS, CANVAS, wall)
    for y in range(0, 96, 16):
        b.box(0, y, CANVAS, y + 1, joint)
        for x in range((y // 16 % 2) * 12, CANVAS, 24):
            b.box(x, y, x + 1, y + 16, joint)
    b.box(0, 92, CANVAS, 96, mix(_STEEL, WHITE, 0.3))
    b.box(0, 96, CANVAS, CANVAS, mix(top, WHITE, 0.45))
    b.box(0, 188, CANVAS, CANVAS, top)
    edge = mix(_STEEL, INK, 0.5)
    b.line(50, 78, 64, 70, fill=edge, width=5)  # pan
    b.rounded(4, 68, 54, 86, radius=8, fill=_STEEL, edge=edge)
    for x in (12, 38):
        b.ellipse(x, 87, x + 10, 92, fill=(238, 140, 70))
    b.rounded(68, 64, 124, 90, radius=5, fill=(196, 84, 76), edge=edge)  # pot
    b.box(64, 70, 68, 74, edge)
    b.box(124, 70, 128, 74, edge)
    b.rounded(129, 2, 190, 92, radius=5, fill=mix(_STEEL, WHITE, 0.35), edge=edge)  # oven
    b.rounded(132, 4, 188, 66, radius=4, fill=(250, 226, 170), edge=edge)
    b.box(136, 72, 184, 75, edge)
    for x in (140, 156, 172):
        b.ellipse(x, 79, x + 8, 87, fill=edge)
    wood = (214, 164, 106)
    b.rounded(3, 164, 61, 178, radius=4, fill=wood, edge=mix(wood, INK, 0.4))  # board
    b.box(8, 170, 56, 171, mix(wood, INK, 0.2))
    blue = (120, 166, 214)
    b.draw.pieslice(b._scaled(68, 138, 124, 186), 0, 180, fill=blue, outline=mix(blue, INK, 0.5), width=2 * OVERSAMPLE)
    b.box(84, 184, 108, 187, mix(blue, INK, 0.4))
    b.ellipse(130, 164, 190, 182, fill=mix(WHITE, INK, 0.45))  # plate
    b.ellipse(132, 165, 188, 179, fill=WHITE)


def _map(b: _Brush, look: int) -> None:
    grass = _SKIES[(0, 1, 0)[look]][2]
    grass = mix(grass, WHITE, 0.15 + 0.2 * look)
    b.box(0, 0, CANVAS, CANVAS, grass)
    for row in range(6):
        for column in range(6):
            x, y = 32 * column, 32 * row
            if (row + column) % 2:
                b.box(x, y, x + 32, y + 32, mix(grass, WHITE, 0.08))
            tree = mix(grass, (60, 120, 70), 0.45)
            b.ellipse(x + 9, y + 6, x + 23, y + 21, fill=tree)
            b.box(x + 15, y + 20, x + 17, y + 26, mix(tree, INK, 0.5))


def _table(b: _Brush, look: int, shade: float = 0.0) -> None:
    felt = mix(_FELTS[look], INK, shade)
    b.box(0, 0, CANVAS, CANVAS, felt)
    b.box(0, 160, CANVAS, CANVAS, _TOPS[look])
    b.box(0, 160, CANVAS, 164, mix(_TOPS[look], WHITE, 0.35))


def _pegs(b: _Brush, look: int) -> None:
    _table(b, look)
    for column in range(3):
        b.rounded(64 * column + 29, 40, 64 * column + 35, 162, radius=3, fill=mix(_TOPS[look], INK, 0.35))


def _piles(b: _Brush, look: int) -> None:
    _table(b, look, shade=0.12)
    for column in range(3):
        b.rounded(64 * column + 4, 166, 64 * column + 60, 172, radius=3, fill=mix(_TOPS[look], INK, 0.35))


def _tiles(b: _Brush, look: int) -> None:
    b.box(0, 0, CANVAS, CANVAS, _FELTS[look])
    b.box(0, 26, CANVAS, 166, mix(_TOPS[look], INK, 0.3))
    b.box(0, 32, CANVAS, 160, mix(_TOPS[look], INK, 0.55))


_DRAWN = {
    "shelf": _shelf, "page": _page, "meadow": _meadow, "kitchen": _kitchen, "sheet": _sheet, "map": _map,
    "pegs": _pegs, "piles": _piles, "tiles": _tiles,
}  # fmt: skip
