"""What other programs can ask for, whichever way they ask: plans, pictures, changes to pictures, and questions about them.

Pictures and plans have ids, so that one call can go on from what another has made. Given a root folder, all is kept there and found
again after a restart, and nothing outside it is ever read or written.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from duogen.agent.events import OnEvent
from duogen.agent.plan import Plan
from duogen.agent.worker import Worker
from duogen.document import Document, ImagePart, Picture, TextPart, write_atomically
from duogen.errors import InputError
from duogen.models.sampler import PaintSettings
from duogen.tools.image import MAX_REQUEST, Drawn

ID_LENGTH = 16
"""Hex digits of a picture's SHA-256 that are its id; also the name of its file."""

REMEMBERED = 256
"""Plans, and pictures, that are kept in memory."""

Request = Annotated[str, Field(min_length=1, max_length=MAX_REQUEST, description="what to plan, explain or illustrate")]
Instruction = Annotated[str, Field(min_length=1, max_length=MAX_REQUEST, description="what the picture should show")]
Change = Annotated[str, Field(min_length=1, max_length=MAX_REQUEST, description="what to change in the picture")]
Question = Annotated[
    str, Field(min_length=1, max_length=MAX_REQUEST, description="what to find out about the pictures")
]
PictureId = Annotated[
    str,
    Field(
        max_length=30_000_000,
        description="the id of an earlier picture, a data: URL, or a file's path inside the server's root folder",
    ),
]
Given = Annotated[list[PictureId], Field(max_length=16, description="pictures that come with the request")]
ToEdit = Annotated[
    list[PictureId], Field(min_length=1, max_length=8, description="the picture to change; more are references")
]
ToSee = Annotated[list[PictureId], Field(min_length=1, max_length=8, description="the pictures, in order")]
PlanId = Annotated[str | None, Field(description="the id of an earlier plan that this request follows up on")]
MaxPictures = Annotated[int, Field(ge=0, le=64, description="the answer ends after so many pictures")]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1, description="the same seed gives the same result")]


class PictureNote(BaseModel):
    """A picture of an answer. `path` is relative to the root folder, where there is one."""

    id: str
    width: int
    height: int
    alt: str = ""
    path: str | None = None


class Answer(BaseModel):
    """What a call made, as JSON: `text` has no pictures in it; `plan` is the id to follow up on; `reason` tells why it ended."""

    text: str
    pictures: list[PictureNote] = []
    plan: str | None = None
    reason: str = "end"


@dataclass(frozen=True)
class Made:
    """An answer and the parts that it consists of, in reading order."""

    answer: Answer
    parts: list[str | tuple[PictureNote, Picture]]
    artifact: Plan | Drawn | str


