"""Runs on disk: each in its plan's folder, and found again by its id.

A plan's folder holds the document, its pictures (by content) and a hidden folder with what the run needs to go on: a note of how
it began and where it stands, LangGraph's checkpoints in SQLite, latents, and a lock. Nothing but the place of each folder is kept
elsewhere, in the user's state folder, so that a folder can be copied, moved and deleted like any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from duogen.agent.store import HIDDEN
from duogen.document import PLAN_FILE, Document, write_atomically
from duogen.errors import InputError
from duogen.tools.booklet import title_of

WRITTEN = (PLAN_FILE, "plan.md", "plan.html")
"""What a plan's folder holds beside its pictures and the hidden folder."""


@dataclass(frozen=True)
class Note:
    """What is known of a run without opening its checkpoints.

    `began`: seconds since 1970. `status`: ``running``, also where the process has died; ``review`` where a decision is waited for;
    ``finished``. `state`: what the run began from. `decode`: of `DecodeSettings`. `reason` and `trace` are those of the `Plan`.
    """

    id: str
    began: float
    status: str
    title: str
    state: dict[str, Any]
    decode: dict[str, Any]
    reason: str = ""
    pictures: int = 0
    trace: tuple[dict[str, Any], ...] = ()


class RunFolder:
    """The folder of one run, which may not have begun."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.hidden = self.folder / HIDDEN

    def note(self) -> Note | None:
        """How the run stands; None where the folder holds a plan without one.

        Raises:
            InputError: there is no plan in the folder, or its note is damaged.
        """
        path = self.hidden / "run.json"
        if path.exists():
            try:
                return Note(**json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise InputError(f"{path}: damaged, the run can't be continued ({error})") from error
        if not (self.folder / PLAN_FILE).exists():
            raise InputError(f"{self.folder}: no plan in this folder")
        return None

    @property
    def unfinished(self) -> Note | None:
        """The note of a run that can go on; None where the plan is finished. Raises as `note` does."""
        note = self.note()
        return None if note is None or note.status == "finished" else note

    @property
    def free(self) -> bool:
        """Whether a plan can begin here: nothing is in the folder, or only what a run left that was killed before it had begun."""
        if not self.folder.exists():
            return True
        if not self.folder.is_dir():
            return False
        begun = {path.name for path in self.folder.iterdir()} - {"pictures", HIDDEN}
        return not any(self.folder.iterdir()) or not (
            begun or (self.hidden / "run.json").exists() or not self.hidden.exists()
        )

    def create(self) -> None:
        """Makes the folder; raises `InputError` where it can't be written to."""
        try:
            self.hidden.mkdir(parents=True, exist_ok=True)
            probe = self.hidden / ".probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(f"{self.folder}: can't write there ({error.strerror or error})") from error

    def write(self, note: Note) -> None:
        """Keeps a note; from the first on, the run is found by its id."""
        text = json.dumps(vars(note), ensure_ascii=False)
        write_atomically(self.hidden / "run.json", text.encode())
        if note.status == "running":
            # A home that can't be written to costs the entry in the list, not the plan.
            with contextlib.suppress(OSError, InputError):
                write_atomically(
                    _index() / f"{note.id}.json", json.dumps({"folder": str(self.folder.resolve())}).encode()
                )

    def forget_checkpoints(self) -> None:
        """Removes what only an unfinished run needs."""
        for name in ("run.sqlite", "run.sqlite-wal", "run.sqlite-shm"):
            (self.hidden / name).unlink(missing_ok=True)

    @contextmanager
    def locked(self, wait: float = 1.0) -> Iterator[None]:
        """Keeps other processes, and other runs of this one, away; raises `InputError` where one is at work.

        Args:
            wait: seconds to wait for one that is only looking.
        """
        lock = FileLock(self.hidden / "lock", timeout=wait)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(f"{self.folder}: another process is working on this plan") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def at_work(self) -> bool:
        """Whether a process has the folder locked right now."""
        try:
            with self.locked(0):
                return False
        except (InputError, OSError):
            return True

    @contextmanager
    def checkpointer(self) -> Iterator[BaseCheckpointSaver[Any]]:
        """LangGraph's checkpoints of this run."""
        with closing(sqlite3.connect(self.hidden / "run.sqlite", check_same_thread=False)) as connection:
            yield SqliteSaver(connection)

    def delete(self) -> None:
        """Removes all that the run has written here, and the folder if nothing else is in it.

        Raises:
            InputError: a process is working on the plan.
        """
        if self.hidden.exists() and self.at_work:
            raise InputError(f"{self.folder}: another process is working on this plan")
        note = self.note()
        # Pictures are named by their content: others in that folder are the user's.
        for path in (self.folder / "pictures").glob("*"):
            if re.fullmatch(r"[0-9a-f]{16}\.(png|jpg|webp)|\..*\.tmp", path.name):
                path.unlink()
        for name in WRITTEN:
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.hidden, ignore_errors=True)
        for folder in (self.folder / "pictures", self.folder):
            with contextlib.suppress(OSError):
                folder.rmdir()
        if note is not None:
            (_index() / f"{note.id}.json").unlink(missing_ok=True)


def known_runs() -> list[tuple[Note, RunFolder]]:
    """All runs of this user whose folders are still there, the latest first."""
    runs = []
    for path in _index().glob("*.json"):
        try:
            run = RunFolder(json.loads(path.read_text(encoding="utf-8"))["folder"])
            note = run.note()
        except (OSError, ValueError, KeyError, TypeError, InputError):
            continue
        if note is not None and note.id == path.stem:
            runs.append((note, run))
    return sorted(runs, key=lambda known: known[0].began, reverse=True)


def find_run(name: str) -> tuple[Note, RunFolder]:
    """The run with that id, or with one that begins like that.

    Raises:
        InputError: none, or more than one.
    """
    fitting = [known for known in known_runs() if known[0].id.startswith(name)] if name else []
    if len(fitting) != 1:
        found = "no run has" if not fitting else f"{len(fitting)} runs have ids that begin with"
        raise InputError(f"{found} {name!r}; duogen runs lists them")
    return fitting[0]


def new_note(run: str, document: Document, state: dict[str, Any], decode: dict[str, Any]) -> Note:
    """The note of a run that begins."""
    return Note(run, time.time(), "running", title_of(document), state, decode)


def _index() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "duogen" / "runs"
