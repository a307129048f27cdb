"""The engine's work on many items: resumable at any moment, the same output for the same input, every loss accounted for.

    OUTPUT/work/        begun.jsonl, finished.jsonl (journals), pictures, models' answers: what a run that goes on needs
    OUTPUT/             documents-00000.jsonl ... with pictures/ beside them, manifest.jsonl, counts.json, datasheet.md, report.html

An item is begun by itself, as far as its sources go; then what all items share is found; then each is finished by itself. Both halves are
plain functions from one item to a record, so that any engine can run them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from duogen.document import Document, write_atomically
from duogen.errors import DuoGenError, InputError
from duogen.journal import Journal
from duogen.training.engine.config import EngineConfig
from duogen.training.engine.duplicates import Across, Known
from duogen.training.engine.item import Draft, Dropped, Loss, Step, Store, document_of

Job = dict[str, Any]
Record = dict[str, Any]
"""``number``, and either ``draft`` or ``dropped``; with ``counts`` and ``losses`` as far as it came."""
Work = Callable[[Job], Record]


class Engine(Protocol):
    """Runs a function on jobs, in any order and any place; every job's record comes once."""

    def __call__(self, work: Work, jobs: Iterable[Job]) -> Iterator[Record]: ...


def serially(work: Work, jobs: Iterable[Job]) -> Iterator[Record]:
    """One job after the other, in this process."""
    return map(work, jobs)


@dataclass(frozen=True)
class Processes:
    """Jobs in several processes of this machine.

    Raises:
        DuoGenError: one of them has died.
    """

    workers: int

    def __call__(self, work: Work, jobs: Iterable[Job]) -> Iterator[Record]:
        jobs = iter(jobs)
        # Where there is a fork server, it imports what the steps need once for all workers of all halves.
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(method)
        context.set_forkserver_preload(["duogen.training.engine.web"])
        with ProcessPoolExecutor(self.workers, mp_context=context) as pool:
            running: set[Future[Record]] = set()
            try:
                while True:
                    running |= {pool.submit(work, job) for job in islice(jobs, 4 * self.workers - len(running))}
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for each in done:
                        yield each.result()
            except BrokenProcessPool as error:
                raise DuoGenError(f"a worker has died ({type(error).__name__}); go on with --resume") from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def through(draft: Draft, steps: Sequence[Step]) -> Record:
    """What becomes of a draft in some steps."""
    for step in steps:
        try:
            draft = step(draft).counted(step.name)
        except Dropped as why:
            return dropped(draft, step.name, str(why))
    return {"number": draft.number, "draft": draft.model_dump()}


def dropped(draft: Draft, step: str, reason: str) -> Record:
    kept = draft.model_dump(exclude={"blocks", "signature", "given"})
    return {"number": draft.number, "dropped": {"step": step, "reason": reason}, **kept}


@dataclass(frozen=True)
class Finish:
    """The second half of the work: what remains to be done with one item, once all are known."""

    steps: Sequence[Step]

    def __call__(self, job: Job) -> Record:
        return through(Draft.model_validate(job["draft"]), self.steps)


