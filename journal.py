"""A file that grows by a line a result, and that a killed process can't spoil."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Records in JSON, one a line. One process writes, others may read.

    Args:
        path: of the file; it needn't be there yet, its folder must.
        durable: whether a record is on disk before `append` returns, and outlives the machine; else it outlives the process alone.
    """

    def __init__(self, path: Path, durable: bool = True) -> None:
        self.path, self.durable = path, durable

    def append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace")
        with open(self.path, "ab") as file:
            # Behind what a killed process left unfinished, a line begins anew.
            file.write((b"\n" if _broken(self.path) else b"") + line + b"\n")
            file.flush()
            if self.durable:
                os.fsync(file.fileno())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All whole records, in the order in which they were written."""
        for _, record in self.placed():
            yield record

    def placed(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """All whole records, with the byte that each begins at."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            offset = 0
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None  # the last line of a process that was killed
                if isinstance(record, dict):
                    yield offset, record
                offset += len(line)

    def at(self, offset: int) -> dict[str, Any]:
        """The record that begins there."""
        with open(self.path, "rb") as file:
            file.seek(offset)
            record: dict[str, Any] = json.loads(file.readline())
            return record


def _broken(path: Path) -> bool:
    """Whether a file ends in the middle of a line."""
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
