"""The one data type that flows everywhere: a dialogue in which text and pictures alternate.

A `Document` is a list of messages in the Hugging Face / Qwen-VL chat shape, with pictures allowed in assistant turns.
The same JSON is a training record, a finished plan, an evaluation input and what the exporters read. Pictures are
values of their own (`Picture`: PNG, JPEG or WebP bytes), addressed by the SHA-256 of their bytes; a document names them
by that hash and by a path relative to the folder that it is saved in.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from duogen.errors import InputError

MAX_PIXELS = 64_000_000
"""Pictures with more pixels are refused before they are unpacked: they are bombs or mistakes."""
FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
IMAGE_MARK = "<image>"
BOV = "<BOV>"
"""Begin of vision: the token by which the MLLM asks for a picture (paper, section 3)."""
PLAN_FILE = "plan.json"


class Picture:
    """An encoded picture, checked once when it is made.

    Args:
        data: the bytes of a PNG, JPEG or WebP file.
        source: what to call it in an error message.
        keep_pixels: takes memory and saves `image` the decoding.

    Raises:
        InputError: empty, unreadable, another format, or more than `MAX_PIXELS` pixels.
    """

    _pixels: Image.Image | None = None
    """Of a picture that was made here, or of which they were to be kept: they needn't be decoded again."""

    def __init__(self, data: bytes, source: str = "picture", *, keep_pixels: bool = False) -> None:
        if not data:
            raise InputError(f"{source}: the file is empty")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data), formats=list(FORMATS)) as image:
                    self.width, self.height = image.size
                    self.format = str(image.format)
                    if self.width * self.height > MAX_PIXELS:
                        raise Image.DecompressionBombError
                    image.load()
                    if keep_pixels:
                        self._pixels = _on_white(image)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise InputError(f"{source}: the picture has more than the {MAX_PIXELS:,} pixels allowed") from error
        except UnidentifiedImageError as error:  # its own message tells where in memory the bytes were
            raise InputError(f"{source}: not a readable PNG, JPEG or WebP picture") from error
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{source}: not a readable PNG, JPEG or WebP picture ({_first_line(error)})") from error
        self.data = data

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Picture:
        """The picture in a file; raises `InputError` where it can't be read."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: can't read the picture ({error.strerror or error})") from error
        return cls(data, str(path))

    @classmethod
    def from_image(cls, image: Image.Image) -> Picture:
        """A PIL image as a PNG."""
        buffer, pixels = io.BytesIO(), image.convert("RGB")
        # Of drawn and painted pictures the files are as small as at zlib's usual strategy, in a quarter of the time.
        pixels.save(buffer, "PNG", compress_type=zlib.Z_RLE)
        made = cls.__new__(cls)
        made.data, made.format, (made.width, made.height) = buffer.getvalue(), "PNG", pixels.size
        made._pixels = pixels
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __deepcopy__(self, memo: object) -> Picture:
        """Itself: a picture never changes."""
        return self

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def path(self) -> str:
        """Where a document folder keeps it, relative to the folder."""
        return picture_path(self.sha256, self.format)

    @property
    def base64(self) -> str:
        """The file as base64 text."""
        return base64.b64encode(self.data).decode()

    @property
    def mime_type(self) -> str:
        return f"image/{self.format.lower()}"

    @property
    def data_url(self) -> str:
        """The file as a ``data:`` URL, as pages and chat models take it."""
        return f"data:{self.mime_type};base64,{self.base64}"

    def image(self) -> Image.Image:
        """The pixels, RGB; transparent parts become white."""
        if self._pixels is not None:
            return self._pixels.copy()
        return _on_white(Image.open(io.BytesIO(self.data), formats=list(FORMATS)))


def picture_path(sha256: str, kind: str) -> str:
    """Where a document folder keeps a picture, relative to the folder, by its hash and its format."""
    return f"pictures/{sha256[:16]}{FORMATS[kind]}"


def stays_inside(path: str) -> bool:
    """Whether a relative path names something in the folder that it starts from, on any system, links aside."""
    pure = PurePosixPath(path)
    return bool(path) and not (pure.is_absolute() or ".." in pure.parts or any(sign in path for sign in "\\:\0"))


class TextPart(BaseModel):
    """A piece of text, kept exactly as it was written."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"] = "text"
    text: str


