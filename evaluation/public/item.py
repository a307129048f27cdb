"""What all public benchmarks have in common: questions, answers, the layout that a benchmark's own scorer reads, and scores."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from duogen.document import Document, Picture, TextPart, stays_inside, write_atomically
from duogen.errors import InputError
from duogen.evaluation.public.judge import Ask, Call
from duogen.evaluation.public.statistics import Metric, Scored

Part = str | Picture
Row = tuple[str, Path, dict[str, Any]]
"""Where a record stands, for messages; the folder that its paths are relative to; and the record."""
Answer = tuple[Part, ...]
"""Text and pictures in reading order."""


@dataclass(frozen=True)
class Question:
    """One item of a benchmark.

    `id`: names it, in files, too. `group`: what its authors average over (tag, task, kind of edit). `asked`: what the model is given.
    `facts`: what else its record holds. `subsets`: parts of the benchmark that have figures of their own.
    """

    id: str
    group: str
    asked: Answer
    facts: dict[str, Any] = field(default_factory=dict)
    subsets: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join(part for part in self.asked if isinstance(part, str))

    @property
    def pictures(self) -> list[Picture]:
        return pictures_of(self.asked)


class Benchmark(ABC):
    """A benchmark, with its answers in a folder.

    Args:
        folder: where answers are, laid out as the benchmark's own scorer wants them.
        model: the name that the layout has for the model.
        subset: one of `choices`, where it has any.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    """Paper and repository whose protocol it follows."""
    remarks: ClassVar[tuple[str, ...]] = ()
    """What a reader of the report has to know: what is ours, and what was left out."""
    one_picture: ClassVar[bool] = False
    """Whether the answer is one picture, drawn or edited, instead of a plan."""
    samples: ClassVar[int] = 1
    """Answers a question; where it is 1, the layout has no place for more."""
    files: ClassVar[tuple[str, ...]]
    """Patterns of the data set's files; the first that matches any counts."""
    fields: ClassVar[tuple[str, ...]]
    """What every record must have."""
    choices: ClassVar[tuple[str, ...]] = ()
    """What `subset` may be; the first is the default."""
    metrics: ClassVar[tuple[Metric, ...]]
    """The headline first."""
    digits: ClassVar[int | None] = None
    """To how many digits the authors' scorer rounds every mean on the way (as published)."""

    def __init__(self, folder: Path, model: str, subset: str = "") -> None:
        self.folder, self.model = folder, model
        self.subset = subset or next(iter(self.choices), "")
        if self.subset and self.subset not in self.choices:
            said = ", ".join(self.choices) or "none"
            raise InputError(f"{self.name}: no subset {subset!r}; there is {said}")

    def questions(self, data: Path | None) -> Iterator[Question]:
        """All questions, in the authors' order.

        Raises:
            InputError: naming the file, and the record in it, that can't be used.
        """
        for where, folder, row in self.rows(data):
            try:
                question = self.question(where, folder, row)
            except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise InputError(f"{where}: isn't of the format ({type(error).__name__}: {error})"[:300]) from error
            if question is not None:
                yield question

    def rows(self, data: Path | None) -> Iterator[Row]:
        """The records of the data set, of `records`."""
        yield from records(data, self.files, self.fields)

    @abstractmethod
    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question | None:
        """What a record asks; None where the subset hasn't got it. What it raises is said of the record, at `where`."""

    @abstractmethod
    def place(self, question: Question, sample: int) -> Path:
        """The file that is written last: with it an answer is complete."""

    @abstractmethod
    def write(self, question: Question, sample: int, answer: Answer) -> None: ...

    @abstractmethod
    def read(self, question: Question, sample: int) -> Answer:
        """Raises `InputError` where an answer can't be read."""

    def finish(self, questions: Sequence[Question]) -> None:  # noqa: B027
        """Writes what is written once for all answers; nothing, mostly."""

    def record(self, questions: Sequence[Question], scored: Sequence[Scored]) -> None:  # noqa: B027
        """Writes the scores as the authors' scorer writes its own, for their scripts that read them; nothing, mostly."""

    def as_published(self, values: dict[str, float]) -> dict[str, float]:
        """An answer's scores with the defects of the authors' scorer; as they are, mostly."""
        return values

    def has(self, question: Question, sample: int) -> bool:
        return self.place(question, sample).is_file()


class Judged(Benchmark):
    """A benchmark whose answers a vision model scores."""

    side: ClassVar[int] = 1024
    """Longest side of a picture that the judge is shown, in pixels."""

    @abstractmethod
    def judge(self, question: Question, answer: Answer, ask: Ask) -> dict[str, float]:
        """The scores of one answer by one vote.

        Raises:
            Unjudged: by `ask`, where the judge gave no usable answer.
        """

    def published_answer(self, question: Question, call: Call) -> dict[str, Any] | None:
        """What the authors' scorer takes for the judge's answer where it can't read it; None where it leaves the whole out."""
        return None


