"""Text as somebody would say it: without links, calls to click, and talk about the page.

A language model words it anew where there is one; its answer is taken passage by passage, and only where the facts are the same. Rules
stand in for it otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from duogen.training.engine.answers import Model, NoAnswer
from duogen.training.engine.item import Draft, Figure, Loss, Passage
from duogen.training.engine.text import ADDRESSED_TO_MODELS, SENTENCE, words_of

TASK = """You word passages of a web page anew, for people who follow instructions. Each passage has a number.
Give every passage back under its number, in the same order, in clear plain English. Keep all facts: every number, amount, unit, name,
warning and step. Add nothing that isn't there. Leave out markup, addresses, links, advertising, and talk about the page itself, such as
calls to click, subscribe or share. A passage that is nothing but such talk gets an empty text."""

URL = re.compile(r"\b(?:https?://|www\.)\S+|\b[\w.+-]+@[\w-]+\.\w{2,}\b|\(\s*(?:https?://|www\.)[^)]*\)", re.I)
_TALK = re.compile(
    r"\b(click|tap|press)\b.{0,25}\b(here|below|above|link|image|picture|photo|thumbnail|button)s?\b.{0,40}\b(to|for)\b.{0,40}"
    r"\b(enlarge|view|read|zoom|download|buy|order|subscribe|large|full)\b|\bclick\b.{0,25}\b(here|below|above|link|thumbnail)s?\b"
    r"|\b(click|tap) (here|below)\b|\bsubscribe\b|\bnewsletter\b|\bsign up (for|to)\b|\b(follow|like|find) (us|me) on\b|\bshare (this|it|with)\b.{0,40}$|\bpin (this|it)\b"
    r"|\bread (more|also|next)\b|\brelated (posts?|articles?)\b|\bsee also\b|\bleave a (comment|reply)\b|\bin the comments\b|\baffiliate\b|\bsponsored\b"
    r"|\b(this|our) (site|website|blog) (uses|may)\b|\bcookies? (policy|settings|to give)\b|\baccept (all )?cookies\b|\ball rights reserved\b|\bbuy (it |yours )?now\b|\bshop now\b"
    r"|\bposted (by|on|in)\b|\bfiled under\b|\bprint this\b|\bback to top\b|\bjump to (recipe|step|section)\b|\badvertisement\b|\btable of contents\b",
    re.I,
)
_NUMBER = re.compile(r"\d+(?:[.,/:]\d+)*|[½¼¾⅓⅔⅛]")
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-Z][a-zA-Z]{2,}\b")
_NOT = re.compile(
    r"\b(not|never|no|without|don't|doesn't|do not|cannot|can't|avoid|won't|isn't|aren't|unless|instead)\b", re.I
)
_COMMON = frozenset(
    [
        "the", "and", "for", "with", "that", "this", "from", "into", "your", "you", "are", "was", "were", "will",
        "then", "than", "but", "its", "has", "have", "had", "not", "can", "our", "out", "all", "any", "one", "it",
        "is", "of", "to", "in", "on", "a", "an", "as", "at", "by", "be", "or", "if", "so", "do", "up", "off", "over",
        "under", "again", "very", "just", "also", "now", "them", "they", "their", "there", "here", "when", "while",
        "until", "after", "before", "about", "use", "used", "using",
    ]
)  # fmt: skip


class Reworded(BaseModel):
    """A passage, under its number."""

    number: int
    text: str


class Rewriting(BaseModel):
    """All passages of a page, worded anew."""

    passages: list[Reworded] = Field(default_factory=list)


@dataclass(frozen=True)
class Rewrite:
    """Words passages anew.

    Args:
        model: asked for it; where it is None, or its answer can't be used, rules do it.
    """

    model: Model | None = None
    name = "rewrite"

    def __call__(self, draft: Draft) -> Draft:
        worded, fallbacks = self._worded(draft)
        reasons: dict[int, str] = {}
        blocks = list(draft.blocks)
        for index, block in enumerate(blocks):
            if isinstance(block, Passage):
                text = worded.get(index)
                text = plain(block) if text is None else text
                if not text:
                    reasons[index] = "nothing but talk about the page"
                else:
                    blocks[index] = block.model_copy(update={"text": text})
            else:
                said = {name: URL.sub("", getattr(block, name)).strip() for name in ("alt", "caption")}
                blocks[index] = block.model_copy(update=said)
        noted = [Loss(step=self.name, what=f"passage {index}", reason=why) for index, why in fallbacks.items()]
        update = {
            "blocks": blocks,
            "fallbacks": [*draft.fallbacks, *sorted(set(fallbacks.values()))],
            "losses": [*draft.losses, *noted],
        }
        draft = draft.model_copy(update=update).without(self.name, reasons)
        return _without_bare_headings(draft)

    def _worded(self, draft: Draft) -> tuple[dict[int, str], dict[int, str]]:
        """The model's words for some passages; and why not, for the others."""
        if self.model is None:
            return {}, {}
        asked = {
            index: block
            for index, block in enumerate(draft.blocks)
            if isinstance(block, Passage) and block.kind != "code"
        }
        data: dict[str, Any] = {
            "title": draft.title,
            "passages": [{"number": index, "text": block.text} for index, block in asked.items()],
        }
        try:
            made = self.model.ask(TASK, data, Rewriting)
        except NoAnswer as why:
            return {}, dict.fromkeys(asked, f"no rewriting: {why}")
        given = [each.number for each in made.passages]
        if given != sorted(asked):
            return {}, dict.fromkeys(asked, "no rewriting: passages are missing, twice, or in another order")
        worded, wrong = dict[int, str](), dict[int, str]()
        for each in made.passages:
            old, new = asked[each.number], " ".join(each.text.split())
            fault = unfaithful(plain(old), new)
            if fault:
                wrong[each.number] = f"rewriting refused: {fault}"
            else:
                worded[each.number] = new
        return worded, wrong


