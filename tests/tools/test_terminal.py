from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image

from duogen.document import Picture
from duogen.tools.terminal import half_blocks, protocol_of, show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm", "TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "none"),
        ({"TERM": "dumb"}, "none"),
        ({}, "none"),
    ],
)
def test_the_protocol_follows_the_terminal(environ: dict[str, str], expected: str) -> None:
    assert protocol_of(Terminal(), environ) == expected
    assert protocol_of(io.StringIO(), environ) == "none"


def test_half_blocks_carry_the_colours() -> None:
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    image.paste((0, 0, 255), (0, 4, 8, 8))
    lines = half_blocks(image, 4).splitlines()
    assert len(lines) == 2 and all(line.endswith("\x1b[0m") for line in lines)
    assert "38;2;255;0;0" in lines[0] and "48;2;0;0;255" in lines[1]


def test_real_protocols_carry_the_file(picture: Picture) -> None:
    kitty, iterm = Terminal(), Terminal()
    show(picture, kitty, "kitty")
    payload = "".join(re.findall(r"\x1b_G[^;]*;([^\x1b]*)\x1b\\", kitty.getvalue()))
    assert base64.b64decode(payload) == picture.data
    show(picture, iterm, "iterm2")
    assert base64.b64decode(iterm.getvalue().split(":")[1].split("\x07")[0]) == picture.data
    silent = Terminal()
    show(picture, silent, "none")
    assert silent.getvalue() == ""
