"""Each picture behind the text that describes it.

A model says which passage that is, where there is one. By rules it is the passage that shares the words, or the number of the step, with what
the page says of the picture; what nothing is said of stays where it is, or goes the way that the page's other pictures went.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from pydantic import BaseModel, Field

from duogen.training.engine.answers import Model, NoAnswer
from duogen.training.engine.describe import file_words
from duogen.training.engine.item import Draft, Figure, Passage
from duogen.training.engine.text import words_of

TASK = """You place the pictures of a page. For each picture, give the number of the passage that describes what it shows, so that the picture can
stand right behind it. Where no passage does, give the passage that it stands behind now."""
_STEP = re.compile(r"\b(?:step|figure|fig|part|stage|no|number)\.?[\s_\-]*(\d{1,2})\b", re.I)
_ITEM = re.compile(r"^(?:step\s*)?(\d{1,2})[.:)\s]", re.I)
_STOP = frozenset(
    [
        "the",
        "and",
        "for",
        "with",
        "that",
        "this",
        "from",
        "into",
        "your",
        "you",
        "are",
        "was",
        "a",
        "an",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "it",
        "is",
        "be",
        "or",
        "as",
        "up",
        "step",
        "figure",
        "image",
        "picture",
        "photo",
    ]
)
SURE = 0.34
"""Share of a picture's words, by how telling they are, that a passage must have."""


class Placed(BaseModel):
    """A picture, and the passage that it belongs behind, by their numbers."""

    picture: int
    passage: int


class Placing(BaseModel):
    """Where all pictures of a page belong."""

    pictures: list[Placed] = Field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Moves pictures behind the passages that describe them; text and pictures stay what they are."""

    model: Model | None = None
    name = "place"

    def __call__(self, draft: Draft) -> Draft:
        spots = [index for index, block in enumerate(draft.blocks) if isinstance(block, Passage)]
        if not spots or not draft.figures:
            return draft
        homes = None
        if self.model is not None:
            try:
                homes = self._asked(self.model, draft)
            except NoAnswer as why:
                draft = draft.by_rules(self.name, "all pictures", f"no placing: {why}")
        homes = homes or by_words(draft)
        behind: dict[int, list[Figure]] = {}
        for index, block in enumerate(draft.blocks):
            if isinstance(block, Figure):
                behind.setdefault(homes[index], []).append(block)
        blocks: list[Passage | Figure] = []
        for index in spots:
            blocks += [draft.blocks[index], *behind.get(index, [])]
        return draft.model_copy(update={"blocks": blocks})

    def _asked(self, model: Model, draft: Draft) -> dict[int, int]:
        now = places(draft)
        pictures = [
            {"number": index, "shows": block.shows or block.alt or file_words(block), "stands behind": now[index]}
            for index, block in enumerate(draft.blocks) if isinstance(block, Figure)
        ]  # fmt: skip
        passages = [
            {"number": index, "text": block.text}
            for index, block in enumerate(draft.blocks)
            if isinstance(block, Passage)
        ]
        made = model.ask(TASK, {"passages": passages, "pictures": pictures}, Placing)
        homes = {each.picture: each.passage for each in made.pictures}
        if len(homes) != len(made.pictures) or set(homes) != {each["number"] for each in pictures}:
            raise NoAnswer("pictures are missing, twice, or invented")
        if unknown := set(homes.values()) - {each["number"] for each in passages}:
            raise NoAnswer(f"there is no passage {min(unknown)}")
        return homes


def places(draft: Draft) -> dict[int, int]:
    """The passage that each picture stands behind; of those before all text, the first one that is no heading."""
    homes, before = dict[int, int](), -1
    texts = [index for index, block in enumerate(draft.blocks) if isinstance(block, Passage)]
    first = next((index for index in texts if _kind(draft.blocks[index]) != "heading"), texts[0])
    for index, block in enumerate(draft.blocks):
        if isinstance(block, Figure):
            # Between a heading and its text a picture would part the two.
            under = index + 1
            while under < len(draft.blocks) and isinstance(draft.blocks[under], Figure):
                under += 1
            homes[index] = first if before < 0 else before
            ahead = draft.blocks[under] if under < len(draft.blocks) else None
            if (
                before >= 0
                and _kind(draft.blocks[before]) == "heading"
                and isinstance(ahead, Passage)
                and ahead.kind != "heading"
            ):
                homes[index] = under
        else:
            before = index
    return homes


def by_words(draft: Draft) -> dict[int, int]:
    """The passage that each picture belongs behind, by what the page says of it."""
    homes = places(draft)
    spots = [index for index, block in enumerate(draft.blocks) if isinstance(block, Passage)]
    said = {index: _words(_said(draft.blocks[index])) for index in spots}
    known = Counter(word for words in said.values() for word in words)
    telling = {word: math.log(1 + len(spots) / count) for word, count in known.items()}
    numbered = {int(match[1]): index for index in reversed(spots) if (match := _ITEM.match(_said(draft.blocks[index])))}
    sure: dict[int, int] = {}
    for index, block in enumerate(draft.blocks):
        if not isinstance(block, Figure):
            continue
        own = f"{block.shows} {block.caption} {block.alt}".strip()
        match = _STEP.search(own) or _STEP.search(file_words(block))
        if match and int(match[1]) in numbered:
            sure[index] = _below(draft, numbered[int(match[1])])
            continue
        words = _words(own) or _words(file_words(block))
        total = sum(telling.get(word, 1.0) for word in words)
        if not total:
            continue
        shares = {spot: sum(telling[word] for word in words & said[spot]) / total for spot in spots}
        best = max(spots, key=lambda spot: (shares[spot], -abs(spot - index)))
        here = shares[homes[index]]
        if shares[best] >= SURE and shares[best] > 1.2 * here:
            sure[index] = _below(draft, best)
        elif here >= SURE:
            sure[index] = homes[index]
    moved = [1 for index, home in sure.items() if home > index]
    if len(moved) > len(sure) / 2:
        # This page shows each picture before its text: so do those that nothing is said of.
        for index in set(homes) - set(sure):
            after = next((spot for spot in spots if spot > index and _kind(draft.blocks[spot]) != "heading"), None)
            if after is not None:
                homes[index] = after
    return homes | sure


def _below(draft: Draft, spot: int) -> int:
    """The passage itself; of a heading, the text right under it."""
    blocks = draft.blocks
    if _kind(blocks[spot]) == "heading":
        for index in range(spot + 1, len(blocks)):
            block = blocks[index]
            if isinstance(block, Passage):
                return spot if block.kind == "heading" else index
    return spot


def _kind(block: Passage | Figure) -> str:
    return block.kind if isinstance(block, Passage) else "picture"


def _said(block: Passage | Figure) -> str:
    return block.text if isinstance(block, Passage) else ""


def _words(text: str) -> set[str]:
    """Words without their endings, as far as a rule can tell."""
    return {
        re.sub(r"(ing|ed|es|s)$", "", word) if len(word) > 4 else word
        for word in words_of(text)
        if word not in _STOP and len(word) > 2
    }
