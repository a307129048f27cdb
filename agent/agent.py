"""The agent that everything else talks to: Python, the command line, batches and servers all run this."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from duogen.agent.events import Event, OnEvent
from duogen.agent.graph import build_graph
from duogen.agent.plan import MAX_PICTURES, Plan, PlanRequest, Prepared, as_picture, before_picture, checked
from duogen.agent.review import Decision, Reviewer, decision
from duogen.agent.runs import Note, RunFolder, new_note
from duogen.agent.state import RunState, initial_state
from duogen.agent.store import FolderStore, MemoryStore, Store
from duogen.document import Document, Picture
from duogen.errors import DuoGenError, InputError
from duogen.models.layout import lay_out, turns_of
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings
from duogen.models.sessions import SessionPool
from duogen.planners.base import Planner, PlannerFactory
from duogen.planners.native import NativePlanner
from duogen.tools.image import Drawn, ImageRequest, ImageTool
from duogen.tools.look import LookTool

RECURSION_LIMIT = 10_000
"""Of LangGraph's, in steps of the graph; its own is for far shorter runs."""


class Agent:
    """Plans, draws and edits with one pipeline.

    Not thread-safe: call it from one thread. Many requests at a time are for `plan_many`; `duogen.agent.worker.Worker` takes
    them from asyncio.

    Args:
        planner: writes the text of plans, or makes what does; the pipeline's own MLLM, where it is None.
    """

    def __init__(self, pipeline: DuoGenPipeline, planner: Planner | PlannerFactory | None = None) -> None:
        self.pipeline, self.planner = pipeline, planner
        self.sessions = SessionPool(pipeline)

    def plan(
        self,
        request: str | Sequence[str | Picture],
        images: Iterable[Picture | str | Path] = (),
        *,
        on_event: OnEvent | None = None,
        after: Document | None = None,
        folder: str | Path | None = None,
        run: str | None = None,
        settings: PaintSettings | None = None,
        decode: DecodeSettings | None = None,
        max_pictures: int = MAX_PICTURES,
        max_seconds: float | None = None,
        max_tokens: int | None = None,
        self_check: int = 0,
        review: Reviewer | Literal["pause"] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Plan:
        """Answers a request with text and pictures.

        Args:
            request: a text, or texts and pictures in the order in which they are meant.
            images: pictures that come before the request's text, as paths or `Picture`s.
            on_event: is told everything as it happens.
            after: an earlier dialogue that the request follows up on.
            folder: keep the run there, resumable, from the start; without it nothing is written.
            run: an id for it; a new one, where it is None.
            max_pictures, max_seconds, max_tokens: the budget; where it ends the plan does, with what there is.
            self_check: look at each picture, and paint it again up to so many times where it doesn't show what it should.
            review: is asked for a decision before and after each picture. With ``pause`` the plan is returned there, with a
                `proposal`, and `resume` takes the decision; that needs a folder.
            stopping: asked after each token and each denoising step; with True the plan ends there, with what there is.

        Raises:
            InputError: an empty or endless request, an unreadable picture, a folder that is in use or can't be written.
        """
        if review == "pause" and folder is None:
            raise InputError("a review that pauses needs a folder to keep the run in")
        asked = PlanRequest(
            request, list(images), after, folder, run, settings, decode, max_pictures, max_seconds, max_tokens, self_check,
        )  # fmt: skip
        # A run that nobody interrupts and that isn't kept needs no checkpoints.
        saver = InMemorySaver() if folder is None and review is not None else None
        prepared = self.prepare(
            asked, checkpointer=saver, on_event=on_event, review=review is not None, stopping=stopping
        )
        if folder is None:
            return self._run(prepared, prepared.state, review)
        return self._begin_in(RunFolder(folder), prepared, decode, review)

    def prepare(
        self,
        request: str | PlanRequest,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        on_event: OnEvent | None = None,
        review: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Prepared:
        """The graph of a run and the state that it begins from, for a host that streams it, or makes it part of a graph of its own.

        LangGraph's stream modes all work: ``custom`` has the events, ``messages`` the text token by token, ``updates``, ``values``,
        ``tasks`` and ``debug`` the states. Pictures lie in the request's folder, or in memory.

        Args:
            checkpointer: LangGraph's; a review needs one.
            review: whether the graph interrupts before and after each picture.

        Raises:
            InputError: as `plan` does.
        """
        asked = PlanRequest(request) if isinstance(request, str) else request
        paint = asked.settings or PaintSettings()
        self._check_size(paint)
        document, run = asked.document(), asked.run or uuid.uuid4().hex[:12]
        store: Store = MemoryStore()
        if asked.folder is not None:
            kept = RunFolder(asked.folder)
            if asked.after is None and kept.folder.is_dir() and not kept.free:
                raise InputError(f"{asked.folder}: the folder isn't empty; choose another, or continue the plan in it")
            earlier = kept.note() if asked.after is not None and kept.hidden.is_dir() else None
            # A follow-up belongs to the run that it follows up on.
            run = run if earlier is None else earlier.id
            kept.create()
            store = FolderStore(kept.folder)
        for part in document.images:
            store.put(document.picture(part))
        state = initial_state(
            run, document, paint.model_dump(mode="json"), max_pictures=asked.max_pictures, max_seconds=asked.max_seconds,
            max_tokens=asked.max_tokens, self_check=asked.self_check, review=review,
        )  # fmt: skip
        return self._prepared(state, store, checkpointer, asked.decode, on_event, stopping)

    def revise(
        self,
        folder: str | Path,
        picture: int,
        text: str | None = None,
        *,
        attempt: int = 1,
        on_event: OnEvent | None = None,
        review: Reviewer | Literal["pause"] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Plan:
        """Takes a finished plan up again at a picture of its last answer: paints it once more, and goes on from there.

        What came behind that picture is left away, since it was built on it.

        Args:
            picture: its number, from 1.
            text: what its step is to say instead.
            attempt: another number paints another picture; 0 is the one that was painted first.

        Raises:
            InputError: no finished plan there, or no such picture.
        """
        kept = RunFolder(folder)
        note = kept.note()
        if note is None or note.status != "finished":
            raise InputError(f"{folder}: the plan isn't finished; continue it first")
        document = before_picture(Document.load(folder), picture, text)
        began: Any = note.state
        state: Any = began | {
            "document": document.model_dump(), "painted": picture - 1, "attempt": attempt, "next": "paint",
            "review": review is not None,
        }  # fmt: skip
        decode = DecodeSettings.model_validate(note.decode)
        prepared = self._prepared(state, FolderStore(kept.folder), None, decode, on_event, stopping)
        return self._begin_in(kept, prepared, decode, review)

    def _begin_in(
        self,
        kept: RunFolder,
        prepared: Prepared,
        decode: DecodeSettings | None,
        review: Reviewer | Literal["pause"] | None,
    ) -> Plan:
        """Runs a graph from its beginning, kept in a folder."""
        with kept.locked():
            state: Any = prepared.state
            chosen = (decode or DecodeSettings()).model_dump()
            note = new_note(state["run"], Document.model_validate(state["document"]), state, chosen)
            kept.forget_checkpoints()  # of the run before
            kept.write(note)
            return self._run_in(kept, note, prepared, state, review)

    def plan_many(
        self,
        requests: Iterable[str | PlanRequest],
        *,
        at_once: int = 32,
        on_event: Callable[[int, Event], None] | None = None,
        on_done: Callable[[int, Plan | DuoGenError], None] | None = None,
    ) -> list[Plan | DuoGenError]:
        """Answers many requests, `at_once` of them at a time, which takes less time than one after the other.

        What the plans do alike at the moment, reading new text or painting pictures of one size, is done for all of them in
        one go. The pictures are those of `plan`, up to rounding: sums are taken in another order.

        Args:
            on_event: is told everything as it happens, with the request's index; from several threads.
            on_done: is told each plan or error as it comes.

        Returns:
            For each request its plan, or the error that ended it.
        """
        asked = [PlanRequest(request) if isinstance(request, str) else request for request in requests]

        def job(index: int, request: PlanRequest) -> Callable[[], Plan]:
            told = None if on_event is None else partial(on_event, index)
            options = {field.name: getattr(request, field.name) for field in fields(request)}
            return lambda: self.plan(on_event=told, **options)

        results: dict[int, Plan | DuoGenError] = {}
        for index, plan, error in self.together(list(starmap(job, enumerate(asked))), at_once):
            if error is not None and not isinstance(error, DuoGenError):
                raise error
            results[index] = plan or error  # type: ignore[assignment]
            if on_done is not None:
                on_done(index, results[index])
        return [results[index] for index in range(len(asked))]

    def together(
        self, jobs: Sequence[Callable[[], Plan]], at_once: int
    ) -> Iterator[tuple[int, Plan | None, Exception | None]]:
        """Calls of `plan`, `resume` and `revise`, in threads of their own, with their work in groups as in `plan_many`.

        Yields:
            A job's index, and its plan or the error that ended it, as they end.
        """
        kept, self.sessions.limit = self.sessions.limit, max(self.sessions.limit, at_once)
        try:
            yield from self.pipeline.batcher.each(jobs, at_once)
        finally:
            self.sessions.limit = kept

    def resume(
        self,
        folder: str | Path,
        request: str | None = None,
        images: Iterable[Picture | str | Path] = (),
        *,
        on_event: OnEvent | None = None,
        review: Reviewer | Literal["pause"] | None = None,
        made: Decision | None = None,
        stopping: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> Plan:
        """Goes on with a plan's folder: finishes an interrupted run, or follows up on a finished one.

        Args:
            made: the decision that a run waits for. Without it, `review` is asked; without either, the plan comes back as it is.
            options: of a follow-up; those of `plan`.

        Raises:
            InputError: nothing to resume and no request, a request while the run is unfinished, or no plan there.
        """
        kept = RunFolder(folder)
        if kept.unfinished is None:
            if request is None:
                raise InputError(f"{folder}: the plan is finished; add a request to follow up on it")
            return self.plan(
                request, images, on_event=on_event, after=Document.load(folder), folder=folder, review=review,
                stopping=stopping, **options,
            )  # fmt: skip
        if request is not None:
            raise InputError(f"{folder}: the plan isn't finished; continue it without a new request first")
        with kept.locked():
            note = kept.unfinished
            if note is None:
                raise InputError(f"{folder}: the plan has been finished meanwhile")
            state: Any = note.state
            decode = DecodeSettings.model_validate(note.decode)
            prepared = self._prepared(state, FolderStore(kept.folder), None, decode, on_event, stopping)
            return self._run_in(kept, note, prepared, made, review)

    def draw(self, instruction: str, settings: PaintSettings | None = None, **kwargs: Any) -> Drawn:
        """One picture from text, without a plan; see `ImageTool.call`."""
        return self.edit(instruction, [], settings, **kwargs)

    def edit(
        self,
        instruction: str,
        images: Iterable[Picture | str | Path],
        settings: PaintSettings | None = None,
        **kwargs: Any,
    ) -> Drawn:
        """One picture from text and given pictures, without a plan; see `ImageTool.call`."""
        settings = settings or PaintSettings()
        self._check_size(settings)
        references = [as_picture(image) for image in images]
        request = ImageRequest(instruction=checked(instruction), references=references, settings=settings)
        return ImageTool(self.sessions).call(request, **kwargs)

    def look(self, question: str, images: Iterable[Picture | str | Path], **kwargs: Any) -> str:
        """What the model answers to a question about pictures; see `plan` for the other arguments."""
        return self.plan(question, images, max_pictures=0, **kwargs).text

    def count_tokens(self, document: Document) -> int:
        """How many tokens the MLLM reads of a document, its pictures' with them."""
        turns = turns_of(document, self.pipeline.config.system_prompt, unseen=True)
        tape, _ = lay_out(turns, self.pipeline.processor, open_end=True)
        return len(tape.ids)

    def _prepared(
        self,
        state: RunState,
        store: Store,
        checkpointer: BaseCheckpointSaver[Any] | None,
        decode: DecodeSettings | None,
        on_event: OnEvent | None,
        stopping: Callable[[], bool],
    ) -> Prepared:
        planner = self.planner or NativePlanner
        if isinstance(planner, type) or not isinstance(planner, Planner):
            planner = planner(self.sessions, store.latent, decode)
        tool, look = ImageTool(self.sessions, store.latent), LookTool(self.pipeline)
        graph = build_graph(planner, tool, look, store, checkpointer, on_event, stopping)
        config = {"configurable": {"thread_id": state["run"]}, "recursion_limit": RECURSION_LIMIT}
        return Prepared(graph, state, config, store)

    def _run(self, prepared: Prepared, given: Any, review: Reviewer | Literal["pause"] | None) -> Plan:
        """Runs a graph to its end, or to where nobody can decide; `given` is its first state, a `Command`, or None to go on."""
        durability: Literal["sync"] | None = "sync" if prepared.graph.checkpointer else None
        try:
            while True:
                plan = prepared.plan(prepared.graph.invoke(given, prepared.config, durability=durability))
                if plan.proposal is None or not callable(review):
                    return plan
                made = decision(review(plan.proposal), list(plan.proposal.actions))
                given = Command(resume=made.model_dump())
        finally:
            self.sessions.close(prepared.state["run"])

    def _run_in(
        self,
        kept: RunFolder,
        note: Note,
        prepared: Prepared,
        given: RunState | Decision | None,
        review: Reviewer | Literal["pause"] | None,
    ) -> Plan:
        """Runs a graph whose checkpoints are kept in a folder, from wherever they are, and writes the plan there when it ends."""
        with kept.checkpointer() as saver:
            prepared = replace(prepared, graph=prepared.graph.copy({"checkpointer": saver}))
            at = prepared.graph.get_state(prepared.config)
            if not at.values:
                # Killed before its first checkpoint, a run starts from the state that was noted.
                given = prepared.state
            elif at.interrupts:
                plan = prepared.plan(at.values | {"__interrupt__": at.interrupts})
                assert plan.proposal is not None
                if given is None and callable(review):
                    given = review(plan.proposal)
                if given is None:
                    return plan
                made = decision(given, list(plan.proposal.actions))
                given = Command(resume=made.model_dump())
            else:
                given = None
            plan = self._run(prepared, given, review)
        if plan.proposal is not None:
            kept.write(replace(note, status="review", pictures=len(plan.document.images), trace=plan.trace))
            return plan
        plan.save(kept.folder)
        # The run is over: its checkpoints have done their work, its latents serve a follow-up.
        done = replace(
            note, status="finished", reason=plan.reason, pictures=len(plan.document.images), trace=plan.trace
        )
        kept.write(done)
        kept.forget_checkpoints()
        return plan

    def _check_size(self, settings: PaintSettings) -> None:
        resolved = self.pipeline.resolve(settings)
        self.pipeline.latent_shape(resolved.width or 0, resolved.height or 0)