class Run:
    """A folder of training documents in the making.

    Args:
        folder: where everything goes.
        config: settings; a run goes on with those that it began with.
        sources: what tells this run's input from another's.
        resume: go on with what is in the folder.

    Raises:
        InputError: something else is in the folder, or a run that isn't to be gone on with.
    """

    def __init__(self, folder: Path, config: EngineConfig, sources: dict[str, Any], resume: bool = False) -> None:
        self.folder, self.config = folder, config
        self.work = folder / "work"
        self.store = Store(self.work / "pictures")
        self.answers = self.work / "answers"
        self.index = self.work / "archives.sqlite"
        self.begun, self.finished = (
            Journal(self.work / f"{name}.jsonl", durable=False) for name in ("begun", "finished")
        )
        note = self.work / "engine.json"
        facts = json.dumps({"config": config.model_dump(mode="json"), "sources": sources}, sort_keys=True, indent=1)
        if note.exists():
            if not resume:
                raise InputError(f"{folder}: a run is there already; go on with --resume, or choose another folder")
            if note.read_text(encoding="utf-8") != facts:
                raise InputError(f"{folder}: that run was begun with other sources or settings; choose another folder")
        elif folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder}: there is something else in it; choose another folder")
        else:
            write_atomically(note, facts.encode())
        self.facts = facts

    def begin(
        self, work: Work, jobs: Iterable[Job], engine: Engine, on_done: Callable[[Record], None] | None = None
    ) -> None:
        """The first half: from jobs, numbered in ``number``, to drafts."""
        done = {record["number"] for record in self.begun}
        left = (job for job in jobs if job["number"] not in done)
        _noted(engine(work, left), self.begun, done, on_done)

    def finish(self, steps: Sequence[Step], engine: Engine, on_done: Callable[[Record], None] | None = None) -> None:
        """The second half: from drafts to what is kept."""
        known, places = [], []
        for offset, record in self.begun.placed():
            if "draft" in record:
                known.append(Known.of(record["draft"]))
                places.append((record["number"], offset))
        across = Across(known, self.config.pictures, self.config.documents)
        done = {record["number"] for record in self.finished}

        def jobs() -> Iterator[Job]:
            for number, offset in sorted(places):
                if number in done:
                    continue
                draft = Draft.model_validate(self.begun.at(offset)["draft"])
                if number in across.twins:
                    record = dropped(draft, "across", f"like item {across.twins[number]}")
                    self.finished.append(record)
                    done.add(number)
                    continue
                yield {"number": number, "draft": across.without_furniture(draft).counted("across").model_dump()}

        _noted(engine(Finish(steps), jobs()), self.finished, done, on_done)

    def write(self, lost: Sequence[Loss] = ()) -> None:
        """Writes shards, their pictures and the manifest.

        Args:
            lost: what of the sources could not be read.
        """
        places = [
            (record["number"], self.begun, offset) for offset, record in self.begun.placed() if "draft" not in record
        ]
        places += [(record["number"], self.finished, offset) for offset, record in self.finished.placed()]
        manifest: list[Record] = [{"kept": False, **loss.model_dump()} for loss in lost]
        lines: list[str] = []
        shard = 0
        for _, journal, offset in sorted(places, key=lambda place: place[0]):
            record = journal.at(offset)
            if "dropped" in record:
                manifest.append({"kept": False, **record.pop("dropped"), **record})
                continue
            draft = Draft.model_validate(record["draft"])
            document = document_of(draft)
            for figure in [*draft.given, *draft.figures]:
                self.store.hand_out(figure, self.folder)
            manifest.append(_entry(draft, document, shard, len(lines)))
            lines.append(json.dumps(document.model_dump(), ensure_ascii=False))
            if len(lines) == self.config.shard_documents:
                self._write_shard(shard, lines)
                shard, lines = shard + 1, []
        if lines:
            self._write_shard(shard, lines)
        body = "".join(json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n" for record in manifest)
        write_atomically(self.folder / "manifest.jsonl", body.encode())

    def _write_shard(self, number: int, lines: list[str]) -> None:
        write_atomically(self.folder / shard_name(number), ("\n".join(lines) + "\n").encode())


def shard_name(number: int) -> str:
    return f"documents-{number:05d}.jsonl"


def _entry(draft: Draft, document: Document, shard: int, line: int) -> Record:
    body = draft.model_dump(exclude={"blocks", "signature", "given"})
    pictures = [{"image": part.image, "sha256": part.sha256} for part in document.images]
    return {"kept": True, "shard": shard_name(shard), "line": line, "pictures": pictures, **body}


def _noted(
    records: Iterator[Record], journal: Journal, done: set[int], on_done: Callable[[Record], None] | None
) -> None:
    for record in records:
        if record["number"] not in done:  # an engine may do a job twice
            done.add(record["number"])
            journal.append(record)
            if on_done is not None:
                on_done(record)


def engine_named(name: str, workers: int) -> Engine:
    """The engine of that name: ``local``, in this process or, with more workers, in several; ``ray``."""
    if name == "ray":
        from duogen.training.engine.scale import OnRay

        return OnRay(workers)
    if name != "local":
        raise InputError(f"--engine must be local or ray, not {name!r}")
    if workers > (limit := 4 * (os.cpu_count() or 1)):
        raise InputError(f"--workers {workers}: more than {limit}, four a core")
    return serially if workers == 1 else Processes(workers)
