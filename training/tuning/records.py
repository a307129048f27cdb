"""Documents from JSONL files, by number, and what each of them measures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from duogen.document import Document, write_atomically
from duogen.errors import InputError
from duogen.models.layout import Slot, lay_out, turns_of
from duogen.models.processor import DuoGenProcessor


class Records:
    """The documents of some files; only where lines begin is kept in memory.

    Raises:
        InputError: a file can't be read, or there is no document in any.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.places: list[tuple[Path, int]] = []
        for path in paths:
            try:
                with open(path, "rb") as file:
                    offset = 0
                    for line in file:
                        if line.strip():
                            self.places.append((path, offset))
                        offset += len(line)
            except OSError as error:
                raise InputError(f"{path}: can't read the documents ({error.strerror or error})") from error
        if not self.places:
            raise InputError(f"{paths[0]}: there is no document in it")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Document:
        """A document with its pictures; raises `InputError` where it is none."""
        return self._read(number, pictures=True)

    def glance(self, number: int) -> Document:
        """A document without its pictures."""
        return self._read(number, pictures=False)

    def _read(self, number: int, pictures: bool) -> Document:
        path, offset = self.places[number]
        with open(path, "rb") as file:
            file.seek(offset)
            line = file.readline()
        try:
            return Document.from_json(line, path.parent if pictures else None)
        except InputError as error:
            raise InputError(f"{path}, at byte {offset}: {error}") from error

    def fingerprint(self) -> str:
        """Of the files as they are now."""
        paths = dict.fromkeys(path for path, _ in self.places)
        facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Measure:
    """A document in numbers: `length` in tokens of the MLLM, `trained` of them in stage 1's loss, its pictures' places, and how many
    tokens of the DiT each picture takes."""

    length: int
    trained: int
    slots: tuple[Slot, ...]
    frames: tuple[int, ...]


def measure(
    records: Records,
    processor: DuoGenProcessor,
    system_prompt: str | None,
    frame_tokens: Callable[[int, int], int],
    cache: Path,
    model: str,
) -> list[Measure]:
    """All documents in numbers, without looking at their pictures; kept in a file for the next time.

    Args:
        frame_tokens: of a picture's width and height.
        model: tells one model from another.
    """
    named = hashlib.sha256(f"{records.fingerprint()} {model} {system_prompt}".encode()).hexdigest()
    if cache.is_file():
        lines = cache.read_text().splitlines()
        if json.loads(lines[0]) == named:
            return [_measure_of(json.loads(line)) for line in lines[1:]]
    measures = []
    for number in range(len(records)):
        document = records.glance(number)
        tape, _ = lay_out(turns_of(document, system_prompt, unseen=True), processor)
        frames = tuple(frame_tokens(part.width, part.height) for part in document.images)
        measures.append(Measure(len(tape.ids), sum(tape.trained), tuple(tape.slots), frames))
    lines = [json.dumps(named), *(json.dumps(asdict(each)) for each in measures)]
    write_atomically(cache, "\n".join(lines).encode())
    return measures


def _measure_of(fields: dict) -> Measure:
    slots = tuple(Slot(**(slot | {"grid": tuple(slot["grid"])})) for slot in fields["slots"])
    return Measure(fields["length"], fields["trained"], slots, tuple(fields["frames"]))