class ImagePart(BaseModel):
    """A picture by reference."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["image"] = "image"
    image: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    alt: str = ""

    @field_validator("image")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if not stays_inside(path):
            raise ValueError(f"picture path {path!r} must stay inside the document's folder")
        return path


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(BaseModel):
    """One turn of a dialogue."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: list[Part] = Field(default_factory=list)

    @property
    def text(self) -> str:
        """All text of the turn, its parts on lines of their own."""
        return "\n".join(part.text.strip("\n") for part in self.content if isinstance(part, TextPart))


class Document(BaseModel):
    """An interleaved dialogue and the pictures it refers to.

    Pictures live beside the messages, by hash; `picture` finds one, `add_picture` appends one to the last message.
    """

    model_config = ConfigDict(extra="forbid")
    messages: list[Message] = Field(default_factory=list)
    _pictures: dict[str, Picture] = PrivateAttr(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        # Messages name their pictures by hash; which of them are attached makes no difference.
        return isinstance(other, Document) and self.messages == other.messages

    # Growing

    def add_message(self, role: Literal["system", "user", "assistant"]) -> Message:
        """Begins a new turn."""
        self.messages.append(Message(role=role))
        return self.messages[-1]

    def add_text(self, text: str) -> None:
        """Appends text to the last turn, as one part with the text before it."""
        content = self.messages[-1].content
        if content and isinstance(content[-1], TextPart):
            content[-1] = TextPart(text=content[-1].text + text)
        elif text:
            content.append(TextPart(text=text))

    def add_picture(self, picture: Picture, alt: str = "") -> ImagePart:
        """Appends a picture to the last turn."""
        part = ImagePart(image=picture.path, sha256=picture.sha256, width=picture.width, height=picture.height, alt=alt)
        self._pictures[picture.sha256] = picture
        self.messages[-1].content.append(part)
        return part

    def add_request(self, text: str, pictures: Iterable[Picture] = ()) -> None:
        """Appends a user's turn: pictures first, then the text.

        Raises:
            InputError: there is nothing in it.
        """
        self.add_interleaved([*pictures, text])

    def add_interleaved(self, parts: Iterable[str | Picture]) -> None:
        """Appends a user's turn in which text and pictures stand in an order of their own; texts that follow each other are lines of one.

        Raises:
            InputError: there is nothing in it.
        """
        parts = [part for part in parts if isinstance(part, Picture) or part.strip()]
        if not parts:
            raise InputError("the request is empty: say what to plan or draw")
        self.add_message("user")
        for before, part in zip([None, *parts], parts, strict=False):
            if isinstance(part, Picture):
                self.add_picture(part, alt="picture given by the user")
            else:
                self.add_text(("\n" if isinstance(before, str) else "") + part.strip())

    def branch(self) -> Document:
        """A copy that grows on its own; the pictures are shared."""
        copy = Document()
        copy.messages = [
            message.model_copy(update={"content": [part.model_copy() for part in message.content]})
            for message in self.messages
        ]
        copy._pictures = dict(self._pictures)
        return copy

    # Looking

    @property
    def images(self) -> list[ImagePart]:
        """Every picture part, in reading order."""
        return [part for message in self.messages for part in message.content if isinstance(part, ImagePart)]

    def picture(self, part: ImagePart) -> Picture:
        """The picture behind a part; raises `InputError` where the document doesn't hold it."""
        try:
            return self._pictures[part.sha256]
        except KeyError:
            raise InputError(f"{part.image}: the document refers to this picture but doesn't hold it") from None

    def attach(self, pictures: Iterable[Picture]) -> None:
        """Lets the document find these pictures by their hashes."""
        self._pictures.update((picture.sha256, picture) for picture in pictures)

    # JSON, JSONL and folders

    def to_json(self) -> str:
        """The messages as JSON text; the pictures stay beside it."""
        return json.dumps(self.model_dump(), ensure_ascii=False, indent=2)

    @classmethod
    def from_json(cls, text: str | bytes, folder: str | os.PathLike[str] | None = None) -> Document:
        """Reads messages; with `folder`, also every picture they name, checked against its hash.

        Raises:
            InputError: bad JSON, an unknown role or field, a path that leaves the folder, a missing or changed picture.
        """
        try:
            document = cls.model_validate(json.loads(text))
        except ValueError as error:
            raise InputError(f"not a document: {_explain(error)}") from error
        if folder is not None:
            root = Path(folder).resolve()
            for part in document.images:
                path = (root / part.image).resolve()
                if not path.is_relative_to(root):
                    raise InputError(f"{part.image}: the path leaves the document's folder")
                picture = Picture.from_file(path)
                if picture.sha256 != part.sha256:
                    raise InputError(f"{part.image}: the picture is not the one the document was saved with")
                document.attach([picture])
        return document

    def write_pictures(self, folder: str | os.PathLike[str]) -> None:
        """Writes the pictures that aren't in `folder` yet."""
        for part in self.images:
            path = Path(folder) / part.image
            if not path.exists():
                write_atomically(path, self.picture(part).data)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes ``plan.json`` and the pictures into a folder; returns the path of the JSON file."""
        self.write_pictures(folder)
        path = Path(folder) / PLAN_FILE
        write_atomically(path, self.to_json().encode())
        return path

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Document:
        """Reads a folder that `save` wrote."""
        path = Path(folder) / PLAN_FILE
        try:
            text = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: can't read the plan ({error.strerror or error})") from error
        return cls.from_json(text, folder)

    # Records of ms-swift and LLaMA-Factory

    def to_record(self) -> dict[str, Any]:
        """``{"messages": [{"role", "content"}], "images": [...]}`` with ``<image>`` where a picture stands.

        Text that contains the mark itself can't be told apart from a picture in that format.

        Raises:
            InputError: a text part contains ``<image>``.
        """
        messages = []
        for message in self.messages:
            if IMAGE_MARK in message.text:
                raise InputError(f"text that contains {IMAGE_MARK} can't be written as an <image> record")
            content = "".join(part.text if isinstance(part, TextPart) else IMAGE_MARK for part in message.content)
            messages.append({"role": message.role, "content": content})
        return {"messages": messages, "images": [part.model_dump(exclude={"type"}) for part in self.images]}

    @classmethod
    def from_record(cls, record: dict[str, Any], folder: str | os.PathLike[str]) -> Document:
        """Reads such a record; ``images`` holds paths, or dictionaries with ``path``, ``image`` or ``bytes``.

        Raises:
            InputError: a missing field, more or fewer marks than pictures, a picture that can't be read.
        """
        try:
            pairs = [(str(message["role"]), str(message["content"])) for message in record["messages"]]
            images = list(record.get("images") or [])
        except (KeyError, TypeError) as error:
            raise InputError(f"not an <image> record: {_first_line(error)}") from error
        marks = sum(content.count(IMAGE_MARK) for _, content in pairs)
        if marks != len(images):
            raise InputError(f"the record has {marks} {IMAGE_MARK} marks but {len(images)} images")
        document, rest = cls(), iter(images)
        for role, content in pairs:
            if role not in ("system", "user", "assistant"):
                raise InputError(f"not a document: unknown role {role!r}")
            document.add_message(role)  # type: ignore[arg-type]
            for index, text in enumerate(content.split(IMAGE_MARK)):
                if index:
                    image = next(rest)
                    alt = str(image.get("alt", "")) if isinstance(image, dict) else ""
                    document.add_picture(_record_picture(image, Path(folder)), alt)
                document.add_text(text)
        return document


def read_jsonl(path: str | os.PathLike[str]) -> Iterator[Document]:
    """Documents of a JSONL file, one a line, with their pictures beside the file.

    Raises:
        InputError: naming the line that can't be used.
    """
    folder = Path(path).parent
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield Document.from_json(line, folder)
                except InputError as error:
                    raise InputError(f"{path}, line {number}: {error}") from error


def write_jsonl(documents: Iterable[Document], path: str | os.PathLike[str]) -> None:
    """Writes documents one a line, and their pictures beside the file."""
    lines = []
    for document in documents:
        document.write_pictures(Path(path).parent)
        lines.append(json.dumps(document.model_dump(), ensure_ascii=False))
    write_atomically(Path(path), ("\n".join(lines) + "\n").encode() if lines else b"")


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or a crash, sees the old content or the new, never a part.

    Raises:
        InputError: the folder can't be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: can't write ({error.strerror or error})") from error


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; transparent parts become white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _record_picture(image: Any, folder: Path) -> Picture:
    if isinstance(image, dict):
        if image.get("bytes"):
            return Picture(bytes(image["bytes"]))
        image = image.get("path") or image.get("image")
    if not isinstance(image, str):
        raise InputError("an image of the record is neither a path nor bytes")
    return Picture.from_file(folder / image)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _explain(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    return _first_line(error)
