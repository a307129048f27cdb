"""The look of the objects of shelf and page, and of the building parts of the meadow."""

from __future__ import annotations

from collections.abc import Callable

from duogen.training.world.pen import GLASS, INK, Pen


def _ball(p: Pen) -> None:
    p.ellipse(0.18, 0.22, 0.82, 0.86)
    p.ellipse(0.30, 0.32, 0.46, 0.46, fill=p.light, outline=False)


def _cube(p: Pen) -> None:
    p.polygon(0.16, 0.40, 0.62, 0.40, 0.62, 0.86, 0.16, 0.86)
    p.polygon(0.16, 0.40, 0.34, 0.22, 0.82, 0.22, 0.62, 0.40, fill=p.light)
    p.polygon(0.62, 0.40, 0.82, 0.22, 0.82, 0.68, 0.62, 0.86, fill=p.dark)


def _star(p: Pen) -> None:
    p.polygon(
        0.50, 0.14, 0.60, 0.40, 0.86, 0.41, 0.66, 0.58, 0.74, 0.86,
        0.50, 0.70, 0.26, 0.86, 0.34, 0.58, 0.14, 0.41, 0.40, 0.40,
    )  # fmt: skip
    p.ellipse(0.42, 0.40, 0.52, 0.50, fill=p.light, outline=False)


def _heart(p: Pen) -> None:
    p.polygon(
        0.50, 0.86, 0.22, 0.60, 0.14, 0.46, 0.15, 0.32, 0.25, 0.23, 0.37, 0.23, 0.46, 0.30, 0.50, 0.37,
        0.54, 0.30, 0.63, 0.23, 0.75, 0.23, 0.85, 0.32, 0.86, 0.46, 0.78, 0.60,
    )  # fmt: skip
    p.ellipse(0.25, 0.31, 0.37, 0.42, fill=p.light, outline=False)


def _cone(p: Pen) -> None:
    p.polygon(0.50, 0.12, 0.78, 0.86, 0.22, 0.86)
    p.polygon(0.425, 0.32, 0.575, 0.32, 0.625, 0.46, 0.375, 0.46, fill=p.light)
    p.polygon(0.32, 0.60, 0.68, 0.60, 0.725, 0.72, 0.275, 0.72, fill=p.light)


def _cup(p: Pen) -> None:
    p.ellipse(0.58, 0.40, 0.88, 0.68, fill=p.dark)
    p.ellipse(0.66, 0.47, 0.80, 0.61, fill=p.light)
    p.rounded(0.18, 0.32, 0.70, 0.86, radius=0.10)
    p.rounded(0.25, 0.40, 0.33, 0.72, radius=0.04, fill=p.light, outline=False)
    p.ellipse(0.18, 0.25, 0.70, 0.39, fill=p.dark)


def _gem(p: Pen) -> None:
    p.polygon(0.32, 0.30, 0.68, 0.30, 0.86, 0.48, 0.50, 0.86, 0.14, 0.48)
    p.polygon(0.32, 0.30, 0.68, 0.30, 0.62, 0.48, 0.38, 0.48, fill=p.light)
    p.polygon(0.38, 0.48, 0.62, 0.48, 0.50, 0.86, fill=p.dark)


def _bell(p: Pen) -> None:
    p.ellipse(0.42, 0.74, 0.58, 0.88, fill=p.dark)
    p.ellipse(0.44, 0.14, 0.56, 0.26)
    p.polygon(
        0.50, 0.20, 0.62, 0.24, 0.70, 0.36, 0.72, 0.58, 0.82, 0.72, 0.82, 0.78,
        0.18, 0.78, 0.18, 0.72, 0.28, 0.58, 0.30, 0.36, 0.38, 0.24,
    )  # fmt: skip
    p.rounded(0.36, 0.34, 0.42, 0.58, radius=0.03, fill=p.light, outline=False)


def _block(p: Pen) -> None:
    p.rounded(0.02, 0.02, 0.98, 0.98, radius=0.10)
    p.rounded(0.12, 0.12, 0.88, 0.24, radius=0.06, fill=p.light, outline=False)
    p.rounded(0.12, 0.80, 0.88, 0.88, radius=0.04, fill=p.dark, outline=False)


def _window(p: Pen) -> None:
    _block(p)
    p.rounded(0.22, 0.20, 0.78, 0.82, radius=0.06, fill=GLASS)
    p.stroke(0.50, 0.20, 0.50, 0.82)
    p.stroke(0.22, 0.51, 0.78, 0.51)


def _door(p: Pen, hinge: float, knob: float) -> None:
    left, right = min(hinge, 1 - hinge), 1.0
    if hinge > 0.5:
        left, right = 0.0, hinge
    p.rectangle(left, 0.06, right, 1.0)
    p.rounded(left + 0.20, 0.22, right - 0.20, 0.52, radius=0.05, fill=p.dark, outline=False)
    p.rounded(left + 0.20, 0.64, right - 0.20, 0.90, radius=0.05, fill=p.dark, outline=False)
    p.ellipse(knob - 0.06, 0.53, knob + 0.06, 0.65, fill=(255, 236, 160))


def _roof_left(p: Pen) -> None:
    p.polygon(0.02, 0.98, 1.0, 0.04, 1.0, 0.98)
    p.stroke(0.50, 0.80, 0.98, 0.80, fill=p.light)
    p.stroke(0.70, 0.54, 0.98, 0.54, fill=p.light)


def _roof_middle(p: Pen) -> None:
    p.rectangle(0.0, 0.03, 1.0, 0.98, outline=False)
    p.stroke(0.0, 0.05, 1.0, 0.05)
    p.stroke(0.0, 0.96, 1.0, 0.96)
    p.stroke(0.0, 0.54, 1.0, 0.54, fill=p.light)
    p.stroke(0.0, 0.80, 1.0, 0.80, fill=p.light)


def _roof_right(p: Pen) -> None:
    p.polygon(0.98, 0.98, 0.0, 0.04, 0.0, 0.98)
    p.stroke(0.50, 0.80, 0.02, 0.80, fill=p.light)
    p.stroke(0.30, 0.54, 0.02, 0.54, fill=p.light)


def _battlement(p: Pen) -> None:
    p.polygon(0.02, 0.98, 0.02, 0.40, 0.34, 0.40, 0.34, 0.66, 0.66, 0.66, 0.66, 0.40, 0.98, 0.40, 0.98, 0.98)
    p.rounded(0.10, 0.80, 0.90, 0.88, radius=0.03, fill=p.light, outline=False)


def _flag(p: Pen) -> None:
    p.stroke(0.24, 0.06, 0.24, 1.0, fill=INK, width=1.2)
    p.polygon(0.27, 0.10, 0.92, 0.32, 0.27, 0.54)


SHAPES: dict[str, Callable[[Pen], None]] = {
    "ball": _ball, "cube": _cube, "star": _star, "heart": _heart, "cone": _cone, "cup": _cup, "gem": _gem,
    "bell": _bell, "block": _block, "window": _window, "roof_left": _roof_left, "roof_middle": _roof_middle,
    "roof_right": _roof_right, "battlement": _battlement, "flag": _flag,
    "door_left": lambda p: _door(p, 0.06, 0.80), "door_right": lambda p: _door(p, 0.94, 0.20),
}  # fmt: skip
"""How each kind is drawn, with a pen of its colour."""