class Desk:
    """The four things that can be asked for.

    Args:
        worker: whose agent does the work.
        root: an existing folder to keep everything in; without it, memory is all there is.
    """

    def __init__(self, worker: Worker, root: Path | None = None) -> None:
        self.worker = worker
        self.root = None if root is None else root.resolve()
        if self.root is not None and not self.root.is_dir():
            raise InputError(f"{root}: no such folder")
        self._pictures: dict[str, Picture] = {}
        self._plans: dict[str, Document] = {}

    async def plan(
        self,
        request: Request,
        pictures: Given = [],  # noqa: B006 (a schema's default; it is never changed)
        plan: PlanId = None,
        max_pictures: MaxPictures = 16,
        seed: Seed = 0,
        *,
        on_event: OnEvent | None = None,
    ) -> Made:
        """Answer a request with text and pictures, step by step: how to build, cook, arrange or draw something. Goes on with an
        earlier plan where its id is given."""
        given, options = self._find(pictures), {"max_pictures": max_pictures, "settings": PaintSettings(seed=seed)}
        run = uuid.uuid4().hex[:12] if plan is None else plan
        after = None if plan is None else self._plan(plan)
        folder = None if self.root is None else self._folder(run)
        made = await self.worker.plan(request, given, on_event=on_event, after=after, folder=folder, run=run, **options)
        if self.root is None:
            self._keep(made)
        parts = [self._part(made.document, part, folder) for part in made.document.messages[-1].content]
        notes = [part[0] for part in parts if not isinstance(part, str)]
        return Made(Answer(text=made.text, pictures=notes, plan=made.run, reason=made.reason), parts, made)

    async def draw(self, instruction: Instruction, seed: Seed = 0, *, on_event: OnEvent | None = None) -> Made:
        """Draw one picture from a sentence."""
        return self._drawn(
            await self.worker.draw(instruction, PaintSettings(seed=seed), on_event=on_event), instruction
        )

    async def edit(
        self, instruction: Change, pictures: ToEdit, seed: Seed = 0, *, on_event: OnEvent | None = None
    ) -> Made:
        """Change an earlier or a given picture."""
        settings, given = PaintSettings(seed=seed), self._find(pictures)
        return self._drawn(await self.worker.edit(instruction, given, settings, on_event=on_event), instruction)

    async def look(self, question: Question, pictures: ToSee, *, on_event: OnEvent | None = None) -> Made:
        """Answer a question about pictures in words: what is there, how many, which colour, where, what has changed."""
        text = await self.worker.look(question, self._find(pictures), on_event=on_event)
        return Made(Answer(text=text), [text], text)

    def calls(self) -> list[tuple[str, Callable[..., Awaitable[Made]]]]:
        """The four by name; their signatures and docstrings are what a model is told about them."""
        return [("plan", self.plan), ("draw", self.draw), ("edit", self.edit), ("look", self.look)]

    def picture(self, reference: str) -> Picture:
        """The picture that an id, a data URL or a path names.

        Raises:
            InputError: it names none, or one outside the root folder.
        """
        if reference.startswith("data:"):
            return from_data_url(reference)
        if re.fullmatch(rf"[0-9a-f]{{6,{ID_LENGTH}}}", reference):
            known = [picture for id_, picture in self._pictures.items() if id_.startswith(reference)]
            if len(known) == 1:
                return known[0]
            files = [] if self.root is None or known else list(self._files(reference))
            if len({path.stem for path in files}) == 1:
                return Picture.from_file(files[0])
            raise InputError(f"{reference}: {'more than one' if known or files else 'no'} picture has this id")
        if self.root is not None and (path := (self.root / reference).resolve()).is_relative_to(self.root):
            return Picture.from_file(path)
        raise InputError(f"{reference[:80]!r} is no picture's id, no data: URL and no path inside the root folder")

    def _files(self, id_: str) -> Iterable[Path]:
        assert self.root is not None
        for pattern in (f"pictures/{id_}*", f"plans/*/pictures/{id_}*"):
            yield from (path for path in self.root.glob(pattern) if re.fullmatch(r"[0-9a-f]{16}", path.stem))

    def _find(self, references: Iterable[str]) -> list[Picture]:
        return [self.picture(reference) for reference in references]

    def _folder(self, run: str) -> Path:
        assert self.root is not None
        if not re.fullmatch(r"[0-9a-f]{12}", run):
            raise InputError(f"{run[:80]!r} is no plan's id")
        return self.root / "plans" / run

    def _plan(self, run: str) -> Document:
        if self.root is not None:
            folder = self._folder(run)
            if not (folder / "plan.json").exists():
                raise InputError(f"{run}: no plan has this id")
            return Document.load(folder)
        if run not in self._plans:
            raise InputError(f"{run[:80]}: no plan has this id")
        return self._plans[run]

    def _keep(self, made: Plan) -> None:
        """Without a root, what was made latest is kept, so that a server's memory doesn't grow for ever."""
        self._plans.pop(made.run, None)
        self._plans[made.run] = made.document
        while len(self._plans) > REMEMBERED:
            del self._plans[next(iter(self._plans))]

    def _remember(self, picture: Picture) -> None:
        self._pictures.pop(_id(picture), None)
        self._pictures[_id(picture)] = picture
        while len(self._pictures) > REMEMBERED:
            del self._pictures[next(iter(self._pictures))]

    def _part(
        self, document: Document, part: TextPart | ImagePart, folder: Path | None
    ) -> str | tuple[PictureNote, Picture]:
        if isinstance(part, TextPart):
            return part.text
        picture = document.picture(part)
        self._remember(picture)
        path = None if folder is None or self.root is None else str((folder / part.image).relative_to(self.root))
        return PictureNote(id=_id(picture), width=part.width, height=part.height, alt=part.alt, path=path), picture

    def _drawn(self, drawn: Drawn, instruction: str) -> Made:
        picture, path = drawn.picture, None
        self._remember(picture)
        if self.root is not None:
            path = picture.path
            write_atomically(self.root / path, picture.data)
        note = PictureNote(id=_id(picture), width=picture.width, height=picture.height, alt=instruction, path=path)
        return Made(Answer(text="", pictures=[note]), [(note, picture)], drawn)


def _id(picture: Picture) -> str:
    return picture.sha256[:ID_LENGTH]


def from_data_url(url: str) -> Picture:
    """The picture in a ``data:image/...;base64,...`` URL; raises `InputError` where there is none."""
    head, comma, data = url.partition(",")
    if not comma or not re.fullmatch(r"data:image/[a-z+.-]+;base64", head):
        raise InputError("the picture's URL must be of the form data:image/png;base64,...")
    try:
        return Picture(base64.b64decode(data, validate=True), "the picture in the data: URL")
    except binascii.Error as error:
        raise InputError(f"the picture's data: URL isn't base64 ({error})") from error


def spoken(made: Made) -> list[tuple[Literal["text", "image"], Any]]:
    """An answer's parts as a model reads them: texts, and pictures, each behind a line that tells its id."""
    told: list[tuple[Literal["text", "image"], Any]] = []
    for part in made.parts:
        if isinstance(part, str):
            told.append(("text", part))
        else:
            told += [("text", f"[picture {part[0].id}]"), ("image", part[1])]
    if made.answer.plan is not None:
        told.append(("text", f"[plan {made.answer.plan}]"))
    return told
