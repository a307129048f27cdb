"""How far an evaluation has come, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def progress(what: str, every: int) -> Callable[[int, int], None]:
    """Tells how many of how many `what` are done, and how long the others will take: on one line of a terminal, else every so often."""
    began = time.monotonic()

    def show(done: int, of: int) -> None:
        if sys.stderr.isatty() or done % every == 0:
            left = (time.monotonic() - began) / done * (of - done)
            end = "\r" if sys.stderr.isatty() else "\n"
            print(f"{done}/{of} {what}, {left:.0f} s left ", end=end, file=sys.stderr)

    return show
