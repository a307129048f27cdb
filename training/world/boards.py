"""The look of maps and of the puzzles' pieces."""

from __future__ import annotations

from duogen.training.world.pen import GLASS, INK, PALETTE, RGB, WHITE, Pen, mix

_SAND: RGB = (236, 214, 166)
_MARK: RGB = (222, 66, 60)
_DISKS: dict[str, tuple[RGB, float]] = {
    "small": (PALETTE["yellow"], 0.30), "medium": (PALETTE["orange"], 0.16), "large": (PALETTE["red"], 0.03),
}  # fmt: skip


def path(p: Pen, kind: str, mark: str) -> None:
    """A piece of path or a landmark; a pin stands where the walker is, footprints where it has been."""
    p.take(_SAND)
    p.rectangle(0.0, 0.0, 1.0, 1.0, outline=False)
    if kind != "path":
        _LANDMARKS[kind](p)
    if mark == "walked":
        p.take(_MARK)
        for x, y in ((0.78, 0.80), (0.90, 0.66)):
            p.ellipse(x - 0.09, y - 0.06, x + 0.09, y + 0.06, outline=False)
    elif mark == "here":
        p.take(_MARK)
        p.polygon(0.62, 0.56, 0.90, 0.56, 0.76, 0.96)
        p.ellipse(0.56, 0.26, 0.96, 0.66)
        p.ellipse(0.69, 0.39, 0.83, 0.53, fill=WHITE, outline=False)


def _house(p: Pen) -> None:
    p.take(PALETTE["orange"])
    p.rectangle(0.16, 0.44, 0.74, 0.90)
    p.take(PALETTE["red"])
    p.polygon(0.06, 0.46, 0.45, 0.10, 0.84, 0.46)


def _lake(p: Pen) -> None:
    p.take(PALETTE["blue"])
    p.ellipse(0.06, 0.20, 0.94, 0.86)
    p.stroke(0.24, 0.48, 0.44, 0.48, fill=WHITE)
    p.stroke(0.36, 0.64, 0.60, 0.64, fill=WHITE)


def _school(p: Pen) -> None:
    p.take(PALETTE["yellow"])
    p.rectangle(0.08, 0.36, 0.92, 0.90)
    for x in (0.16, 0.42, 0.68):
        p.rectangle(x, 0.46, x + 0.16, 0.64, fill=GLASS)
    p.take(PALETTE["grey"])
    p.rectangle(0.04, 0.24, 0.96, 0.38)


def _shop(p: Pen) -> None:
    p.take(PALETTE["pink"])
    p.rectangle(0.10, 0.40, 0.86, 0.90)
    p.rectangle(0.20, 0.52, 0.50, 0.76, fill=GLASS)
    for index in range(4):
        x = 0.06 + 0.21 * index
        p.rectangle(x, 0.20, x + 0.21, 0.44, fill=(PALETTE["green"], WHITE)[index % 2])


def _tower(p: Pen) -> None:
    p.take(PALETTE["grey"])
    p.rectangle(0.30, 0.26, 0.66, 0.92)
    p.polygon(0.22, 0.30, 0.22, 0.08, 0.38, 0.08, 0.38, 0.18, 0.58, 0.18, 0.58, 0.08, 0.74, 0.08, 0.74, 0.30)
    p.rectangle(0.42, 0.42, 0.54, 0.60, fill=INK)


def _farm(p: Pen) -> None:
    p.take(PALETTE["green"])
    p.rectangle(0.06, 0.62, 0.94, 0.92)
    p.stroke(0.10, 0.72, 0.90, 0.72, fill=mix(PALETTE["green"], WHITE, 0.5))
    p.stroke(0.10, 0.82, 0.90, 0.82, fill=mix(PALETTE["green"], WHITE, 0.5))
    p.take(PALETTE["purple"])
    p.polygon(0.14, 0.62, 0.14, 0.32, 0.34, 0.12, 0.54, 0.32, 0.54, 0.62)


_LANDMARKS = {"house": _house, "lake": _lake, "school": _school, "shop": _shop, "tower": _tower, "farm": _farm}


def disk(p: Pen, size: str) -> None:
    colour, left = _DISKS[size]
    p.take(colour)
    p.rounded(left, 0.06, 1 - left, 0.98, radius=0.12)
    p.rounded(left + 0.06, 0.18, 0.94 - left, 0.34, radius=0.04, fill=p.light, outline=False)


def brick(p: Pen, colour: str) -> None:
    p.take(PALETTE[colour])
    p.rounded(0.08, 0.04, 0.92, 0.98, radius=0.06)
    p.rounded(0.14, 0.16, 0.86, 0.32, radius=0.04, fill=p.light, outline=False)


def tile(p: Pen, digit: str) -> None:
    p.take(mix(PALETTE[("red", "yellow", "green", "blue", "purple")[int(digit) - 1]], WHITE, 0.2))
    p.rounded(0.03, 0.03, 0.97, 0.97, radius=0.10)
    p.rounded(0.10, 0.10, 0.90, 0.18, radius=0.04, fill=p.light, outline=False)
    p.text(0.5, 0.54, digit, 40, INK)
