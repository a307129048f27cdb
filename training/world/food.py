"""The look of ingredients: whole, peeled, cut, cooked.

Each ingredient has a shape, a skin and a flesh colour, and a cut: how its pieces look. Cooking changes what lies around
and on the pieces, never their cut, so that fried carrot is still carrot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from duogen.training.world.pen import INK, RGB, WHITE, Pen, mix


class _Food(NamedTuple):
    shape: str
    skin: RGB
    flesh: RGB
    cut: str
    leaf: bool = False


_FOODS = {
    "tomato": _Food("round", (220, 60, 50), (238, 104, 84), "wedges", True),
    "pepper": _Food("square", (240, 190, 50), (250, 216, 110), "rings", True),
    "mushroom": _Food("cap", (186, 146, 116), (226, 206, 184), "caps"),
    "spinach": _Food("leaf", (46, 120, 62), (46, 120, 62), "leaves"),
    "broccoli": _Food("crown", (70, 150, 70), (96, 172, 92), "crowns"),
    "leek": _Food("long", (150, 196, 110), (206, 226, 170), "rings"),
    "onion": _Food("round", (176, 108, 140), (232, 206, 222), "rings", True),
    "carrot": _Food("cone", (238, 130, 40), (248, 156, 74), "slices", True),
    "potato": _Food("oval", (184, 146, 96), (240, 222, 160), "cubes"),
    "pumpkin": _Food("wide", (226, 116, 30), (246, 166, 60), "cubes", True),
    "apple": _Food("round", (200, 44, 66), (246, 238, 200), "wedges", True),
    "banana": _Food("bow", (250, 214, 70), (254, 238, 178), "slices"),
    "strawberry": _Food("heart", (226, 50, 84), (244, 120, 140), "hearts", True),
    "pear": _Food("drop", (176, 200, 70), (236, 240, 190), "wedges", True),
    "cheese": _Food("wedge", (252, 206, 66), (252, 206, 66), "cubes"),
    "ham": _Food("oval", (240, 150, 160), (240, 150, 160), "slices"),
    "fish": _Food("fish", (112, 160, 200), (170, 202, 226), "sticks"),
    "chicken": _Food("drum", (232, 190, 150), (238, 206, 176), "cubes"),
    "tofu": _Food("square", (246, 242, 226), (246, 242, 226), "cubes"),
    "egg": _Food("egg", (255, 250, 240), (252, 200, 60), "yolk"),
    "milk": _Food("pool", (250, 252, 255), (250, 252, 255), "pool"),
    "cream": _Food("pool", (248, 234, 204), (248, 234, 204), "pool"),
    "honey": _Food("pool", (226, 152, 40), (226, 152, 40), "pool"),
    "flour": _Food("heap", (244, 240, 232), (244, 240, 232), "heap"),
    "rice": _Food("heap", (250, 248, 240), (250, 248, 240), "grains"),
    "noodles": _Food("heap", (244, 210, 110), (244, 210, 110), "curls"),
    "sugar": _Food("heap", (226, 244, 252), (226, 244, 252), "crystals"),
    "parsley": _Food("sprig", (60, 150, 70), (60, 150, 70), "leaves"),
    "basil": _Food("pair", (76, 168, 66), (76, 168, 66), "leaves"),
    "mint": _Food("star", (110, 200, 160), (110, 200, 160), "leaves"),
}
_COOKED: dict[str, tuple[RGB, float]] = {
    "mixed": (WHITE, 0.0), "fried": ((120, 70, 30), 0.22), "boiled": ((190, 220, 240), 0.25), "baked": ((216, 140, 60), 0.30),
}  # fmt: skip


def ingredient(p: Pen, kind: str, form: str) -> None:
    """One ingredient in one of its forms."""
    food = _FOODS[kind]
    if form == "whole":
        p.take(food.skin)
        _SHAPES[food.shape](p)
        if food.leaf:
            p.take((84, 160, 70))
            p.polygon(0.44, 0.20, 0.58, 0.02, 0.66, 0.16)
    elif form == "peeled":
        p.take(food.flesh)
        _SHAPES[food.shape](p)
        p.take(food.skin)
        p.arc(20, 200, 0.50, 0.66, 0.96, 0.98, width=1.6)
    else:
        _ground(p, form)
        tint, share = _COOKED.get(form, (WHITE, 0.0))
        p.take(mix(food.flesh, tint, share))
        _CUTS[food.cut](p)
        _top(p, form)


def _ground(p: Pen, form: str) -> None:
    """What lies around the pieces."""
    if form == "mixed":
        p.take((236, 214, 240))
        p.ellipse(0.01, 0.06, 0.99, 0.98)
    elif form == "fried":
        p.take((196, 130, 60))
        p.ellipse(0.01, 0.06, 0.99, 0.98)
    elif form == "boiled":
        p.take((150, 200, 236))
        p.ellipse(0.01, 0.06, 0.99, 0.98)
    elif form == "baked":
        p.take((240, 196, 110))
        p.rounded(0.02, 0.06, 0.98, 0.98, radius=0.16)


def _top(p: Pen, form: str) -> None:
    """What shows on top of them."""
    if form == "mixed":
        p.arc(180, 400, 0.36, 0.36, 0.64, 0.68, width=1.2)
    elif form == "fried":
        for x in (0.30, 0.62):
            p.stroke(x, 0.16, x + 0.12, 0.28, fill=mix((196, 130, 60), INK, 0.5))
    elif form == "boiled":
        for x, y in ((0.22, 0.20), (0.74, 0.26)):
            p.ellipse(x - 0.07, y - 0.07, x + 0.07, y + 0.07, fill=WHITE, outline=False)
    elif form == "baked":
        p.stroke(0.12, 0.16, 0.88, 0.16, fill=(176, 106, 44), width=1.4)


def _round(p: Pen) -> None:
    p.ellipse(0.10, 0.14, 0.90, 0.94)
    p.ellipse(0.24, 0.28, 0.42, 0.44, fill=p.light, outline=False)


def _oval(p: Pen) -> None:
    p.ellipse(0.04, 0.26, 0.96, 0.86)
    p.ellipse(0.20, 0.38, 0.38, 0.50, fill=p.light, outline=False)


def _wide(p: Pen) -> None:
    p.ellipse(0.02, 0.22, 0.98, 0.94)
    p.ellipse(0.32, 0.22, 0.68, 0.94, fill=p.light)


def _square(p: Pen) -> None:
    p.rounded(0.12, 0.18, 0.88, 0.92, radius=0.18)
    p.rounded(0.24, 0.30, 0.40, 0.70, radius=0.06, fill=p.light, outline=False)


def _cap(p: Pen) -> None:
    p.rounded(0.38, 0.46, 0.62, 0.94, radius=0.08, fill=p.light)
    p.polygon(0.06, 0.54, 0.14, 0.28, 0.36, 0.12, 0.64, 0.12, 0.86, 0.28, 0.94, 0.54)


def _leaf(p: Pen) -> None:
    p.polygon(0.50, 0.06, 0.82, 0.30, 0.84, 0.58, 0.50, 0.96, 0.16, 0.58, 0.18, 0.30)
    p.stroke(0.50, 0.18, 0.50, 0.90, fill=p.light)


def _crown(p: Pen) -> None:
    p.rounded(0.38, 0.52, 0.62, 0.96, radius=0.06, fill=p.light)
    for x, y in ((0.26, 0.42), (0.74, 0.42), (0.50, 0.28)):
        p.ellipse(x - 0.24, y - 0.22, x + 0.24, y + 0.22)


def _long(p: Pen) -> None:
    p.rounded(0.36, 0.04, 0.64, 0.96, radius=0.12)
    p.rounded(0.36, 0.60, 0.64, 0.96, radius=0.12, fill=p.light)


def _cone(p: Pen) -> None:
    p.polygon(0.24, 0.18, 0.76, 0.18, 0.50, 0.98)
    p.stroke(0.40, 0.40, 0.56, 0.40, fill=p.light)
    p.stroke(0.46, 0.60, 0.58, 0.60, fill=p.light)


def _bow(p: Pen) -> None:
    p.polygon(0.10, 0.24, 0.22, 0.18, 0.32, 0.48, 0.58, 0.66, 0.90, 0.64, 0.92, 0.78, 0.56, 0.90, 0.20, 0.68)


def _heart(p: Pen) -> None:
    p.polygon(0.50, 0.96, 0.14, 0.46, 0.24, 0.20, 0.50, 0.26, 0.76, 0.20, 0.86, 0.46)
    for x, y in ((0.36, 0.42), (0.62, 0.44), (0.50, 0.64)):
        p.ellipse(x - 0.04, y - 0.04, x + 0.04, y + 0.04, fill=p.light, outline=False)


def _drop(p: Pen) -> None:
    p.polygon(0.42, 0.10, 0.58, 0.10, 0.66, 0.40, 0.86, 0.66, 0.72, 0.94, 0.28, 0.94, 0.14, 0.66, 0.34, 0.40)


def _wedge(p: Pen) -> None:
    p.polygon(0.06, 0.84, 0.06, 0.52, 0.90, 0.22, 0.94, 0.84)
    for x, y in ((0.34, 0.68), (0.66, 0.56)):
        p.ellipse(x - 0.09, y - 0.09, x + 0.09, y + 0.09, fill=p.dark)


def _fish(p: Pen) -> None:
    p.polygon(0.66, 0.52, 0.96, 0.28, 0.96, 0.78)
    p.ellipse(0.04, 0.28, 0.76, 0.78)
    p.ellipse(0.18, 0.42, 0.28, 0.52, fill=INK, outline=False)


def _drum(p: Pen) -> None:
    p.stroke(0.60, 0.60, 0.90, 0.90, fill=p.light, width=3)
    p.ellipse(0.08, 0.12, 0.74, 0.76)


def _egg(p: Pen) -> None:
    p.ellipse(0.18, 0.10, 0.82, 0.94)


def _pool(p: Pen) -> None:
    p.ellipse(0.06, 0.40, 0.94, 0.92)
    p.ellipse(0.24, 0.52, 0.48, 0.64, fill=p.light, outline=False)


def _heap(p: Pen) -> None:
    p.polygon(0.04, 0.92, 0.24, 0.56, 0.50, 0.34, 0.76, 0.56, 0.96, 0.92)


def _sprig(p: Pen) -> None:
    p.stroke(0.50, 0.40, 0.50, 0.98, width=1.4)
    for x, y in ((0.26, 0.40), (0.74, 0.40), (0.50, 0.20)):
        p.ellipse(x - 0.18, y - 0.16, x + 0.18, y + 0.16)


def _pair(p: Pen) -> None:
    p.ellipse(0.02, 0.30, 0.52, 0.66)
    p.ellipse(0.48, 0.30, 0.98, 0.66)
    p.ellipse(0.34, 0.12, 0.66, 0.46, fill=p.light)


def _star(p: Pen) -> None:
    p.polygon(0.50, 0.06, 0.62, 0.38, 0.94, 0.50, 0.62, 0.62, 0.50, 0.94, 0.38, 0.62, 0.06, 0.50, 0.38, 0.38)


_SHAPES: dict[str, Callable[[Pen], None]] = {
    "round": _round, "oval": _oval, "wide": _wide, "square": _square, "cap": _cap, "leaf": _leaf, "crown": _crown,
    "long": _long, "cone": _cone, "bow": _bow, "heart": _heart, "drop": _drop, "wedge": _wedge, "fish": _fish,
    "drum": _drum, "egg": _egg, "pool": _pool, "heap": _heap, "sprig": _sprig, "pair": _pair, "star": _star,
}  # fmt: skip

_SPOTS = ((0.30, 0.38), (0.70, 0.40), (0.50, 0.70))


def _pieces(draw: Callable[[Pen, float, float], None]) -> Callable[[Pen], None]:
    def pieces(p: Pen) -> None:
        for x, y in _SPOTS:
            draw(p, x, y)

    return pieces


def _yolk(p: Pen) -> None:
    p.ellipse(0.08, 0.24, 0.92, 0.92, fill=WHITE)
    p.ellipse(0.32, 0.40, 0.68, 0.74)


def _grains(p: Pen) -> None:
    p.ellipse(0.14, 0.30, 0.86, 0.90)
    for x, y in ((0.34, 0.48), (0.58, 0.44), (0.46, 0.64), (0.68, 0.64), (0.32, 0.74)):
        p.stroke(x - 0.05, y, x + 0.05, y + 0.05)


def _curls(p: Pen) -> None:
    p.ellipse(0.10, 0.28, 0.90, 0.92)
    for inset in (0.10, 0.20, 0.30):
        p.arc(160, 420, 0.10 + inset, 0.28 + inset * 0.8, 0.90 - inset, 0.92 - inset * 0.8)


def _crystals(p: Pen) -> None:
    for x, y in (*_SPOTS, (0.50, 0.50)):
        p.polygon(x, y - 0.14, x + 0.12, y, x, y + 0.14, x - 0.12, y)


def _ring(p: Pen, x: float, y: float) -> None:
    p.ellipse(x - 0.20, y - 0.18, x + 0.20, y + 0.18)
    p.ellipse(x - 0.08, y - 0.07, x + 0.08, y + 0.07, fill=p.light)


_CUTS: dict[str, Callable[[Pen], None]] = {
    "wedges": _pieces(lambda p, x, y: p.polygon(x - 0.20, y - 0.12, x + 0.20, y - 0.12, x, y + 0.20)),
    "rings": _pieces(_ring),
    "caps": _pieces(lambda p, x, y: p.polygon(x - 0.20, y, x, y - 0.18, x + 0.20, y, x + 0.06, y, x + 0.06, y + 0.18,
                                              x - 0.06, y + 0.18, x - 0.06, y)),
    "leaves": _pieces(lambda p, x, y: p.polygon(x - 0.22, y, x, y - 0.14, x + 0.22, y, x, y + 0.14)),
    "crowns": _pieces(lambda p, x, y: p.ellipse(x - 0.21, y - 0.21, x + 0.21, y + 0.21)),
    "slices": _pieces(lambda p, x, y: p.ellipse(x - 0.22, y - 0.14, x + 0.22, y + 0.14)),
    "cubes": _pieces(lambda p, x, y: p.rectangle(x - 0.16, y - 0.16, x + 0.16, y + 0.16)),
    "hearts": _pieces(lambda p, x, y: p.polygon(x - 0.18, y - 0.14, x, y - 0.06, x + 0.18, y - 0.14, x, y + 0.20)),
    "sticks": _pieces(lambda p, x, y: p.rectangle(x - 0.09, y - 0.22, x + 0.09, y + 0.22)),
    "yolk": _yolk, "pool": _pool, "heap": _heap, "grains": _grains, "curls": _curls, "crystals": _crystals,
}  # fmt: skip
