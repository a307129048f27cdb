"""What flows through the data engine: a page, or another source, on its way to a training document."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from duogen.document import FORMATS, Document, ImagePart, Picture, picture_path, write_atomically


class Dropped(Exception):  # noqa: N818 - no error, an outcome
    """Raised by a step that gives an item up; says why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Passage(_Part):
    """Text: a heading, a paragraph, an entry of a list, ..."""

    type: Literal["text"] = "text"
    kind: Literal["heading", "paragraph", "item", "quote", "code", "table"] = "paragraph"
    text: str


class Figure(_Part):
    """A picture of a page: what the page says of it and, once it has been read, what it is.

    `around`: classes and ids of the elements around it, and where it links to. `declared`: width and height that the page gives it, 0 where
    it gives none. `phash`: its perceptual hash (64 bits, hexadecimal); `tiles`: its grey values, coarsely (144 bytes, hexadecimal). `label`
    and `shows`: its class, and what can be seen on it.
    """

    type: Literal["picture"] = "picture"
    url: str
    alt: str = ""
    caption: str = ""
    around: str = ""
    declared: tuple[int, int] = (0, 0)
    sha256: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    phash: str = ""
    tiles: str = ""
    label: str = ""
    shows: str = ""


Block = Annotated[Passage | Figure, Field(discriminator="type")]


class Loss(_Part):
    """What a step took out of an item that stays: `what` it was, and why. `sha256` of a picture that had been read."""

    step: str
    what: str
    reason: str
    sha256: str = ""


class Count(_Part):
    """How many passages and pictures an item had behind a step."""

    step: str
    passages: int
    pictures: int


class Draft(_Part):
    """An item between two steps.

    `number` is its place among the sources and decides the order of the output; `id` names it. `signature`: its MinHash. `fallbacks`: where
    rules stood in for a model's answer, and why. `request` and `given`: what the user says, and shows.
    """

    number: int
    id: str
    source: str
    url: str = ""
    title: str = ""
    language: str = ""
    licence: str = ""
    topic: str = ""
    blocks: list[Block] = Field(default_factory=list)
    request: str = ""
    given: list[Figure] = Field(default_factory=list)
    losses: list[Loss] = Field(default_factory=list)
    counts: list[Count] = Field(default_factory=list)
    signature: list[int] = Field(default_factory=list)
    fallbacks: list[str] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict)

    @property
    def passages(self) -> list[Passage]:
        return [block for block in self.blocks if isinstance(block, Passage)]

    @property
    def figures(self) -> list[Figure]:
        return [block for block in self.blocks if isinstance(block, Figure)]

    @property
    def words(self) -> int:
        return sum(len(passage.text.split()) for passage in self.passages)

    def without(self, step: str, reasons: dict[int, str]) -> Draft:
        """Without some blocks, given by their indexes, and with a note on each."""
        if not reasons:
            return self
        lost = [_loss(step, self.blocks[index], reason) for index, reason in sorted(reasons.items())]
        kept = [block for index, block in enumerate(self.blocks) if index not in reasons]
        return self.model_copy(update={"blocks": kept, "losses": [*self.losses, *lost]})

    def by_rules(self, step: str, what: str, reason: str) -> Draft:
        """With a note that rules stood in for a model's answer, and why."""
        note = Loss(step=step, what=what, reason=reason)
        return self.model_copy(update={"fallbacks": [*self.fallbacks, reason], "losses": [*self.losses, note]})

    def counted(self, step: str) -> Draft:
        count = Count(step=step, passages=len(self.passages), pictures=len(self.figures) + len(self.given))
        return self.model_copy(update={"counts": [*self.counts, count]})


class Step(Protocol):
    """One step: a draft in, a draft out; the same for the same draft, whatever came before."""

    name: str

    def __call__(self, draft: Draft) -> Draft:
        """Raises `Dropped` where nothing of it should stay."""


class Store:
    """The pictures of all items, by hash, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, picture: Picture) -> str:
        path = self.folder / (picture.sha256 + FORMATS[picture.format])
        if not path.exists():
            write_atomically(path, picture.data)
        return picture.sha256

    def path(self, figure: Figure) -> Path:
        return self.folder / (figure.sha256 + FORMATS[figure.format])

    def get(self, figure: Figure) -> Picture:
        """Raises `InputError` where it isn't there."""
        return Picture.from_file(self.path(figure))

    def hand_out(self, figure: Figure, folder: Path) -> None:
        """Puts a picture where a document in `folder` looks for it; on one disk it takes no space twice."""
        path = folder / part_of(figure).image
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.path(figure), path)
        except OSError:
            write_atomically(path, self.path(figure).read_bytes())

    def find(self, sha256: str) -> Path | None:
        """The file of a picture, by its hash alone."""
        paths = (self.folder / (sha256 + suffix) for suffix in FORMATS.values())
        return next((path for path in paths if path.exists()), None)


def identity(*parts: str) -> str:
    """A name for what these strings say, alike on every machine."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def part_of(figure: Figure) -> ImagePart:
    """A figure as a document refers to it."""
    return ImagePart(
        image=picture_path(figure.sha256, figure.format), sha256=figure.sha256, width=figure.width, height=figure.height, alt=figure.shows
    )  # fmt: skip


def document_of(draft: Draft) -> Document:
    """The finished item as a dialogue: the user's request, with the pictures given; the answer, text and pictures in turn."""
    document = Document()
    document.add_message("user").content += map(part_of, draft.given)
    document.add_text(draft.request)
    answer = document.add_message("assistant").content
    said: list[Passage] = []
    for block in draft.blocks:
        if isinstance(block, Passage):
            said.append(block)
        else:
            document.add_text(joined(said))
            answer.append(part_of(block))
            said = []
    document.add_text(joined(said))
    return document


def joined(passages: list[Passage]) -> str:
    """Passages as one text: entries of a list on lines of their own, all else with a blank line between."""
    text = ""
    for before, passage in zip([None, *passages], passages, strict=False):
        close = before is not None and before.kind == passage.kind == "item"
        text += ("" if before is None else "\n" if close else "\n\n") + passage.text
    return text


def _loss(step: str, block: Passage | Figure, reason: str) -> Loss:
    if isinstance(block, Passage):
        return Loss(step=step, what=block.text[:120], reason=reason)
    return Loss(step=step, what=block.url[:300], reason=reason, sha256=block.sha256)
