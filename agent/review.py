"""What a person, or a host application, decides about a step before its picture is painted, and about the picture after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from duogen.agent.state import RunState
from duogen.document import Document, ImagePart, Picture, TextPart
from duogen.errors import InputError, first_fault
from duogen.tools.look import due

Action = Literal["accept", "repaint", "edit", "insert", "delete", "stop"]


class Decision(BaseModel):
    """What is to be done.

    ``accept``: go on. ``repaint``: paint the picture again, with `seed`, or with the next one. ``edit``: let the step say `text`,
    and paint it. ``insert``: a step that says `text`, before the one that is about to be painted, or behind the one that has been.
    ``delete``: leave the step away; the model goes on as if it had changed nothing. ``stop``: end the plan here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    action: Action = "accept"
    text: str | None = Field(None, max_length=20_000)
    seed: int | None = Field(None, ge=0, le=2**63 - 1)

    @model_validator(mode="after")
    def _says_what(self) -> Decision:
        if self.action in ("edit", "insert") and not (self.text or "").strip():
            raise ValueError(f"{self.action} needs the step's text")
        return self


@dataclass(frozen=True)
class Proposal:
    """What is asked about.

    `when`: ``before`` a picture is painted, or ``after``. `index`: the picture's number in this answer, from 1. `text`: the
    step that it shows. `picture`: what has been painted, after. `actions`: what may be decided. `document`: everything so far.
    """

    when: Literal["before", "after"]
    index: int
    text: str
    picture: Picture | None
    actions: tuple[Action, ...]
    document: Document


Reviewer = Callable[[Proposal], Decision]


def question(state: RunState) -> dict[str, Any]:
    """What the graph's interrupt says: a `Proposal` as JSON, its picture by path and hash, without the document."""
    document = Document.model_validate(state["document"])
    said = state["calls"][0]["instruction"] if state["calls"] else ""
    if state["next"] == "review_step":
        # Without a picture before it there is nothing that a deleted step could have left as it was.
        actions = ["accept", "edit", "insert", *(["delete"] if document.images else []), "stop"]
        return {
            "when": "before", "index": state["painted"] + 1, "text": said or due(document), "picture": None,
            "actions": actions,
        }  # fmt: skip
    part = document.messages[-1].content.pop()
    assert isinstance(part, ImagePart)
    actions = ["accept", "repaint", "edit", "insert", "delete", "stop"]
    return {
        "when": "after", "index": state["painted"], "text": said or due(document), "picture": part.model_dump(),
        "actions": actions,
    }  # fmt: skip


def proposal(question: dict[str, Any], document: Document) -> Proposal:
    """An interrupt's value with what it speaks of."""
    picture = None
    if question["picture"] is not None:
        picture = document.picture(ImagePart.model_validate(question["picture"]))
    return Proposal(
        question["when"], question["index"], question["text"], picture, tuple(question["actions"]), document
    )


def decision(answer: Any, actions: list[str]) -> Decision:
    """A decision that was handed in from outside.

    Raises:
        InputError: it isn't one, or not one of those that may be taken here.
    """
    try:
        made = answer if isinstance(answer, Decision) else Decision.model_validate(answer)
    except ValidationError as error:
        raise InputError(first_fault(error, "decision")) from error
    if made.action not in actions:
        raise InputError(f"{made.action} can't be decided here; {', '.join(actions)} can")
    return made


def onward(state: RunState) -> dict[str, Any]:
    """Where a run goes when a picture is done: to the next one that was called for, else to the planner."""
    calls = state["calls"][1:]
    after: dict[str, Any] = {"calls": calls, "attempt": 0, "seed": None, "next": "draft"}
    if calls:
        after["next"] = "review_step" if state["review"] else "paint"
    return after


def decided(state: RunState, made: Decision) -> dict[str, Any]:
    """What a decision changes in a run's state."""
    document = Document.model_validate(state["document"])
    content = document.messages[-1].content
    before = state["next"] == "review_step"
    if made.action == "stop":
        return {"next": "finish", "reason": "stopped"}
    if made.action == "accept":
        return {"next": "paint"} if before else onward(state)
    if made.action == "insert":
        return _inserted(state, document, made.text or "", before)
    if made.action == "delete":
        return onward(state) | _deleted(state, document, before)
    changes: dict[str, Any] = {"next": "paint", "attempt": state["attempt"] + 1, "seed": made.seed}
    if not before:
        rejected = content.pop()
        assert isinstance(rejected, ImagePart)
        note = {"picture": state["painted"], "sha256": rejected.sha256, "by": "review", "why": made.action}
        changes |= {"painted": state["painted"] - 1, "trace": [*state["trace"], note]}
    if made.action == "edit":
        changes["attempt"] = 0
        if state["calls"]:
            changes["calls"] = [state["calls"][0] | {"instruction": made.text}, *state["calls"][1:]]
        else:
            _pop_text(content)
            content.append(TextPart(text=made.text or ""))
    return changes | {"document": document.model_dump()}


def _inserted(state: RunState, document: Document, text: str, before: bool) -> dict[str, Any]:
    """Another step, before the one that waits to be painted or behind the one that has been."""
    if state["calls"]:
        references = [part.sha256 for part in document.images[-1:]]
        document.add_text(text)
        rest = state["calls"] if before else state["calls"][1:]
        calls = [{"instruction": text, "references": references}, *rest]
        return {"document": document.model_dump(), "calls": calls, "attempt": 0, "seed": None, "next": "paint"}
    if not before:
        return onward(state) | {"queue": [text, *state["queue"]]}
    waiting = _pop_text(document.messages[-1].content)
    document.add_text(text)
    return {"document": document.model_dump(), "queue": [waiting, *state["queue"]], "next": "paint"}


def _pop_text(content: list[TextPart | ImagePart]) -> str:
    """Takes the text of the step at the end away, if it has one."""
    if content and isinstance(content[-1], TextPart):
        part = content.pop()
        assert isinstance(part, TextPart)
        return part.text
    return ""


def _deleted(state: RunState, document: Document, before: bool) -> dict[str, Any]:
    """The step at the end stays where the models see it, but with the picture before it as its own: it has changed nothing."""
    content, painted, trace = document.messages[-1].content, state["painted"], state["trace"]
    if not before:
        painted -= 1
        rejected = content.pop()
        assert isinstance(rejected, ImagePart)
        earlier = document.images
        content.append(earlier[-1] if earlier else rejected)
        trace = [*trace, {"picture": painted + 1, "sha256": rejected.sha256, "by": "review", "why": "delete"}]
    else:
        content.append(document.images[-1])
    first = len(content) - 1
    if first and isinstance(content[first - 1], TextPart):
        first -= 1
    hidden = [*state["hidden"], *range(first, len(content))]
    return {"document": document.model_dump(), "painted": painted, "hidden": hidden, "trace": trace}
