"""The requests of a batch, as they stand in a file: JSONL, CSV, or simply one a line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duogen.agent.plan import MAX_PICTURES, checked
from duogen.errors import DuoGenError, InputError, first_fault
from duogen.tools.image import MAX_REQUEST

RESERVED = re.compile(r"line-\d+|(journal|manifest|index)([.-].*)?")
"""Ids that lines without one get, and files of the batch's own."""
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
    if line.custom_id is not None and line.custom_id != name and RESERVED.fullmatch(line.custom_id):
        return Item(number, name, None, f"custom_id: {line.custom_id} is a name that the batch needs itself")
    if line.custom_id is not None and not ID.fullmatch(line.custom_id):
        return Item(
            number,
            name,
            None,
            "custom_id: letters, digits, dots, hyphens and underscores, at most 100, can name a folder",
        )
    return Item(number, line.custom_id or name, line)
