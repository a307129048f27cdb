"""Prompts to documents (paper, section 5: the synthetic engine).

    prompts -> draw -> check | validate

Text and pictures come from a DuoGen model, or from a language model and an image endpoint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, Field

from duogen.document import Document, Picture
from duogen.errors import DuoGenError
from duogen.training.engine.answers import Model, NoAnswer
from duogen.training.engine.config import EngineConfig
from duogen.training.engine.dialogue import Validate
from duogen.training.engine.item import Draft, Dropped, Figure, Passage, Step, Store, identity
from duogen.training.engine.pictures import kept
from duogen.training.engine.prompts import Prompt
from duogen.training.engine.run import Job, Record, dropped, through

if TYPE_CHECKING:
    import openai

STEPS = ("draw", "check", "across", "validate")
WRITE = """You answer a request with steps, each a short text and a picture. Write the steps, at most {most}. For each, say in full what its picture shows: the
painter sees nothing but your words for it, so name again all that stays from the picture before."""
LOOK = """A text says what a picture should show. Say whether it does: everything that the text names is there, and nothing contradicts it."""


class Written(BaseModel):
    """A step: its text, and what its picture shows."""

    text: str = Field(min_length=3, max_length=1200)
    picture: str = Field(min_length=3, max_length=1200)


class Plan(BaseModel):
    """An answer in steps."""

    steps: list[Written] = Field(min_length=1, max_length=12)


class Verdict(BaseModel):
    """Whether a picture shows what it should."""

    shows: bool
    why: str = ""


class Maker(Protocol):
    """Makes answers, and looks at them; raises `Dropped` where it can't."""

    def answer(self, prompt: str, seed: int) -> Document:
        """A document whose last message is the answer to a prompt."""

    def chances(self, document: Document) -> list[float]:
        """How likely it is, of each picture of the answer, that it shows what it should."""


@dataclass(frozen=True)
class Own:
    """A DuoGen model, which checks its pictures itself.

    Args:
        model: its folder; the default model, where it is None.
        most: pictures of an answer, at most.
    """

    model: Path | None
    device: str | None
    most: int

    def answer(self, prompt: str, seed: int) -> Document:
        from duogen.models.sampler import PaintSettings
        from duogen.models.session import DecodeSettings

        agent = _loaded(self.model, self.device)
        try:
            plan = agent.plan(
                prompt, settings=PaintSettings(seed=seed), decode=DecodeSettings(seed=seed), max_pictures=self.most
            )
        except DuoGenError as error:
            raise Dropped(str(error)) from error
        if plan.reason != "end":
            raise Dropped(f"it wasn't finished: {plan.reason}")
        document: Document = plan.document
        return document

    def chances(self, document: Document) -> list[float]:
        from duogen.tools.look import LookTool

        look = LookTool(_loaded(self.model, self.device).pipeline)
        found = []
        answer = document.messages[-1].content
        for index, part in enumerate(answer):
            if part.type == "image":
                before = document.branch()
                before.messages[-1].content = list(answer[:index])
                found.append(look.shows(before, document.picture(part)))
        return found


@lru_cache(maxsize=1)
def _loaded(model: Path | None, device: str | None) -> Any:
    """One a process."""
    from duogen.loading import load

    return load(model, device)


@lru_cache(maxsize=1)
def _client(url: str | None) -> openai.OpenAI:
    """One a process; what it brings takes seconds to import."""
    from duogen.endpoints import connect

    return connect(url)


@dataclass(frozen=True)
class Endpoints:
    """A language model that writes, an image endpoint (``images.generate``) that paints, and a model that sees, if there is one.

    Args:
        painter: the image model's name. url: of its server; OpenAI's own where it is None.
        viewer: checks the pictures; all are taken without one.
    """

    writer: Model
    painter: str
    url: str | None
    viewer: Model | None
    most: int

    def answer(self, prompt: str, seed: int) -> Document:
        try:
            plan = self.writer.ask(WRITE.format(most=self.most), {"request": prompt}, Plan)
        except NoAnswer as why:
            raise Dropped(f"no text: {why}") from why
        document = Document()
        document.add_request(prompt)
        document.add_message("assistant")
        for step in plan.steps[: self.most]:
            document.add_text(step.text.strip())
            document.add_picture(self._painted(step.picture), step.picture)
        return document

    def _painted(self, text: str) -> Picture:
        from duogen.endpoints import explained

        try:
            client = _client(self.url)
            with explained(f"{self.painter} at {client.base_url}"):
                made = client.images.generate(model=self.painter, prompt=text, n=1, response_format="b64_json")
            data = made.data[0].b64_json if made.data else None
            if not data:
                raise Dropped("the image endpoint gave no picture")
            return Picture(base64.b64decode(data, validate=True), "the image endpoint's picture")
        except (DuoGenError, binascii.Error) as error:
            raise Dropped(f"no picture: {error}") from error

    def chances(self, document: Document) -> list[float]:
        found = []
        for part in document.messages[-1].content:
            if part.type == "image":
                found.append(1.0)
                if self.viewer is not None:
                    try:
                        verdict = self.viewer.ask(LOOK, {"text": part.alt}, Verdict, (document.picture(part),))
                    except NoAnswer as why:
                        raise Dropped(f"it couldn't be checked: {why}") from why
                    found[-1] = float(verdict.shows)
        return found


@dataclass(frozen=True)
class Draw:
    """From a prompt to a draft that has been looked at.

    Args:
        enough: the least chance, 0 to 1, that a picture shows what it should; 0 doesn't look.
    """

    pictures: Path
    maker: Maker
    enough: float

    def __call__(self, job: Job) -> Record:
        draft = Draft(
            number=job["number"], id=identity("prompt", job["prompt"], str(job["seed"])), source="synthetic", title=job["prompt"],
            topic=f"{job['domain']}/{job['subcategory']}", request=job["prompt"], licence="synthetic",
        )  # fmt: skip
        try:
            document = self.maker.answer(job["prompt"], job["seed"])
        except Dropped as why:
            return dropped(draft, "draw", str(why))
        store = Store(self.pictures)
        blocks: list[Passage | Figure] = []
        for part in document.messages[-1].content:
            if part.type == "text":
                blocks += [Passage(text=part.text.strip())] if part.text.strip() else []
            else:
                blocks.append(kept(Figure(url=part.image, shows=part.alt), document.picture(part), store))
        draft = draft.model_copy(update={"blocks": blocks}).counted("draw")
        try:
            chances = self.maker.chances(document) if self.enough else []
        except Dropped as why:
            return dropped(draft, "check", str(why))
        if chances and min(chances) < self.enough:
            return dropped(
                draft,
                "check",
                f"picture {chances.index(min(chances)) + 1} doesn't show what it should: {min(chances):.2f}",
            )
        return through(draft.counted("check"), [])


def finishing(config: EngineConfig) -> Sequence[Step]:
    return [Validate(config.documents)]


def jobs(prompts: list[Prompt], seed: int) -> Iterator[Job]:
    for number, prompt in enumerate(prompts):
        yield {
            "number": number,
            "prompt": prompt.text,
            "domain": prompt.domain,
            "subcategory": prompt.subcategory,
            "seed": seed + number,
        }