def plain(passage: Passage) -> str:
    """A passage by rules: without addresses, and without sentences that talk about the page."""
    if passage.kind == "code":
        return passage.text
    mark = re.match(r"(?:- |\d+\. )?", passage.text)
    assert mark is not None
    sentences = SENTENCE.split(passage.text[mark.end() :])
    said = [URL.sub("", sentence) for sentence in sentences if not _TALK.search(sentence)]
    text = " ".join(" ".join(said).split())
    text = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\(\s*\)", "", text)).strip()
    return mark[0] + text if re.search(r"\w", text) else ""


def unfaithful(old: str, new: str) -> str:
    """What a passage lost or won that it mustn't when it was worded anew; empty where it is faithful."""
    if not new:
        return "" if not old or (len(words_of(old)) <= 3 and _TALK.search(old)) else "the text is gone"
    if not old:
        return "a text out of nothing"
    if URL.search(new):
        return "an address"
    if re.search(r"</?[a-z]+[^>]*>|!\[|\]\(", new):
        return "markup"
    if ADDRESSED_TO_MODELS.search(new):
        return "it speaks to a model"
    numbers = _numbers(old), _numbers(new)
    if missing := numbers[0] - numbers[1]:
        return f"{next(iter(missing))} is gone"
    if invented := numbers[1] - numbers[0]:
        return f"{next(iter(invented))} is new"
    known, said = words_of(old), words_of(new)
    names = {name.lower() for name in _NAME.findall(new)} - set(known)
    if names:
        return f"{sorted(names)[0]} is new"
    lost = {name.lower() for name in _NAME.findall(old)} - set(said)
    if lost:
        return f"{sorted(lost)[0]} is gone"
    if len(_NOT.findall(old)) > 0 and not _NOT.search(new):
        return "a negation is gone"
    if _NOT.search(new) and not _NOT.search(old):
        return "a negation is new"
    stems = [Counter(word[:5] for word in each if word not in _COMMON and len(word) > 2) for each in (known, said)]
    if stems[0]:
        kept = sum((stems[0] & stems[1]).values()) / sum(stems[0].values())
        fresh = 1 - sum((stems[0] & stems[1]).values()) / max(1, sum(stems[1].values()))
        if kept < 0.5:
            return f"only {kept:.2f} of its words are kept"
        if fresh > 0.5:
            return f"{fresh:.2f} of its words are new"
    if not 0.4 <= len(said) / max(1, len(known)) <= 1.7:
        return f"{len(known)} words became {len(said)}"
    return ""


def _numbers(text: str) -> Counter[str]:
    return Counter(number.replace(",", ".") for number in _NUMBER.findall(text))


def _without_bare_headings(draft: Draft) -> Draft:
    """Without headings that nothing stands under any more."""
    reasons = {}
    for index, block in enumerate(draft.blocks):
        if isinstance(block, Passage) and block.kind == "heading":
            after = draft.blocks[index + 1 :]
            under = next((each for each in after if isinstance(each, Figure) or each.kind != "heading"), None)
            if under is None:
                reasons[index] = "a heading with nothing under it"
    return draft.without("rewrite", reasons)
