"""A document as an instruction booklet: a title, what is needed, numbered steps with their pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from duogen.document import Document, ImagePart, Message, Picture

NUMBER = re.compile(r"^\s*(?:(?:step|part)\s*\d{1,3}\s*[.:)\u2013\u2014-]?|\d{1,3}\s*[.:)])\s+", re.IGNORECASE)
"""How a step's text may begin; the booklet numbers its steps itself."""
ITEM = re.compile(r"^\s*[-*\u2022]\s+")
NEEDED = re.compile(
    r"^\W*(?:what )?you(?:'ll| will)? need\b.*:?\W*$|^\W*(?:ingredients|materials|tools)\W*$", re.IGNORECASE
)


@dataclass(frozen=True)
class Figure:
    """A picture with what it shows."""

    picture: Picture
    alt: str


@dataclass
class Step:
    """One step: its lines of text and the pictures behind them."""

    number: int
    lines: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


@dataclass
class Section:
    """A request and its answer. `asked` is empty for the first one, whose request is the title."""

    asked: list[str] = field(default_factory=list)
    given: list[Figure] = field(default_factory=list)
    intro: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outro: list[str] = field(default_factory=list)


@dataclass
class Booklet:
    """What every format shows. All text is plain, and holds no character that a page can't."""

    title: str
    sections: list[Section]

    @property
    def figures(self) -> list[Figure]:
        """All pictures, in reading order."""
        return [
            figure
            for section in self.sections
            for figure in [*section.given, *(each for step in section.steps for each in step.figures)]
        ]


def title_of(document: Document) -> str:
    """The first request, on one line."""
    texts = [plain(message.text) for message in document.messages if message.role == "user"]
    return next((" ".join(text.split()) for text in texts if text.strip()), "A plan")


def booklet(document: Document) -> Booklet:
    """A document's booklet; system messages aren't part of it.

    Raises:
        InputError: the document doesn't hold one of its pictures.
    """
    made = Booklet(title_of(document), [])
    for message in document.messages:
        if message.role == "user" or not made.sections:
            made.sections.append(Section())
        section = made.sections[-1]
        if message.role == "user":
            section.given = [_figure(document, part) for part in message.content if isinstance(part, ImagePart)]
            # The first request is the title already.
            section.asked = [] if len(made.sections) == 1 else _lines(message.text)
        elif message.role == "assistant":
            _read(document, message, section)
    return made


def plain(text: str) -> str:
    """Text without control characters, which no format can hold, and without marks that would turn what stands behind them round."""
    return "".join(
        char
        for char in text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
        if char == "\n" or ((char.isprintable() or char in "\u200c\u200d\u200e\u200f") and char not in "\u202d\u202e")
    )


def _read(document: Document, message: Message, section: Section) -> None:
    """Takes an answer's parts apart into introduction, needs, steps and what stands behind them."""
    pending: list[str] | None = None
    for part in message.content:
        if isinstance(part, ImagePart):
            if pending is not None or not section.steps:
                step = Step(len(section.steps) + 1)
                step.lines = _step_lines(pending or [], section, first=not section.steps)
                section.steps.append(step)
                pending = None
            section.steps[-1].figures.append(_figure(document, part))
        else:
            pending = (pending or []) + _lines(part.text)
    if pending:
        rest = section.outro if section.steps else section.intro
        rest += _without_needs(pending, section)


def _step_lines(lines: list[str], section: Section, first: bool) -> list[str]:
    """The lines of a step; what stands before the line with its number belongs to the introduction, or to the step before."""
    numbered = [index for index, line in enumerate(lines) if NUMBER.match(line)]
    start = numbered[0] if numbered else 0
    before = _without_needs(lines[:start], section)
    if first:
        section.intro += before
    elif section.steps:
        section.steps[-1].lines += before
    kept = lines[start:]
    return [
        NUMBER.sub("", line) if index in {0, *(n - start for n in numbered)} else line
        for index, line in enumerate(kept)
    ]


def _without_needs(lines: list[str], section: Section) -> list[str]:
    """Lines without the list of what is needed, which goes to the section's own."""
    kept: list[str] = []
    listing = False
    for line in lines:
        if NEEDED.match(line):
            listing = True
        elif listing and ITEM.match(line):
            section.needs.append(ITEM.sub("", line).strip())
        else:
            listing = False
            kept.append(line)
    return kept


def _lines(text: str) -> list[str]:
    return [line.strip() for line in plain(text).splitlines() if line.strip()]


def _figure(document: Document, part: ImagePart) -> Figure:
    return Figure(document.picture(part), " ".join(plain(part.alt).split()))
