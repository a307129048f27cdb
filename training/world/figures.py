"""How thirty subjects are drawn, step by step.

Every step has a name and its strokes, in hundredths of the sheet (y down): ``e`` ellipse by its box, ``r`` rounded box,
``p`` polygon, ``s`` open line. A letter behind the numbers says what fills it: nothing for the drawing's colour, ``l`` lighter,
``d`` darker, ``w`` white, ``k`` ink.
"""

from __future__ import annotations

from functools import cache

from PIL import Image

from duogen.training.world.pen import INK, PALETTE, WHITE, Pen
from duogen.training.world.scene import CANVAS

FIGURES: dict[str, tuple[tuple[str, str], ...]] = {
    "cat": (
        ("round head", "e 30 16 70 54"), ("pointed ears", "p 32 28 30 6 46 18; p 68 28 70 6 54 18"),
        ("body", "e 28 50 72 92"), ("curled tail", "s 70 82 86 78 90 62 82 54"),
        ("face", "e 39 30 44 36 k; e 56 30 61 36 k; p 47 40 53 40 50 44 d; s 50 44 44 48; s 50 44 56 48"),
        ("whiskers", "s 40 42 22 38; s 40 45 22 47; s 60 42 78 38; s 60 45 78 47"),
    ),
    "dog": (
        ("long body", "r 22 48 72 74"), ("head", "e 56 20 90 54"), ("hanging ear", "e 54 22 66 52 d"),
        ("four legs", "r 24 70 32 92; r 36 70 44 92; r 52 70 60 92; r 64 70 72 92"), ("tail", "s 23 54 12 44 10 34"),
        ("face", "e 74 30 79 36 k; e 86 36 93 43 k; s 80 46 88 47"),
    ),
    "rabbit": (
        ("round head", "e 34 34 66 62"), ("long ears", "e 36 4 47 40; e 53 4 64 40; e 39 10 44 34 l; e 56 10 61 34 l"),
        ("body", "e 28 58 72 94"), ("paws", "e 30 86 46 96 l; e 54 86 70 96 l"),
        ("face", "e 41 44 46 50 k; e 54 44 59 50 k; p 48 52 52 52 50 55 d; r 47 56 53 61 w"),
    ),
    "bear": (
        ("big head", "e 26 12 74 54"), ("round ears", "e 22 6 38 22; e 62 6 78 22; e 26 10 34 18 l; e 66 10 74 18 l"),
        ("body", "e 24 48 76 94"), ("belly", "e 36 58 64 88 l"), ("paws", "e 14 56 32 72; e 68 56 86 72"),
        ("face", "e 38 26 43 32 k; e 57 26 62 32 k; e 42 34 58 46 l; e 47 35 53 40 k"),
    ),
    "mouse": (
        ("body", "e 26 44 80 80"), ("big ears", "e 20 30 38 50; e 34 26 50 46; e 24 34 34 46 l"),
        ("tail", "s 79 66 90 60 94 74 88 84"), ("face", "e 30 54 35 60 k; e 22 62 28 68 k"), ("feet", "e 38 76 50 84 l; e 58 76 70 84 l"),
    ),
    "pig": (
        ("round body", "e 20 34 80 82"), ("snout", "e 38 50 62 66 l; e 43 55 47 61 k; e 53 55 57 61 k"),
        ("ears", "p 28 42 26 24 42 36; p 72 42 74 24 58 36"), ("legs", "r 30 76 40 92; r 60 76 70 92"),
        ("eyes", "e 34 44 39 50 k; e 61 44 66 50 k"), ("curly tail", "s 80 58 88 54 86 46 80 48"),
    ),
    "owl": (
        ("body", "e 28 16 72 90"), ("big eyes", "e 32 24 50 42 w; e 50 24 68 42 w; e 38 30 44 36 k; e 56 30 62 36 k"),
        ("beak", "p 46 42 54 42 50 50 d"), ("wings", "e 20 40 36 78 d; e 64 40 80 78 d"),
        ("feathers", "s 42 58 46 62 50 58 54 62 58 58; s 42 68 46 72 50 68 54 72 58 68"), ("feet", "s 42 89 40 96; s 58 89 60 96"),
    ),
    "bird": (
        ("body", "e 26 34 74 74"), ("head", "e 60 18 86 44"), ("beak", "p 84 28 96 32 84 37 d"),
        ("wing", "p 36 48 64 46 44 66 d"), ("tail", "p 30 50 8 40 12 60 d"), ("legs and eye", "s 44 73 44 88; s 56 73 56 88; e 72 26 77 31 k"),
    ),
    "fish": (
        ("oval body", "e 16 32 72 70"), ("tail fin", "p 68 51 92 32 88 51 92 70"), ("upper fin", "p 34 35 46 18 58 35 d"),
        ("eye and mouth", "e 26 44 32 50 k; s 18 58 26 59"), ("stripes", "s 44 36 44 66; s 54 38 54 64"),
    ),
    "turtle": (
        ("shell", "p 20 64 26 42 44 30 60 30 74 42 80 64"), ("head", "e 76 46 96 64"), ("legs", "r 28 64 40 80; r 60 64 72 80"),
        ("tail", "p 20 62 8 68 22 68"), ("pattern", "p 42 40 58 40 64 54 50 60 36 54 l"), ("eye", "e 86 51 90 56 k"),
    ),
    "snail": (
        ("body", "p 10 84 88 84 92 66 84 56 78 74 20 76"), ("round shell", "e 22 30 68 78"),
        ("spiral", "s 45 54 50 50 54 56 46 64 36 56 42 42 56 44 60 56"), ("feelers", "s 86 58 82 40; s 88 58 94 42; e 79 36 85 42 k; e 91 38 97 44 k"),
    ),
    "butterfly": (
        ("body", "r 47 28 53 76 k"), ("upper wings", "e 14 20 47 52; e 53 20 86 52"), ("lower wings", "e 22 50 47 78 d; e 53 50 78 78 d"),
        ("feelers", "s 48 28 38 14; s 52 28 62 14"), ("spots", "e 24 30 36 42 l; e 64 30 76 42 l; e 30 58 38 66 l; e 62 58 70 66 l"),
    ),
    "ladybird": (
        ("round back", "e 22 24 78 84"), ("head", "e 36 12 64 34 k"), ("middle line", "s 50 32 50 84"),
        ("dots", "e 32 42 42 52 k; e 58 42 68 52 k; e 30 62 40 72 k; e 60 62 70 72 k"), ("legs", "s 23 44 10 38; s 22 56 8 58; s 77 44 90 38; s 78 56 92 58"),
    ),
    "spider": (
        ("thread", "s 50 2 50 36"), ("round body", "e 32 34 68 70"), ("left legs", "s 34 44 14 34; s 33 52 10 52; s 34 60 14 72"),
        ("right legs", "s 66 44 86 34; s 67 52 90 52; s 66 60 86 72"), ("eyes", "e 42 46 48 53 w; e 52 46 58 53 w"), ("smile", "s 43 60 50 64 57 60"),
    ),
    "snake": (
        ("long body", "p 8 76 20 60 36 60 48 74 60 74 70 58 70 40 80 40 80 62 66 84 44 84 32 70 24 70 14 84"), ("head", "e 62 20 90 44"),
        ("eye", "e 76 26 81 31 k"), ("tongue", "s 88 34 96 36 99 32"), ("stripes", "s 26 60 26 70; s 42 68 38 76; s 66 66 74 72; s 70 50 80 50"),
    ),
    "flower": (
        ("stem", "r 48 46 52 94 k"), ("petals", "e 42 10 58 34; e 42 40 58 64; e 26 26 50 46; e 50 26 74 46"),
        ("middle", "e 41 28 59 46 l"), ("leaves", "p 50 80 30 66 34 84 d; p 50 84 70 70 66 88 d"),
    ),
    "tree": (
        ("trunk", "p 44 94 46 56 54 56 56 94 k"), ("crown", "e 22 10 78 62"), ("branches", "s 50 58 38 42; s 50 58 62 44"),
        ("fruit", "e 34 24 42 32 l; e 56 20 64 28 l; e 62 40 70 48 l; e 30 44 38 52 l"), ("grass", "s 16 94 20 86 24 94; s 74 94 78 86 82 94"),
    ),
    "cactus": (
        ("pot", "p 34 74 66 74 62 94 38 94 d"), ("stem", "r 42 16 58 74"), ("left arm", "r 24 36 34 54; r 24 46 44 54"),
        ("right arm", "r 66 28 76 50; r 56 42 76 50"), ("spines", "s 48 26 52 28; s 48 36 52 38; s 48 46 52 48; s 48 56 52 58; s 48 66 52 68"),
    ),
    "mushroom": (
        ("stalk", "r 40 50 60 92 w"), ("cap", "p 12 54 20 30 38 16 62 16 80 30 88 54"), ("spots", "e 26 34 36 44 w; e 44 22 56 34 w; e 64 36 74 46 w"),
        ("grass", "s 26 92 30 82 34 92; s 66 92 70 82 74 92"),
    ),
    "apple": (
        ("round fruit", "e 20 28 80 88"), ("stalk", "s 50 32 52 14"), ("leaf", "p 52 22 74 8 72 24 d"), ("shine", "e 32 38 44 54 l"), ("bite", "e 70 46 88 66 w"),
    ),
    "house": (
        ("walls", "r 22 46 78 90"), ("roof", "p 14 48 50 14 86 48 d"), ("door", "r 42 64 58 90 l"),
        ("windows", "r 27 54 38 66 w; r 62 54 73 66 w"), ("chimney", "r 64 16 72 34"), ("smoke", "e 66 4 74 10 w; e 74 0 84 7 w"),
    ),
    "car": (
        ("body", "r 8 50 92 74"), ("cabin", "p 26 52 36 30 64 30 76 52"), ("windows", "p 33 48 39 35 48 35 48 48 w; p 52 48 52 35 62 35 69 48 w"),
        ("wheels", "e 18 64 36 84 k; e 64 64 82 84 k"), ("lights", "e 85 55 92 62 l; r 8 55 13 62 d"),
    ),
    "boat": (
        ("hull", "p 12 62 88 62 76 84 24 84"), ("mast", "r 47 10 51 62 k"), ("big sail", "p 53 12 84 56 53 56 l"),
        ("small sail", "p 45 20 45 56 20 56 w"), ("waves", "s 4 90 16 86 28 90 40 86 52 90 64 86 76 90 88 86 96 90"),
    ),
    "train": (
        ("boiler", "r 30 40 88 68"), ("cab", "r 10 22 34 68 d"), ("window", "r 15 28 29 44 w"), ("chimney", "p 72 40 70 20 84 20 82 40"),
        ("wheels", "e 12 62 32 82 k; e 40 66 56 82 k; e 64 66 80 82 k"), ("steam", "e 74 6 84 16 w; e 58 2 72 14 w"),
    ),
    "rocket": (
        ("body", "p 50 6 64 28 64 74 36 74 36 28"), ("window", "e 42 30 58 46 w"), ("fins", "p 36 52 22 76 36 74 d; p 64 52 78 76 64 74 d"),
        ("flame", "p 40 75 60 75 50 96 l"), ("stars", "e 12 16 17 21 k; e 82 12 87 17 k; e 14 48 18 52 k; e 84 42 88 46 k"),
    ),
    "balloon": (
        ("big balloon", "e 24 6 76 62"), ("stripes", "s 42 8 42 60; s 58 8 58 60"), ("ropes", "s 38 58 42 76; s 62 58 58 76"),
        ("basket", "r 40 76 60 92 d"), ("clouds", "r 4 66 26 74 w; r 74 70 96 78 w"),
    ),
    "snowman": (
        ("big snowball", "e 26 54 74 96 w"), ("middle snowball", "e 32 30 68 62 w"), ("head", "e 38 12 62 36 w"),
        ("hat", "r 40 0 60 14; r 34 12 66 17"), ("face and buttons", "e 44 20 47 23 k; e 53 20 56 23 k; p 49 25 58 28 49 29 d; e 48 40 52 44 k; e 48 50 52 54 k"),
        ("arms", "s 34 44 16 32; s 66 44 84 32"),
    ),
    "robot": (
        ("square head", "r 34 12 66 38"), ("body", "r 28 40 72 76"), ("arms", "r 14 44 26 66 d; r 74 44 86 66 d"), ("legs", "r 34 76 46 94; r 54 76 66 94"),
        ("eyes and mouth", "e 40 18 47 26 w; e 53 18 60 26 w; s 42 32 58 32"), ("antenna", "s 50 12 50 5; e 47 1 53 7 l"),
    ),
    "cake": (
        ("big layer", "r 16 60 84 88"), ("small layer", "r 28 38 72 62 l"), ("icing", "p 28 38 72 38 72 46 64 52 57 46 50 52 43 46 36 52 28 46 w"),
        ("candles", "r 37 22 41 38 d; r 48 22 52 38 d; r 59 22 63 38 d"), ("flames", "e 37 13 41 22 l; e 48 13 52 22 l; e 59 13 63 22 l"),
    ),
    "umbrella": (
        ("roof", "p 10 50 18 28 38 14 62 14 82 28 90 50"), ("edge", "s 10 50 24 44 37 50 50 44 63 50 76 44 90 50"), ("ribs", "s 50 14 37 50; s 50 14 63 50"),
        ("stick", "r 48 48 52 86 k"), ("handle", "s 50 85 50 92 42 94 38 88"),
    ),
}  # fmt: skip


def strokes(subject: str) -> tuple[str, ...]:
    """The names of a subject's steps."""
    return tuple(name for name, _ in FIGURES[subject])


@cache
def figure(subject: str, step: int, colour: str) -> Image.Image:
    """The strokes of one step, RGBA, on a transparent sheet."""
    pen = Pen(CANVAS, CANVAS, PALETTE[colour])
    fills = {"": pen.fill, "l": pen.light, "d": pen.dark, "w": WHITE, "k": INK}
    for stroke in FIGURES[subject][step][1].split(";"):
        shape, *words = stroke.split()
        fill = fills[words.pop()] if words[-1] in fills else pen.fill
        numbers = [int(word) / 100 for word in words]
        if shape == "e":
            pen.ellipse(*numbers, fill=fill)
        elif shape == "r":
            pen.rounded(*numbers, radius=0.03, fill=fill)
        elif shape == "p":
            pen.polygon(*numbers, fill=fill)
        else:
            pen.stroke(*numbers, width=1.3)
    return pen.finish()
