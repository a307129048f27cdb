"""What the agent needs of a planner, whoever writes behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from duogen.document import Document
from duogen.models.session import DecodeSettings
from duogen.models.sessions import LatentOf, SessionPool
from duogen.tools.image import ImageCall


@dataclass(frozen=True)
class Draft:
    """One piece of text.

    `stop` tells what comes next: a ``picture`` is due; the answer is at its ``end``; or the text was cut off at its
    ``length`` limit or for ``repetition``. `tokens`: how many were written.

    `calls`: the pictures that are due, one after the other, where the planner says in words what each is to show. Where it says
    nothing, one picture is due, and painted from the whole dialogue.
    """

    text: str
    stop: Literal["picture", "end", "length", "repetition"]
    tokens: int = 0
    calls: tuple[ImageCall, ...] = ()


@runtime_checkable
class Planner(Protocol):
    """Writes the next piece of an answer."""

    def draft(
        self, run: str, document: Document, on_text: Callable[[str], None], max_tokens: int | None = None
    ) -> Draft:
        """The text up to the next picture or the end.

        Args:
            run: whose dialogue this is; a planner may keep its state between calls under this name.
            document: everything so far, with an open assistant turn at the end.
            on_text: called with each new piece of text as it is written. What it raises ends the call.
            max_tokens: what is left of the run's budget, where it has one.
        """


PlannerFactory = Callable[[SessionPool, LatentOf, DecodeSettings | None], Planner]
"""Makes the planner of one run, for planners that share the image tool's sessions; `NativePlanner` is one."""
