"""What a run is at any moment, as JSON: every checkpointer can keep it, and every part of it can be looked at."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from duogen.document import Document


class RunState(TypedDict):
    """A run between two nodes of the graph.

    `document`: the dialogue, as ``Document.model_dump()``, its last turn the assistant's. `settings`: of `PaintSettings`.
    `max_pictures`, `max_seconds`, `max_tokens`: the budget; `painted`, `seconds`, `tokens`: what is used of it.

    `self_check`: how often a picture is painted again at most when the model, looking at it, doesn't find what it should
    show; 0 leaves the look away. `review`: whether the graph interrupts before and after each picture.

    `attempt`, `seed`: of a picture that a reviewer wants painted again. `queue`: texts of steps that come before anything the
    planner writes. `calls`: of `ImageCall`, the pictures that are due, where the planner said what they show. `hidden`: indices of
    the answer's parts that were deleted: the models go on seeing them, so as to go on behind them; the finished document
    doesn't. `trace`: what was rejected, by whom, and why.

    `next`: the node that comes next. `reason`: why the run ended.
    """

    run: str
    document: dict[str, Any]
    settings: dict[str, Any]
    max_pictures: int
    max_seconds: float | None
    max_tokens: int | None
    self_check: int
    review: bool
    painted: int
    seconds: float
    tokens: int
    attempt: int
    seed: int | None
    queue: list[str]
    calls: list[dict[str, Any]]
    hidden: list[int]
    trace: list[dict[str, Any]]
    next: Literal["draft", "review_step", "paint", "review_picture", "finish"]
    reason: str


def initial_state(
    run: str,
    document: Document,
    settings: dict[str, Any],
    *,
    max_pictures: int,
    max_seconds: float | None = None,
    max_tokens: int | None = None,
    self_check: int = 0,
    review: bool = False,
) -> RunState:
    """The state of a run that hasn't begun; `document` ends with the request."""
    begun = document.branch()
    begun.add_message("assistant")
    return RunState(
        run=run, document=begun.model_dump(), settings=settings, max_pictures=max_pictures, max_seconds=max_seconds,
        max_tokens=max_tokens, self_check=self_check, review=review, painted=0, seconds=0.0, tokens=0, attempt=0, seed=None,
        queue=[], calls=[], hidden=[], trace=[], next="draft", reason="",
    )  # fmt: skip


def without(document: Document, hidden: list[int]) -> Document:
    """A document without some parts of its last turn."""
    kept = document.branch()
    last = kept.messages[-1]
    last.content = [part for index, part in enumerate(last.content) if index not in hidden]
    return kept
