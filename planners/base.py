"""What the agent needs of a planner, whoever writes behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from duogen.document import Document


@dataclass(frozen=True)
class Draft:
    """One piece of text.

    `stop` tells what comes next: a ``picture`` is due; the answer is at its ``end``; or the text was cut off at its
    ``length`` limit or for ``repetition``.
    """

    text: str
    stop: Literal["picture", "end", "length", "repetition"]


class Planner(Protocol):
    """Writes the next piece of an answer."""

    def draft(self, run: str, document: Document, on_text: Callable[[str], None]) -> Draft:
        """The text up to the next picture or the end.

        Args:
            run: whose dialogue this is; a planner may keep its state between calls under this name.
            document: everything so far, with an open assistant turn at the end.
            on_text: called with each new piece of text as it is written.
        """