def picture_in(folder: Path, name: object, where: str) -> Picture:
    """A picture that a record names by its path. Folders of data are often links to elsewhere, and may be; the path itself stays inside.

    Raises:
        InputError: it isn't there, isn't a picture, or its path leads out of the folder.
    """
    if isinstance(name, dict):  # as Hugging Face data sets hold them
        if isinstance(name.get("bytes"), bytes) and name["bytes"]:
            return Picture(name["bytes"], where)
        name = name.get("path")
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{where}: a picture is neither a path nor bytes")
    if not stays_inside(name):
        raise InputError(f"{where}: the path {name!r} leads out of {folder}")
    return Picture.from_file(folder / name)


def said(row: dict[str, Any], name: str, where: str) -> str:
    """A record's text; raises `InputError` where it is none, or empty."""
    if not isinstance(value := row[name], str) or not value.strip():
        raise InputError(f"{where}: its {name} is no text: {value!r}"[:300])
    return value


def records(data: Path | None, names: Sequence[str], wanted: Sequence[str]) -> Iterator[Row]:
    """The records of a data set: a file, or the files in a folder that match the first of `names` that any matches.

    JSON holds a list, or an object of objects, whose keys become ``key``; JSON lines and parquet (as Hugging Face has it) hold a record each.

    Args:
        wanted: fields that every record must have.

    Yields:
        Where it stands, the folder that paths in it are relative to, and the record.

    Raises:
        InputError: nothing is there, or a record can't be used.
    """
    if data is None:
        raise InputError(f"say where the data set is: --data FOLDER with {' or '.join(names)}")
    found = [data] if data.is_file() else next((hit for name in names if (hit := sorted(data.rglob(name)))), [])
    if not found:
        raise InputError(f"{data}: there is no {' or '.join(names)} in it")
    for path in found:
        for number, record in _records_of(path):
            where = f"{path}, record {number}"
            if not isinstance(record, dict):
                raise InputError(f"{where}: not an object")
            if lost := [name for name in wanted if name not in record]:
                raise InputError(f"{where}: has no {', '.join(lost)}")
            yield where, path.parent, record


def _records_of(path: Path) -> Iterator[tuple[int | str, Any]]:
    if path.suffix == ".parquet":
        yield from enumerate(_parquet(path), 1)
        return
    number = 0
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            for number, line in enumerate(text.split("\n"), 1):
                if line.strip():
                    yield number, json.loads(line)
            return
        body = json.loads(text)
    except (OSError, ValueError) as error:
        place = f", line {number}" if number else ""
        raise InputError(f"{path}{place}: can't be read ({error})") from error
    if isinstance(body, dict):
        for key, record in body.items():
            yield key, record | {"key": key} if isinstance(record, dict) else record
    elif isinstance(body, list):
        yield from enumerate(body, 1)
    else:
        raise InputError(f"{path}: neither a list nor an object")


def _parquet(path: Path) -> Iterator[Any]:
    from duogen.errors import needed

    needed("eval", "pyarrow")
    import pyarrow
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=16):
            yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: can't be read ({str(error).splitlines()[0]})") from error


def named(value: object, where: str) -> str:
    """An id, a text or a whole number, that can name a file.

    Raises:
        InputError: it can't.
    """
    text = str(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int)
        or not text
        or text in (".", "..")
        or any(sign in text for sign in "/\\\0")
        or len(text) > 200
    ):
        raise InputError(f"{where}: {text[:60]!r} can't name a file")
    return text


def write_json(path: Path, body: Any) -> None:
    write_atomically(
        path,
        (json.dumps(body, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode("utf-8", "backslashreplace"),
    )


def read_json(path: Path) -> Any:
    """Raises `InputError` where it isn't there or isn't JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read ({error})") from error


def pairs(answer: Answer) -> list[tuple[str, Picture | None]]:
    """An answer as pieces of text, each with the picture behind it."""
    found: list[tuple[str, Picture | None]] = []
    text = ""
    for part in answer:
        if isinstance(part, str):
            text += part
        else:
            found.append((text.strip(), part))
            text = ""
    return [*found, (text.strip(), None)] if text.strip() else found


def text_of(answer: Answer) -> str:
    """The text of an answer alone."""
    return "\n".join(part.strip() for part in answer if isinstance(part, str)).strip()


def pictures_of(answer: Answer) -> list[Picture]:
    return [part for part in answer if isinstance(part, Picture)]


def png_of(answer: Answer) -> bytes:
    """The file of an answer's first picture, as a PNG."""
    picture = pictures_of(answer)[0]
    return picture.data if picture.format == "PNG" else Picture.from_image(picture.image()).data


def numbered(answer: Answer) -> list[Part]:
    """An answer in which every picture comes behind its number, so that a judge can speak of it."""
    shown: list[Part] = []
    number = 0
    for part in answer:
        if isinstance(part, Picture):
            number += 1
            shown.append(f"[picture {number}]")
        shown.append(part)
    return shown


def answer_in(document: Document) -> Answer:
    """The last turn of a document."""
    content = document.messages[-1].content
    return tuple(part.text if isinstance(part, TextPart) else document.picture(part) for part in content)
