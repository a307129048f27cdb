"""Pictures that tests draw: something with light and grain, codes, and prints."""

from __future__ import annotations

import io
import random

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .words import THINGS


def photo(seed: object, size: tuple[int, int] | None = None) -> Image.Image:
    """Something with light, edges and grain."""
    draw_from = random.Random(f"photo/{seed}")
    width, height = size or draw_from.choice([(320, 240), (400, 300), (360, 360), (300, 400), (480, 270)])
    noise = np.random.default_rng(draw_from.getrandbits(32))
    down = np.linspace(0, 1, height)[:, None, None]
    top, bottom = (np.array([draw_from.randrange(30, 230) for _ in range(3)]) for _ in range(2))
    image = Image.fromarray((top * (1 - down) + bottom * down + np.zeros((height, width, 1))).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(draw_from.randrange(7, 14)):
        x, y = draw_from.randrange(width), draw_from.randrange(height)
        w, h = draw_from.randrange(20, width // 2), draw_from.randrange(20, height // 2)
        colour = tuple(draw_from.randrange(256) for _ in range(3))
        shape = draw_from.choice([draw.ellipse, draw.rectangle])
        shape((x - w // 2, y - h // 2, x + w // 2, y + h // 2), fill=colour)
    grain = noise.normal(0, 7, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 88) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, kind, quality=quality)
    return buffer.getvalue()


def qr(seed: object) -> Image.Image:
    code = cv2.QRCodeEncoder.create().encode(f"https://shop.example/{seed}")
    return Image.fromarray(code).resize((280, 280), Image.Resampling.NEAREST)


def print_of(seed: object) -> Image.Image:
    """A screenshot of text."""
    draw_from = random.Random(f"print/{seed}")
    image = Image.new("RGB", (480, 420), "white")
    draw = ImageDraw.Draw(image)
    for row in range(26):
        words = " ".join(draw_from.choice(THINGS) for _ in range(5))
        draw.text((12, 10 + 15 * row), words[:74], fill="black")
    return image
