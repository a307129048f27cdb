"""Many requests from a file, each into a folder of its own: started, killed and gone on with as often as need be.

What is finished stands in a journal, a line each, as it finishes; the manifest and the index page are made from it. A run that was
interrupted is resumed where it was. The manifest holds nothing that depends on when, or in how many goes, the work was done.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duogen.agent.agent import Agent
from duogen.agent.plan import MAX_PICTURES, Plan, checked
from duogen.agent.runs import RunFolder
from duogen.document import Document, Picture, write_atomically
from duogen.errors import DuoGenError, InputError, first_fault
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings
from duogen.tools.export import export, render
from duogen.tools.image import MAX_REQUEST

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Line(BaseModel):
    """One request, as it stands in a file; the fields mean what the options of `duogen plan` do."""

    model_config = ConfigDict(extra="forbid", strict=True)
    custom_id: str | None = None
    request: str = Field(min_length=1, max_length=MAX_REQUEST)
    images: list[str] = Field([], max_length=32)
    seed: int = Field(0, ge=0, le=2**63 - 1)
    steps: int | None = Field(None, ge=1, le=1000)
    guidance: float | None = Field(None, ge=1, le=30, allow_inf_nan=False)
    width: int | None = Field(None, ge=16, le=4096)
    height: int | None = Field(None, ge=16, le=4096)
    max_pictures: int = Field(MAX_PICTURES, ge=0, le=64)
    max_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1)
    self_check: int = Field(0, ge=0, le=16)
    temperature: float = Field(0.0, ge=0, le=5, allow_inf_nan=False)


@dataclass(frozen=True)
class Item:
    """A line of the file: what it asks for, or why it can't be used."""

    number: int
    custom_id: str
    line: Line | None
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of an item. `status`: ``done`` or ``failed``."""

    custom_id: str
    number: int
    status: str
    request: str = ""
    reason: str = ""
    pictures: int = 0
    error: str = ""


def read_items(path: Path) -> list[Item]:
    """The requests of a file: JSONL (``.jsonl``), CSV with a header (``.csv``), or one request a line.

    A line that can't be used becomes an item that says why. Without a ``custom_id`` a line is called by its number.

    Raises:
        InputError: the file can't be read, or there is nothing in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't read the requests ({error.strerror or error})") from error
    items: list[Item] = []
    known: dict[str, int] = {}
    for number, fields in _records(data, path.suffix.lower()):
        item = _item(number, fields)
        if item.line is not None and item.custom_id in known:
            said = f"custom_id {item.custom_id} is that of line {known[item.custom_id]}"
            item = Item(number, f"line-{number:05}", None, said)
        known[item.custom_id] = number
        items.append(item)
    if not items:
        raise InputError(f"{path}: there is no request in the file")
    return items


