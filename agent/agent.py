"""The agent that everything else talks to: Python, the command line, batches and servers all run this."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from duogen.agent.events import Event, OnEvent
from duogen.agent.graph import build_graph
from duogen.agent.store import HIDDEN, FolderStore, MemoryStore, Store, attach_all
from duogen.document import PLAN_FILE, Document, Picture, write_atomically
from duogen.errors import DuoGenError, InputError
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings
from duogen.models.sessions import SessionPool
from duogen.planners.native import NativePlanner
from duogen.tools.image import MAX_REQUEST, Drawn, ImageRequest, ImageTool
from duogen.tools.look import LookTool

MAX_PICTURES = 16


@dataclass(frozen=True)
class Plan:
    """A finished answer: the dialogue with its pictures. `reason` tells why the run ended (see `Finished`)."""

    document: Document
    reason: str

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

    request: str
    images: Sequence[Picture | str | Path] = ()
    after: Document | None = None
    folder: str | Path | None = None
    settings: PaintSettings | None = None
    decode: DecodeSettings | None = None
    max_pictures: int = MAX_PICTURES
    self_check: int = 0


class Agent:
    """Plans, draws and edits with one pipeline.

    Not thread-safe: call it from one thread. Many requests at a time are for `plan_many`.
    """

    def __init__(self, pipeline: DuoGenPipeline) -> None:
        self.pipeline = pipeline
        self.sessions = SessionPool(pipeline)

    def plan(
        self,
        request: str,
        images: Iterable[Picture | str | Path] = (),
        *,
        on_event: OnEvent | None = None,
        after: Document | None = None,
        folder: str | Path | None = None,
        settings: PaintSettings | None = None,
        decode: DecodeSettings | None = None,
        max_pictures: int = MAX_PICTURES,
        self_check: int = 0,
    ) -> Plan:
        """Answers a request with text and pictures.

        Args:
            images: pictures that come with the request, as paths or `Picture`s.
            on_event: is told everything as it happens.
            after: an earlier dialogue that the request follows up on.
            folder: keep the run there, resumable, from the start; without it nothing is written.
            self_check: look at each picture, and paint it again up to so many times where it doesn't show what it should.

        Raises:
            InputError: an empty or endless request, an unreadable picture, a folder that is in use or can't be written.
        """
        paint = settings or PaintSettings()
        self._check_size(paint)
        document = Document() if after is None else after.branch()
        document.add_request(_checked(request), [_picture(image) for image in images])
        document.add_message("assistant")
        run = uuid.uuid4().hex
        if folder is not None and after is None and Path(folder).is_dir() and any(Path(folder).iterdir()):
            raise InputError(f"{folder}: the folder isn't empty; choose another, or continue the plan in it")
        store: Store = MemoryStore() if folder is None else FolderStore(_new_folder(Path(folder)))
        for part in document.images:
            store.put(document.picture(part))
        state = {
            "run": run,
            "document": document.model_dump(),
            "settings": paint.model_dump(),
            "max_pictures": max_pictures,
            "painted": 0,
            "repaints": self_check,
            "next": "draft",
            "reason": "",
        }
        if folder is not None:
            note = {"run": run, "decode": (decode or DecodeSettings()).model_dump(), "state": state}
            write_atomically(Path(folder) / HIDDEN / "run.json", json.dumps(note).encode())
        with _checkpointer(folder) as saver:
            return self._run(state, run, store, saver, decode, on_event, folder)

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
        kept, self.sessions.limit = self.sessions.limit, max(self.sessions.limit, at_once)
        try:
            for index, plan, error in self.pipeline.batcher.each(list(starmap(job, enumerate(asked))), at_once):
                if error is not None and not isinstance(error, DuoGenError):
                    raise error
                results[index] = plan or error  # type: ignore[assignment]
                if on_done is not None:
                    on_done(index, results[index])
        finally:
            self.sessions.limit = kept
        return [results[index] for index in range(len(asked))]

    def resume(
        self,
        folder: str | Path,
        request: str | None = None,
        images: Iterable[Picture | str | Path] = (),
        *,
        on_event: OnEvent | None = None,
        settings: PaintSettings | None = None,
        decode: DecodeSettings | None = None,
        max_pictures: int = MAX_PICTURES,
        self_check: int = 0,
    ) -> Plan:
        """Goes on with a plan's folder: finishes an interrupted run, or follows up on a finished one.

        Raises:
            InputError: nothing to resume and no request, a request while the run is unfinished, or no plan there.
        """
        folder = Path(folder)
        unfinished = self.unfinished(folder)
        if unfinished is not None:
            if request is not None:
                raise InputError(f"{folder}: the plan isn't finished; continue it without a new request first")
            with _checkpointer(folder) as saver:
                kept = DecodeSettings.model_validate(unfinished["decode"])
                run, store = unfinished["run"], FolderStore(folder)
                # Killed before its first checkpoint, a run starts from the state that was noted.
                known = saver.get_tuple({"configurable": {"thread_id": run}}) is not None
                return self._run(None if known else unfinished["state"], run, store, saver, kept, on_event, folder)
        if request is None:
            raise InputError(f"{folder}: the plan is finished; add a request to follow up on it")
        document = Document.load(folder)
        return self.plan(
            request, images, on_event=on_event, after=document, folder=folder, settings=settings, decode=decode,
            max_pictures=max_pictures, self_check=self_check,
        )  # fmt: skip

    @staticmethod
    def unfinished(folder: Path) -> dict[str, Any] | None:
        """What is known of the interrupted run in a folder; None where the plan there is finished.

        Raises:
            InputError: there is no plan in the folder.
        """
        note = folder / HIDDEN / "run.json"
        if note.exists():
            try:
                return dict(json.loads(note.read_text()))
            except ValueError as error:
                raise InputError(f"{note}: damaged, the run can't be continued ({error})") from error
        if not (folder / PLAN_FILE).exists():
            raise InputError(f"{folder}: no plan in this folder")
        return None

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
        references = [_picture(image) for image in images]
        request = ImageRequest(instruction=_checked(instruction), references=references, settings=settings)
        return ImageTool(self.sessions).call(request, **kwargs)

    def _run(
        self,
        state: dict[str, Any] | None,
        run: str,
        store: Store,
        saver: BaseCheckpointSaver[Any],
        decode: DecodeSettings | None,
        on_event: OnEvent | None,
        folder: str | Path | None,
    ) -> Plan:
        planner = NativePlanner(self.sessions, store.latent, decode)
        tool, look = ImageTool(self.sessions, store.latent), LookTool(self.pipeline)
        graph = build_graph(planner, tool, look, store, saver, on_event)
        config: Any = {"configurable": {"thread_id": run}, "recursion_limit": 10_000}
        try:
            final = graph.invoke(state, config, durability="sync")
        finally:
            self.sessions.close(run)
        plan = Plan(attach_all(Document.model_validate(final["document"]), store), final["reason"])
        if folder is not None:
            plan.save(folder)
            # The run is over: its checkpoints have done their work, its latents serve a follow-up.
            (Path(folder) / HIDDEN / "run.json").unlink()
            (Path(folder) / HIDDEN / "run.sqlite").unlink(missing_ok=True)
        return plan

    def _check_size(self, settings: PaintSettings) -> None:
        resolved = self.pipeline.resolve(settings)
        self.pipeline.latent_shape(resolved.width or 0, resolved.height or 0)


@contextmanager
def _checkpointer(folder: str | Path | None) -> Iterator[BaseCheckpointSaver[Any]]:
    if folder is None:
        yield InMemorySaver()
        return
    path = Path(folder) / HIDDEN / "run.sqlite"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        yield SqliteSaver(connection)


def _new_folder(folder: Path) -> Path:
    try:
        (folder / HIDDEN).mkdir(parents=True, exist_ok=True)
        probe = folder / HIDDEN / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder}: can't write there ({error.strerror or error})") from error
    return folder


def _checked(request: str) -> str:
    if len(request) > MAX_REQUEST:
        raise InputError(f"the request is {len(request):,} characters long; at most {MAX_REQUEST:,} are read")
    try:
        request.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the request isn't valid UTF-8 text ({error.reason})") from error
    return request


def _picture(image: Picture | str | Path) -> Picture:
    return image if isinstance(image, Picture) else Picture.from_file(image)
