"""The graph: draft -> paint -> draft ... until the planner is done.

Its state is JSON alone (the document, counters, settings), so every checkpointer can keep it; sessions, weights and
pictures stay outside. Each node can be run again from its start after a crash and gives the same result: text and
pictures depend on the state and its seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from duogen.agent.events import (
    DenoisingStep,
    Event,
    Finished,
    OnEvent,
    PictureChecked,
    PictureDone,
    PictureStarted,
    TextDelta,
)
from duogen.agent.store import Store, attach_all
from duogen.document import Document, TextPart
from duogen.models.sampler import PaintSettings
from duogen.planners.base import Planner
from duogen.tools.image import Drawn, ImageTool
from duogen.tools.look import LookTool

ENOUGH = 0.5
"""How likely a picture must show what it should, to the model itself, to be kept at once."""


class RunState(TypedDict):
    """What a run is at any moment.

    `document`: the dialogue, as ``Document.model_dump()``, its last turn the assistant's. `next`: ``draft``, ``paint``
    or ``done``. `painted`: pictures of this answer so far. `reason`: why the run ended. `repaints`: how often a picture is
    painted again at most when the model, looking at it, doesn't find what it should show; 0 leaves the look away.
    """

    run: str
    document: dict[str, Any]
    settings: dict[str, Any]
    max_pictures: int
    painted: int
    repaints: int
    next: Literal["draft", "paint", "done"]
    reason: str


def build_graph(
    planner: Planner,
    tool: ImageTool,
    look: LookTool,
    store: Store,
    checkpointer: BaseCheckpointSaver[Any],
    on_event: OnEvent | None = None,
) -> CompiledStateGraph[RunState, None, RunState, RunState]:
    """The agent's graph over a planner, the tools and a store for what they make.

    Args:
        on_event: is told everything as it happens, where the graph is invoked. It isn't needed where LangGraph streams
            ``custom`` events, which are the same. Then, however, the nodes run in threads of LangGraph's, and each of these
            brings up its own threads for the arithmetic: on two cores that made a plan take half as long again.
    """

    def emitter() -> Callable[[Event], None]:
        write = get_stream_writer()

        def emit(event: Event) -> None:
            write(event)
            if on_event is not None:
                on_event(event)

        return emit

    def draft(state: RunState) -> dict[str, Any]:
        emit = emitter()
        document = _document(state, store)
        written = planner.draft(state["run"], document, lambda text: emit(TextDelta(text)))
        document.add_text(written.text)
        after: dict[str, Any] = {"document": document.model_dump(), "next": "paint", "reason": ""}
        if written.stop != "picture":
            after |= {"next": "done", "reason": written.stop}
        elif state["painted"] >= state["max_pictures"]:
            after |= {"next": "done", "reason": "max_pictures"}
        return after

    def paint(state: RunState) -> dict[str, Any]:
        emit = emitter()
        document, index = _document(state, store), state["painted"] + 1
        settings = PaintSettings.model_validate(state["settings"]).for_picture(len(document.images))
        emit(PictureStarted(index, settings.seed))
        attempts: list[tuple[float, Drawn]] = []
        while not attempts or (attempts[-1][0] < ENOUGH and len(attempts) <= state["repaints"]):
            attempt = len(attempts)
            drawn = tool.paint(
                state["run"], document, settings.for_attempt(attempt),
                lambda step, steps: emit(DenoisingStep(index, step, steps)),
            )  # fmt: skip
            chance = look.shows(document, drawn.picture) if state["repaints"] else ENOUGH
            attempts.append((chance, drawn))
            if state["repaints"]:
                emit(PictureChecked(index, attempt, chance, chance >= ENOUGH, drawn.picture))
        _, drawn = max(attempts, key=lambda made: made[0])
        tool.keep(state["run"], document, drawn)
        store.put(drawn.picture, drawn.latent)
        part = document.add_picture(drawn.picture, alt=_caption(document))
        emit(PictureDone(index, part, drawn.seconds))
        return {"document": document.model_dump(), "painted": index, "next": "draft"}

    def finish(state: RunState) -> dict[str, Any]:
        emitter()(Finished(state["reason"], state["painted"]))
        return {}

    graph = StateGraph(RunState)
    graph.add_node("draft", draft)
    graph.add_node("paint", paint)
    graph.add_node("finish", finish)
    graph.add_edge(START, "draft")
    graph.add_conditional_edges("draft", lambda state: state["next"], {"paint": "paint", "done": "finish"})
    graph.add_edge("paint", "draft")
    graph.add_edge("finish", END)
    return graph.compile(checkpointer=checkpointer)


def _document(state: RunState, store: Store) -> Document:
    return attach_all(Document.model_validate(state["document"]), store)


def _caption(document: Document) -> str:
    """What a new picture shows, in words: the last line written before it, or else the last request."""
    for message in reversed(document.messages):
        texts = [part.text.strip() for part in message.content if isinstance(part, TextPart) and part.text.strip()]
        if texts:
            return texts[-1].splitlines()[-1]
    return ""