def _records(data: bytes, suffix: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Each line's number and fields, or what is wrong with it."""
    if suffix == ".csv":
        yield from _rows(data)
        return
    for number, raw in enumerate(data.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            text = raw.decode()
            if suffix not in (".jsonl", ".ndjson"):
                yield number, {"request": text.strip()}
                continue
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield (
                number,
                f"not JSON: {str(error).splitlines()[0]}" if not isinstance(error, UnicodeDecodeError) else "not UTF-8",
            )
            continue
        yield number, fields if isinstance(fields, dict) else "not a JSON object"


def _rows(data: bytes) -> Iterator[tuple[int, dict[str, Any] | str]]:
    table = csv.reader(io.StringIO(data.decode(errors="replace"), newline=""))
    names: list[str] | None = None
    try:
        for row in table:
            if names is None:
                names = [name.strip() for name in row]
            elif any(cell.strip() for cell in row):
                if len(row) > len(names):
                    yield table.line_num, f"{len(row)} columns where the header has {len(names)}"
                    continue
                given = {name: cell for name, cell in zip(names, row, strict=False) if cell != ""}
                yield table.line_num, _typed(given)
    except csv.Error as error:
        yield table.line_num, f"not CSV: {error}"


def _typed(row: dict[str, str]) -> dict[str, Any]:
    """A row's cells as what their columns are; ``images`` has paths with semicolons between."""
    fields: dict[str, Any] = dict(row)
    for name, text in row.items():
        if name == "images":
            fields[name] = [path.strip() for path in text.split(";") if path.strip()]
        elif name in ("seed", "steps", "width", "height", "max_pictures", "max_tokens", "self_check"):
            fields[name] = int(text) if re.fullmatch(r"\d{1,30}", text.strip()) else text
        elif name in ("guidance", "max_seconds", "temperature"):
            fields[name] = float(text) if re.fullmatch(r"\d{1,30}(\.\d{1,30})?", text.strip()) else text
    return fields


def _item(number: int, fields: dict[str, Any] | str) -> Item:
    name = f"line-{number:05}"
    if isinstance(fields, str):
        return Item(number, name, None, fields)
    try:
        line = Line.model_validate(fields)
        checked(line.request)
    except ValidationError as error:
        return Item(number, name, None, first_fault(error, "line")[:300])
    except DuoGenError as error:
        return Item(number, name, None, str(error))
    if line.custom_id is not None and not ID.fullmatch(line.custom_id):
        return Item(
            number,
            name,
            None,
            "custom_id: letters, digits, dots, hyphens and underscores, at most 100, can name a folder",
        )
    return Item(number, line.custom_id or name, line)


class Batch:
    """A folder of plans.

    Args:
        folder: where everything goes; one folder an item.
        beside: the folder that pictures of the requests are looked for in.
        shard: (i, n): this is the i-th of n batches on the same folder, each with a journal and a manifest of its own.
    """

    def __init__(self, folder: Path, beside: Path, shard: tuple[int, int] = (1, 1)) -> None:
        self.folder, self.beside = folder, beside
        name = "" if shard[1] == 1 else f"-{shard[0]}-of-{shard[1]}"
        self.journal, self.manifest, self.index = (
            folder / f"{kind}{name}.{suffix}"
            for kind, suffix in (("journal", "jsonl"), ("manifest", "json"), ("index", "html"))
        )

    def outcomes(self) -> dict[str, Outcome]:
        """What has been finished, by id; of an item that was tried again, the last."""
        found: dict[str, Outcome] = {}
        if self.journal.exists():
            for line in self.journal.read_bytes().splitlines():
                try:
                    outcome = Outcome(**json.loads(line))
                except (ValueError, TypeError):
                    continue  # the last line of a process that was killed
                found[outcome.custom_id] = outcome
        return found

    def run(
        self, agent: Agent, items: list[Item], at_once: int, formats: list[str], on_done: Callable[[Outcome], None]
    ) -> None:
        """Does what isn't done: items that can't be used at once, all others `at_once` of them at a time.

        Args:
            formats: further ones that each plan is written in, of `duogen.tools.export`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        usable = [item for item in items if item.line is not None]
        for item in items:
            if item.line is None:
                on_done(self._note(Outcome(item.custom_id, item.number, "failed", error=item.error)))
        jobs = [self._job(agent, item, formats) for item in usable]
        strange: list[Item] = []
        for index, plan, error in agent.together(jobs, at_once):
            if error is None or isinstance(error, DuoGenError):
                on_done(self._note(self._outcome(usable[index], plan, error)))
            else:
                strange.append(usable[index])
        # What has failed in a way that nobody foresaw may have failed for another's sake: it gets a try alone.
        for item in strange:
            for _, plan, error in agent.together([self._job(agent, item, formats)], 1):
                on_done(self._note(self._outcome(item, plan, error)))

    def write_manifest(self, items: list[Item]) -> list[Outcome]:
        """Writes the manifest and the index page; returns what became of the items, in the file's order."""
        known = self.outcomes()
        finished = [known[item.custom_id] for item in items if item.custom_id in known]
        counts = {kind: sum(each.status == kind for each in finished) for kind in ("done", "failed")}
        body = {"requests": len(items), **counts, "items": [asdict(each) for each in finished]}
        write_atomically(self.manifest, json.dumps(body, ensure_ascii=False, indent=1).encode())
        write_atomically(
            self.index, render("batch.html.j2", outcomes=finished, counts=counts, total=len(items)).encode()
        )
        return finished

    def _job(self, agent: Agent, item: Item, formats: list[str]) -> Callable[[], Plan]:
        line, folder = item.line, self.folder / item.custom_id
        assert line is not None

        def job() -> Plan:
            kept = RunFolder(folder)
            note = None if kept.free else kept.note()
            if note is not None and note.status != "finished":
                plan = agent.resume(folder)
            elif note is not None:
                # Finished, but killed before it was noted.
                plan = Plan(Document.load(folder), note.reason, note.id)
            else:
                paint = PaintSettings(
                    seed=line.seed, steps=line.steps, guidance=line.guidance, width=line.width, height=line.height
                )
                plan = agent.plan(
                    line.request, [Picture.from_file(self.beside / image) for image in line.images], folder=folder,
                    settings=paint, decode=DecodeSettings(temperature=line.temperature, seed=line.seed),
                    max_pictures=line.max_pictures, max_seconds=line.max_seconds, max_tokens=line.max_tokens,
                    self_check=line.self_check,
                )  # fmt: skip
            further = [each for each in formats if each not in ("md", "html")]
            if further:
                export(plan.document, further, folder)
            return plan

        return job

    @staticmethod
    def _outcome(item: Item, plan: Plan | None, error: Exception | None) -> Outcome:
        assert item.line is not None
        request = " ".join(item.line.request.split())[:200]
        if plan is None:
            said = str(error) if isinstance(error, DuoGenError) else f"unexpected {type(error).__name__}: {error}"
            first = (said.splitlines() or ["unknown"])[0][:300]
            return Outcome(item.custom_id, item.number, "failed", request, error=first)
        return Outcome(item.custom_id, item.number, "done", request, plan.reason, len(plan.document.images))

    def _note(self, outcome: Outcome) -> Outcome:
        line = json.dumps(asdict(outcome), ensure_ascii=False).encode()
        with open(self.journal, "ab") as journal:
            # Behind what a killed process left unfinished, a line begins anew.
            journal.write((b"\n" if _broken(self.journal) else b"") + line + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
        return outcome


def _broken(path: Path) -> bool:
    """Whether a file ends in the middle of a line."""
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
