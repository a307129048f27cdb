"""The line and the palette that all pictures of the world are drawn with."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

RGB = tuple[int, int, int]

PALETTE: dict[str, RGB] = {
    "red": (222, 66, 60),
    "orange": (246, 146, 46),
    "yellow": (252, 214, 74),
    "green": (86, 172, 92),
    "blue": (64, 130, 216),
    "purple": (142, 92, 190),
    "pink": (243, 152, 188),
    "grey": (146, 154, 168),
}
GLASS: RGB = (206, 232, 248)
INK: RGB = (70, 62, 72)
WHITE: RGB = (255, 255, 255)
OVERSAMPLE = 4


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with a share of `b` in it."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


class Pen:
    """A transparent canvas of `width` x `height` pixels in unit coordinates (0..1 across each way, y down).

    Drawn at four times the size and scaled down, so that edges are smooth.
    """

    def __init__(self, width: int, height: int, fill: RGB) -> None:
        self.width, self.height = width * OVERSAMPLE, height * OVERSAMPLE
        self.image = Image.new("RGBA", (self.width, self.height), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)
        self.line = max(2, round(1.9 * OVERSAMPLE))
        self.take(fill)

    def take(self, fill: RGB) -> None:
        """Goes on with another colour, its edge and its two shades."""
        self.fill = fill
        self.edge = mix(fill, INK, 0.55)
        self.light = mix(fill, WHITE, 0.45)
        self.dark = mix(fill, INK, 0.18)

    def at(self, *numbers: float) -> list[float]:
        return [n * (self.height if index % 2 else self.width) for index, n in enumerate(numbers)]

    def polygon(self, *numbers: float, fill: RGB | None = None) -> None:
        xy = self.at(*numbers)
        points = list(zip(xy[::2], xy[1::2], strict=True))
        self.draw.polygon(points, fill=fill or self.fill)
        self.draw.line([*points, points[0], points[1]], fill=self.edge, width=self.line, joint="curve")

    def ellipse(self, *box: float, fill: RGB | None = None, outline: bool = True) -> None:
        edge = self.edge if outline else None
        self.draw.ellipse(self.at(*box), fill=fill or self.fill, outline=edge, width=self.line)

    def rounded(self, *box: float, radius: float = 0.08, fill: RGB | None = None, outline: bool = True) -> None:
        edge = self.edge if outline else None
        corner = radius * self.width
        self.draw.rounded_rectangle(self.at(*box), corner, fill=fill or self.fill, outline=edge, width=self.line)

    def rectangle(self, *box: float, fill: RGB | None = None, outline: bool = True) -> None:
        edge = self.edge if outline else None
        self.draw.rectangle(self.at(*box), fill=fill or self.fill, outline=edge, width=self.line)

    def stroke(self, *numbers: float, fill: RGB | None = None, width: float = 1.0) -> None:
        self.draw.line(self.at(*numbers), fill=fill or self.edge, width=round(self.line * width), joint="curve")

    def arc(self, start: float, end: float, *box: float, width: float = 1.0) -> None:
        """Angles in degrees, clockwise from three o'clock."""
        self.draw.arc(self.at(*box), start, end, fill=self.edge, width=round(self.line * width))

    def text(self, x: float, y: float, text: str, size: int, fill: RGB) -> None:
        """Text of `size` pixels, its middle at (x, y)."""
        font = ImageFont.load_default(size * OVERSAMPLE)
        self.draw.text((x * self.width, y * self.height), text, fill, font, anchor="mm")

    def finish(self) -> Image.Image:
        size = (self.width // OVERSAMPLE, self.height // OVERSAMPLE)
        return self.image.resize(size, Image.Resampling.BOX)
