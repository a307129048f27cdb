"""What an agent is asked, what it answers, and a run in between that hasn't begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langgraph.graph.state import CompiledStateGraph

from duogen.agent.review import Proposal, proposal
from duogen.agent.state import RunState, without
from duogen.agent.store import Store, attach_all
from duogen.document import Document, Picture
from duogen.errors import InputError
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings
from duogen.tools.image import MAX_REQUEST

MAX_PICTURES = 16


@dataclass(frozen=True)
class Plan:
    """An answer: the dialogue with its pictures.

    `reason`: why the run ended (see `Finished`); ``review``, where it hasn't, but waits for a decision about `proposal`.
    `run`: its id. `tokens`: how many the planner wrote. `trace`: the pictures that were rejected, each with ``picture`` (its number), ``sha256``, ``by`` and ``why``.
    """

    document: Document
    reason: str
    run: str = ""
    trace: tuple[dict[str, Any], ...] = ()
    tokens: int = 0
    proposal: Proposal | None = None

    @property
    def text(self) -> str:
        """The text of the last answer, without its pictures."""
        return self.document.messages[-1].text

    @property
    def pictures(self) -> list[Picture]:
        """The pictures of the last answer."""
        images = [part for part in self.document.messages[-1].content if part.type == "image"]
        return [self.document.picture(part) for part in images]

    def save(self, folder: str | Path) -> Path:
        """Writes ``plan.json``, the pictures, ``plan.md`` and ``plan.html``; returns the folder."""
        from duogen.tools.export import write_plan

        return write_plan(self.document, Path(folder))


@dataclass(frozen=True)
class PlanRequest:
    """One of many requests; the fields mean what the arguments of `Agent.plan` do."""

    request: str | Sequence[str | Picture]
    images: Sequence[Picture | str | Path] = ()
    after: Document | None = None
    folder: str | Path | None = None
    run: str | None = None
    settings: PaintSettings | None = None
    decode: DecodeSettings | None = None
    max_pictures: int = MAX_PICTURES
    max_seconds: float | None = None
    max_tokens: int | None = None
    self_check: int = 0

    def document(self) -> Document:
        """The dialogue up to this request, and with it.

        Raises:
            InputError: it is empty or endless, or a picture can't be read.
        """
        document = Document() if self.after is None else self.after.branch()
        parts = [self.request] if isinstance(self.request, str) else self.request
        checked("".join(part for part in parts if isinstance(part, str)))
        document.add_interleaved([*map(as_picture, self.images), *parts])
        return document


@dataclass(frozen=True)
class Prepared:
    """A run that hasn't begun, for a host that drives LangGraph itself.

    `graph.stream(state, config, stream_mode=...)` runs it; the graph's last state makes a `Plan`.
    """

    graph: CompiledStateGraph[RunState, None, RunState, RunState]
    state: RunState
    config: Any
    store: Store = field(repr=False)

    def plan(self, state: dict[str, Any] | RunState) -> Plan:
        """The answer that a state of this graph holds."""
        document = attach_all(Document.model_validate(state["document"]), self.store)
        asked = state.get("__interrupt__")
        waiting = None if not asked else proposal(asked[0].value, document)  # type: ignore[index]
        reason = "review" if waiting else state["reason"]
        finished = without(document, state["hidden"])
        return Plan(finished, reason, state["run"], tuple(state["trace"]), state["tokens"], waiting)


def before_picture(document: Document, picture: int, text: str | None = None) -> Document:
    """A document as it was before picture number `picture`, from 1, of its last answer.

    Args:
        text: what the picture's step is to say instead, where it isn't blank.

    Raises:
        InputError: there is no such picture.
    """
    cut = document.branch()
    content = cut.messages[-1].content
    places = [index for index, part in enumerate(content) if part.type == "image"]
    if not 1 <= picture <= len(places):
        raise InputError(f"there is no picture {picture} in the last answer; it has {len(places)}")
    del content[places[picture - 1] :]
    if text is not None and text.strip():
        if content and content[-1].type == "text":
            content.pop()
        cut.add_text(text.strip())
    return cut


def checked(request: str) -> str:
    """A request that can be read; raises `InputError` where it is endless, or no text."""
    if len(request) > MAX_REQUEST:
        raise InputError(f"the request is {len(request):,} characters long; at most {MAX_REQUEST:,} are read")
    try:
        request.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the request isn't valid UTF-8 text ({error.reason})") from error
    return request


def as_picture(image: Picture | str | Path) -> Picture:
    """A picture, wherever it is; raises `InputError` where it can't be read."""
    return image if isinstance(image, Picture) else Picture.from_file(image)
