"""Records of other projects, to and from documents. One entry a format: how a record is read, how a document is written.

Pictures are paths relative to the record file, or ``{"bytes": base64}``. Field names are those of the data sets as published.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from duogen.document import Document, ImagePart, Picture, TextPart, write_atomically
from duogen.errors import InputError

Record = dict[str, Any]


class Unfit(Exception):  # noqa: N818 - an outcome
    """A document has something that a format has no place for; says what."""


class Format(NamedTuple):
    """`read`: a record, and a folder to find pictures in. `write`: a document; its pictures are written beside. `as_list`: one JSON
    list a file, in place of a record a line."""

    read: Callable[[Record, Path], Document]
    write: Callable[[Document], Record]
    as_list: bool


def _picture(value: Any, folder: Path) -> Picture:
    if isinstance(value, dict):
        if value.get("bytes"):
            try:
                return Picture(base64.b64decode(value["bytes"], validate=True), "picture")
            except (binascii.Error, TypeError, ValueError) as error:
                raise InputError("a picture's bytes aren't base64") from error
        value = value.get("path")
    if not isinstance(value, str) or not value:
        raise InputError("a picture is neither a path nor bytes")
    path = (folder / value).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"{value}: the path leaves the records' folder")
    return Picture.from_file(path)


def _text(record: Record, *names: str) -> str:
    for name in names:
        if isinstance(record.get(name), str):
            return str(record[name])
    raise InputError(f"the field {names[0]} is missing, or no text")


def _list(record: Record, name: str) -> list[Any]:
    value = record.get(name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


# <image> records: ms-swift, LLaMA-Factory, LLaVA


def _read_swift(record: Record, folder: Path) -> Document:
    return Document.from_record(record, folder)


def _write_swift(document: Document) -> Record:
    record = document.to_record()
    return record | {"images": [image["image"] for image in record["images"]]}


ROLES = {"human": "user", "gpt": "assistant", "system": "system", "user": "user", "assistant": "assistant"}
SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system"}


def _read_conversations(record: Record, folder: Path) -> Document:
    turns = _list(record, "conversations")
    try:
        messages = [{"role": ROLES[turn["from"]], "content": str(turn["value"])} for turn in turns]
    except (KeyError, TypeError) as error:
        raise InputError("conversations must be a list of from (human, gpt) and value") from error
    if isinstance(record.get("system"), str) and record["system"]:
        messages.insert(0, {"role": "system", "content": record["system"]})
    images = _list(record, "images") or _list(record, "image")
    return Document.from_record({"messages": messages, "images": images}, folder)


def _conversations(document: Document) -> tuple[list[Record], list[str]]:
    record = document.to_record()
    turns = [{"from": SPEAKERS[message["role"]], "value": message["content"]} for message in record["messages"]]
    return turns, [image["image"] for image in record["images"]]


def _write_llava(document: Document) -> Record:
    turns, images = _conversations(document)
    own: Record = {"id": "", "conversations": turns}
    if images:
        own["image"] = images[0] if len(images) == 1 else images
    return own


def _write_factory(document: Document) -> Record:
    turns, images = _conversations(document)
    system = "".join(turn["value"] for turn in turns if turn["from"] == "system")
    return {"conversations": [turn for turn in turns if turn["from"] != "system"], "system": system, "images": images}


# One picture from text and pictures: OmniGen2's X2I2, ShareGPT-4o-Image


def _one(request: str, given: list[Picture], answer: Picture, said: str = "") -> Document:
    document = Document()
    document.add_request(request, given)
    document.add_message("assistant")
    document.add_text(said)
    document.add_picture(answer)
    return document


def _single(document: Document) -> tuple[str, list[str], str]:
    """Request, pictures given, picture made; raises `Unfit` for anything but one picture, asked for in one turn."""
    turns = [message for message in document.messages if message.role != "system"]
    if [message.role for message in turns] != ["user", "assistant"]:
        raise Unfit("it has more than one turn")
    made = [part for part in turns[1].content if isinstance(part, ImagePart)]
    if len(made) != 1:
        raise Unfit(f"its answer has {len(made)} pictures")
    given = [part.image for part in turns[0].content if isinstance(part, ImagePart)]
    return turns[0].text, given, made[0].image


def _read_x2i(record: Record, folder: Path) -> Document:
    given = [_picture(each, folder) for each in _list(record, "input_images")]
    return _one(_text(record, "instruction"), given, _picture(record.get("output_image"), folder))


def _write_x2i(document: Document) -> Record:
    request, given, made = _single(document)
    kind = "t2i" if not given else "edit" if len(given) == 1 else "ic"
    return {"task_type": kind, "instruction": request, "input_images": given, "output_image": made}


def _read_sharegpt_4o(record: Record, folder: Path) -> Document:
    given = [_picture(each, folder) for each in _list(record, "input_image")]
    return _one(_text(record, "input_prompt"), given, _picture(record.get("output_image"), folder))


def _write_sharegpt_4o(document: Document) -> Record:
    request, given, made = _single(document)
    size = next(part for part in document.images if part.image == made)
    own: Record = {"input_prompt": request, "output_image": made, "output_image_resolution": [size.width, size.height]}
    return own | ({"input_image": given} if given else {})


# Interleaved: CoMM, Zebra-CoT


def _read_comm(record: Record, folder: Path) -> Document:
    document = Document()
    document.add_request(_text(record, "title"))
    document.add_message("assistant")
    for step in _list(record, "step_info"):
        parts = step if isinstance(step, list) else [step]
        for part in parts:
            if not isinstance(part, dict):
                raise InputError("step_info must be a list of parts with type text or image")
            if part.get("type") == "text":
                said = document.messages[-1].content
                behind_text = bool(said) and isinstance(said[-1], TextPart)
                document.add_text(("\n\n" if behind_text else "") + _text(part, "text", "content"))
            elif part.get("type") == "image":
                document.add_picture(_picture(part.get("image") or part.get("path") or part.get("content"), folder))
            else:
                raise InputError(f"step_info has a part of type {part.get('type')!r}")
    return document


def _write_comm(document: Document) -> Record:
    turns = [message for message in document.messages if message.role != "system"]
    if [message.role for message in turns] != ["user", "assistant"] or any(
        isinstance(part, ImagePart) for part in turns[0].content
    ):
        raise Unfit("it isn't one request in words with one answer")
    parts = [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image", "image": part.image}
        for part in turns[1].content
    ]
    return {"data_id": "", "dataset_type": "duogen", "title": turns[0].text, "step_info": parts}


_ZEBRA = re.compile(r"<image_start>\[(\w+)\]<image_end>")


def _read_zebra(record: Record, folder: Path) -> Document:
    document = Document()
    for role, text in (("user", _text(record, "Question")), ("assistant", _text(record, "Text Reasoning Trace"))):
        message = document.add_message(role)  # type: ignore[arg-type]
        for index, piece in enumerate(_ZEBRA.split(text)):
            if index % 2:
                if record.get(piece) is None:
                    raise InputError(f"there is no picture {piece} in the record")
                document.add_picture(_picture(record[piece], folder))
            else:
                document.add_text(piece.strip("\n") if piece.strip() else "")
        if role == "assistant" and isinstance(record.get("Final Answer"), str) and record["Final Answer"].strip():
            last = isinstance(message.content[-1], TextPart) if message.content else False
            document.add_text(("\n\n" if last else "") + record["Final Answer"].strip())
    return document


def _write_zebra(document: Document) -> Record:
    turns = [message for message in document.messages if message.role != "system"]
    if [message.role for message in turns] != ["user", "assistant"]:
        raise Unfit("it has more than one turn")
    record: Record = {}
    texts = []
    for message, kind in zip(turns, ("problem", "reasoning"), strict=True):
        text, number = "", 0
        for part in message.content:
            if isinstance(part, TextPart):
                text += part.text
            else:
                number += 1
                name = f"{kind}_image_{number}"
                record[name] = {"path": part.image}
                text += f"\n<image_start>[{name}]<image_end>\n"
        texts.append(text.strip("\n"))
    return {"Question": texts[0], "Text Reasoning Trace": texts[1], "Final Answer": "", **record}


def _read_duogen(record: Record, folder: Path) -> Document:
    return Document.from_json(json.dumps(record), folder)


def _write_duogen(document: Document) -> Record:
    return document.model_dump()


FORMATS: dict[str, Format] = {
    "duogen": Format(_read_duogen, _write_duogen, False),
    "ms-swift": Format(_read_swift, _write_swift, False),
    "llama-factory": Format(_read_conversations, _write_factory, True),
    "llava": Format(_read_conversations, _write_llava, True),
    "x2i2": Format(_read_x2i, _write_x2i, False),
    "sharegpt-4o-image": Format(_read_sharegpt_4o, _write_sharegpt_4o, True),
    "comm": Format(_read_comm, _write_comm, True),
    "zebra-cot": Format(_read_zebra, _write_zebra, False),
}


def read_records(path: Path, kind: str) -> Iterator[Document | str]:
    """The documents of a file, or what is wrong with a record, in a line.

    Raises:
        InputError: the file can't be read, or is neither JSON nor JSON lines; pickles are never loaded.
    """
    form = FORMATS[kind]
    for number, record in enumerate(_records(path), 1):
        try:
            if not isinstance(record, dict):
                raise InputError("it is no object")
            document = form.read(record, path.parent)
            if not document.messages or not document.messages[-1].content:
                raise InputError("there is nothing in it")
            yield document
        except InputError as error:
            yield f"record {number}: {error}"


def write_records(documents: Iterator[Document | str], path: Path, kind: str) -> tuple[int, list[str]]:
    """Writes a file of records, pictures beside it; returns how many, and what couldn't be written."""
    form = FORMATS[kind]
    made: list[Record] = []
    faults: list[str] = []
    for number, document in enumerate(documents, 1):
        if isinstance(document, str):
            faults.append(document)
            continue
        try:
            record = form.write(document)
        except (Unfit, InputError) as why:
            faults.append(f"record {number}: {why}")
            continue
        document.write_pictures(path.parent)
        for name in ("id", "data_id"):
            if record.get(name) == "":
                record[name] = f"{number:08d}"
        made.append(record)
    text = (
        json.dumps(made, ensure_ascii=False, indent=1)
        if form.as_list
        else "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in made)
    )
    write_atomically(path, text.encode())
    return len(made), faults


def _records(path: Path) -> Iterator[Any]:
    try:
        with open(path, encoding="utf-8") as file:
            first = file.read(4096).lstrip()[:1]
            file.seek(0)
            if first == "[":
                yield from json.load(file)
                return
            for line in file:
                if line.strip():
                    yield json.loads(line)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not JSON; a pickle isn't loaded, since it can run anything: convert it to JSON first"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({str(error).splitlines()[0]})") from error
