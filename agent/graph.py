"""The graph: draft -> paint -> draft ... until the planner is done, with a stop for review on either side of `paint`.

Its state is JSON alone (`RunState`), so every checkpointer can keep it; sessions, weights and pictures stay outside. Each node
can be run again from its start after a crash and gives the same result: text and pictures depend on the state and its seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

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
from duogen.agent.messages import Telling
from duogen.agent.review import decided, decision, onward, question
from duogen.agent.state import RunState, without
from duogen.agent.store import Store, attach_all
from duogen.document import Document, TextPart
from duogen.errors import InputError
from duogen.models.sampler import PaintSettings
from duogen.planners.base import Draft, Planner
from duogen.tools.image import Drawn, ImageCall, ImageTool
from duogen.tools.look import LookTool

ENOUGH = 0.5
"""How likely a picture must show what it should, to the model itself, to be kept at once."""


class _HaltedError(Exception):
    """Ends a node where it is: the budget is used up, or the run was asked to stop."""


def build_graph(
    planner: Planner,
    tool: ImageTool,
    look: LookTool,
    store: Store,
    checkpointer: BaseCheckpointSaver[Any] | None,
    on_event: OnEvent | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> CompiledStateGraph[RunState, None, RunState, RunState]:
    """The agent's graph over a planner, the tools and a store for what they make.

    Args:
        on_event: is told everything as it happens, where the graph is invoked. It isn't needed where LangGraph streams
            ``custom`` events, which are the same. Then, however, the nodes run in threads of LangGraph's, and each of these
            brings up its own threads for the arithmetic: on two cores that made a plan take half as long again.
        stopping: is asked after each token and each denoising step; what it answers with True ends there, with the document as it
            is.
    """

    def teller() -> Callable[[Event], None]:
        write = get_stream_writer()

        def tell(event: Event) -> None:
            write(event)
            if on_event is not None:
                on_event(event)

        return tell

    def emitter(state: RunState) -> Callable[[Event], None]:
        tell, began = teller(), time.monotonic()

        def emit(event: Event) -> None:
            tell(event)
            if stopping():
                raise _HaltedError("stopped")
            if state["max_seconds"] is not None and state["seconds"] + time.monotonic() - began > state["max_seconds"]:
                raise _HaltedError("max_seconds")

        return emit

    def draft(state: RunState, config: RunnableConfig) -> dict[str, Any]:
        began, emit, document = time.monotonic(), emitter(state), _document(state, store)
        if state["queue"]:
            # What a reviewer wrote stands where the planner would have written.
            document.add_text(state["queue"][0])
            emit(TextDelta(state["queue"][0]))
            return {"document": document.model_dump(), "queue": state["queue"][1:], "next": "paint"}
        left = None if state["max_tokens"] is None else state["max_tokens"] - state["tokens"]
        if left is not None and left < 1:
            return {"next": "finish", "reason": "max_tokens"}
        said: list[str] = []
        try:
            with Telling(config, document) as telling:

                def on_text(text: str) -> None:
                    said.append(text)
                    telling(text)
                    emit(TextDelta(text))

                written = planner.draft(state["run"], document, on_text, left)
        except _HaltedError as halted:
            document.add_text("".join(said))
            return {"document": document.model_dump(), "next": "finish", "reason": str(halted)} | _used(state, began)
        document.add_text(written.text)
        after: dict[str, Any] = {"document": document.model_dump(), "tokens": state["tokens"] + written.tokens}
        after |= {"calls": [_as_json(call) for call in written.calls], **_used(state, began)}
        return after | _next(state, written, left)

    def paint(state: RunState) -> dict[str, Any]:
        began, emit, document = time.monotonic(), emitter(state), _document(state, store)
        index = state["painted"] + 1
        settings = PaintSettings.model_validate(state["settings"]).for_picture(len(document.images))
        settings = settings.for_attempt(state["attempt"] * (state["self_check"] + 1))
        if state["seed"] is not None:
            settings = settings.model_copy(update={"seed": state["seed"]})
        call = ImageCall(**state["calls"][0]) if state["calls"] else None
        attempts: list[tuple[float, Drawn]] = []
        trace = list(state["trace"])
        try:
            emit(PictureStarted(index, settings.seed))
            while not attempts or (attempts[-1][0] < ENOUGH and len(attempts) <= state["self_check"]):
                attempt = len(attempts)

                def on_step(step: int, steps: int) -> None:
                    emit(DenoisingStep(index, step, steps))

                again = settings.for_attempt(attempt)
                drawn = tool.paint(state["run"], document, again, on_step, call)
                chance = ENOUGH
                if state["self_check"]:
                    chance = look.shows(document, drawn.picture, None if call is None else call.instruction)
                    if chance < ENOUGH:
                        trace.append(
                            {"picture": index, "sha256": drawn.picture.sha256, "by": "self-check", "why": chance}
                        )
                attempts.append((chance, drawn))
                if state["self_check"]:
                    emit(PictureChecked(index, attempt, chance, chance >= ENOUGH, drawn.picture))
        except _HaltedError as halted:
            return {"next": "finish", "reason": str(halted)} | _used(state, began)
        _, drawn = max(attempts, key=lambda made: made[0])
        if call is None:
            tool.keep(state["run"], document, drawn)
        store.put(drawn.picture, drawn.latent)
        part = document.add_picture(drawn.picture, alt=_caption(document) if call is None else call.instruction)
        done = {"document": document.model_dump(), "painted": index, "trace": trace, **_used(state, began)}
        try:
            emit(PictureDone(index, part, drawn.picture, drawn.seconds))
        except _HaltedError as halted:
            return done | {"next": "finish", "reason": str(halted)}
        return done | ({"next": "review_picture"} if state["review"] else onward(state))

    def review(state: RunState) -> dict[str, Any]:
        asked: dict[str, Any] = question(state)
        while True:
            try:
                made = decision(interrupt(asked), asked["actions"])
            except InputError as error:
                asked = asked | {"error": str(error)}
            else:
                return decided(state, made)

    def finish(state: RunState) -> dict[str, Any]:
        teller()(Finished(state["reason"], state["painted"]))
        document = without(_document(state, store), state["hidden"])
        return {"document": document.model_dump(), "hidden": []}

    graph = StateGraph(RunState)
    # Partials: LangGraph reads the bytecode of plain functions, in search of graphs that they call, for 2 ms each.
    for name, node in (("draft", partial(draft)), ("paint", partial(paint)), ("review", partial(review))):
        graph.add_node(name, node)
        graph.add_conditional_edges(name, _node, ["draft", "paint", "review", "finish"])
    graph.add_node("finish", partial(finish))
    # A run that takes up an earlier answer may begin with a picture.
    graph.add_conditional_edges(START, _node, ["draft", "paint"])
    graph.add_edge("finish", END)
    return graph.compile(checkpointer=checkpointer)


def _node(state: RunState) -> str:
    return "review" if state["next"] in ("review_step", "review_picture") else state["next"]


def _next(state: RunState, written: Draft, left: int | None) -> dict[str, Any]:
    """Where a run goes when the planner has written."""
    reason: str = written.stop
    if written.stop == "length" and left is not None and written.tokens >= left:
        reason = "max_tokens"
    elif written.stop == "picture":
        if state["painted"] < state["max_pictures"]:
            return {"next": "review_step" if state["review"] else "paint", "attempt": 0, "seed": None}
        reason = "max_pictures"
    return {"next": "finish", "reason": reason}


def _used(state: RunState, began: float) -> dict[str, Any]:
    return {"seconds": state["seconds"] + time.monotonic() - began}


def _as_json(call: ImageCall) -> dict[str, Any]:
    return {"instruction": call.instruction, "references": list(call.references)}


def _document(state: RunState, store: Store) -> Document:
    return attach_all(Document.model_validate(state["document"]), store)


def _caption(document: Document) -> str:
    """What a new picture shows, in words: the last line written before it, or else the last request."""
    for message in reversed(document.messages):
        texts = [part.text.strip() for part in message.content if isinstance(part, TextPart) and part.text.strip()]
        if texts:
            return texts[-1].splitlines()[-1]
    return ""
