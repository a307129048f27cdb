"""Pictures in a terminal: as real pictures where it can show them, as half blocks where it has colours, else not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, TextIO

from PIL import Image

from duogen.document import Picture

Protocol = Literal["kitty", "iterm2", "blocks", "none"]


def protocol_of(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Protocol:
    """How pictures can be shown on a stream: not at all where it is no terminal or colour isn't wanted."""
    if not stream.isatty() or environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb":
        return "none"
    if environ.get("KITTY_WINDOW_ID") or environ.get("TERM_PROGRAM") in ("ghostty", "WezTerm"):
        return "kitty"
    if environ.get("TERM_PROGRAM") == "iTerm.app":
        return "iterm2"
    return "blocks"


def show(picture: Picture, stream: TextIO, protocol: Protocol, columns: int = 48) -> None:
    """Writes a picture of about `columns` characters' width to a terminal."""
    if protocol == "kitty":
        stream.write(_kitty(picture, columns) + "\n")
    elif protocol == "iterm2":
        data = picture.base64
        stream.write(f"\x1b]1337;File=inline=1;width={columns};preserveAspectRatio=1:{data}\x07\n")
    elif protocol == "blocks":
        stream.write(half_blocks(picture.image(), columns) + "\n")
    stream.flush()


def half_blocks(image: Image.Image, columns: int) -> str:
    """A picture as lines of upper half blocks, two pixels a character, in 24-bit colour."""
    rows = max(2, round(columns * image.height / image.width) // 2 * 2)
    pixels = image.convert("RGB").resize((columns, rows), Image.Resampling.LANCZOS).load()
    assert pixels is not None
    lines = []
    for y in range(0, rows, 2):
        cells = []
        for x in range(columns):
            (r, g, b), (r2, g2, b2) = pixels[x, y], pixels[x, y + 1]  # type: ignore[misc]
            cells.append(f"\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m\u2580")
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def _kitty(picture: Picture, columns: int) -> str:
    png = picture if picture.format == "PNG" else Picture.from_image(picture.image())
    data = png.base64
    chunks = [data[i : i + 4096] for i in range(0, len(data), 4096)]
    pieces = []
    for number, chunk in enumerate(chunks):
        control = f"a=T,f=100,c={columns}," if number == 0 else ""
        pieces.append(f"\x1b_G{control}m={int(number < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(pieces)
