"""From a page to a dialogue: what somebody would have asked, and the page as the answer; then whether that is worth keeping."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass

from pydantic import BaseModel, Field

from duogen.document import BOV, IMAGE_MARK
from duogen.training.engine.answers import Model, NoAnswer
from duogen.training.engine.config import DocumentLimits
from duogen.training.engine.item import Draft, Dropped, Figure, Passage
from duogen.training.engine.rewrite import URL
from duogen.training.engine.text import ADDRESSED_TO_MODELS, words_of

TASK = """You write the request that a page answers, as a person would type it: one or two sentences, without saying that there is a page. Take the
subject from the title and the text; ask for pictures now and then. Name nothing that the page doesn't."""
SHOWN = (
    "How do I make what this picture shows?",
    "I'd like to get this result. How do I do it?",
    "Show me step by step how to get to this.",
)
_HOW = (
    "How do I {}?",
    "Show me how to {}.",
    "Can you show me how to {}, with pictures?",
    "I want to {}. What are the steps?",
)
_WHAT = (
    "Tell me about {}, with pictures.",
    "Explain {} to me.",
    "I'd like an illustrated guide to {}.",
    "{}: please explain, with pictures.",
)
_RECIPE = ("How do I make {}?", "Give me a recipe for {}, with pictures.", "I'd like to make {}. Show me how.")
_MARKS = re.compile(rf"{IMAGE_MARK}|{re.escape(BOV)}|<\|[a-z_]+\|>")
_DECORATION = re.compile(
    r"\s*[|–—:-]?\s*\(?\b(step[- ]by[- ]step|with (pictures|photos)|tutorial|guide|recipe|updated|\d+ (easy )?(steps|ways)(?: \(with pictures\))?)\b\)?\s*$",
    re.I,
)

_NUMBERING = re.compile(r"^(?:(?:chapter|section|part|appendix)\s+)?(?:\d+|[A-Z])(?:\.\d+)*\.\s+", re.I)


class Request(BaseModel):
    """What a user asks."""

    request: str = Field(min_length=8, max_length=400)


@dataclass(frozen=True)
class Dialogue:
    """Gives the answer its question; sometimes the user shows the last picture as what is wanted.

    Args:
        seed: which wording, and which documents show what is wanted, depends on it and on the page's id alone.
    """

    limits: DocumentLimits
    seed: int = 0
    model: Model | None = None
    name = "dialogue"

    def __call__(self, draft: Draft) -> Draft:
        draw = random.Random(f"dialogue/{self.seed}/{draft.id}")
        subject = _NUMBERING.sub("", _DECORATION.sub("", draft.title)).strip(" .!?")
        if not subject:
            raise Dropped("it has no title to ask by")
        draft = _without_title(draft)
        shown = draw.random() < self.limits.show_goal
        last = max((index for index, block in enumerate(draft.blocks) if isinstance(block, Figure)), default=-1)
        if shown and len(draft.figures) >= 3 and any(isinstance(block, Passage) for block in draft.blocks[:last]):
            goal = draft.blocks[last]
            assert isinstance(goal, Figure)
            given = [goal]
            blocks = [block for index, block in enumerate(draft.blocks) if index != last]
            return draft.model_copy(update={"blocks": blocks, "given": given, "request": draw.choice(SHOWN)})
        request = worded(subject, draw)
        if self.model is not None:
            try:
                request = self._asked(self.model, draft)
            except NoAnswer as why:
                draft = draft.by_rules(self.name, draft.title, f"no request: {why}")
        return draft.model_copy(update={"request": request})

    def _asked(self, model: Model, draft: Draft) -> str:
        text = " ".join(passage.text for passage in draft.passages)
        made = " ".join(model.ask(TASK, {"title": draft.title, "text": text[:2000]}, Request).request.split())
        known = set(words_of(f"{draft.title} {text}"))
        if URL.search(made) or ADDRESSED_TO_MODELS.search(made) or _MARKS.search(made):
            raise NoAnswer("it isn't a request")
        own = [word for word in words_of(made) if len(word) > 4]
        if own and sum(word in known for word in own) < 0.4 * len(own):
            raise NoAnswer("it asks for something else than the page answers")
        return made


def worded(subject: str, draw: random.Random) -> str:
    """A request for what a title promises."""
    how = re.match(r"(?:how (?:to|do (?:i|you)|can (?:i|you))|learn (?:how )?to)\s+(.*)", subject, re.I)
    if how:
        return draw.choice(_HOW).format(_lower(how[1]))
    doing = re.match(r"([A-Za-z]+ing)\s+(.+)", subject)
    if doing:
        return draw.choice(
            ("Show me what {} involves, step by step.", "Help me with {}, with pictures.", "I need a guide to {}.")
        ).format(_lower(subject))
    if re.search(
        r"\b(recipe|cake|soup|bread|salad|pie|cookies|sauce|stew|curry|pasta|pizza|omelette|pancakes)\b", subject, re.I
    ):
        return draw.choice(_RECIPE).format(_lower(subject))
    made = draw.choice(_WHAT)
    return made.format(subject if made.startswith("{}") else _lower(subject))


def _lower(text: str) -> str:
    """Without the capital of a sentence's beginning; names and abbreviations keep theirs."""
    first, _, rest = text.partition(" ")
    capitals = [word for word in rest.split() if word[:1].isupper()]
    if first[1:].islower() and first[:1].isupper() and len(capitals) <= len(rest.split()) / 2:
        return f"{first.lower()} {rest}".strip()
    if first[1:].islower() and rest:  # a title in capitals: How To Make A Cake
        return " ".join(word.lower() if word[1:].islower() or len(word) == 1 else word for word in text.split())
    return text


def _without_title(draft: Draft) -> Draft:
    """Without the heading that says what the request says."""
    for index, block in enumerate(draft.blocks):
        if isinstance(block, Passage):
            if block.kind == "heading" and words_of(block.text) == words_of(draft.title):
                return draft.model_copy(update={"blocks": [*draft.blocks[:index], *draft.blocks[index + 1 :]]})
            break
    return draft


@dataclass(frozen=True)
class Validate:
    """Drops what can't be trained on, and scores what can.

    The score is the geometric mean of four parts, each 0 to 1: `length` of the text, `pictures` there are to it, `told`: how many of
    them something is said of, `variety` of its words.
    """

    limits: DocumentLimits
    name = "validate"

    def __call__(self, draft: Draft) -> Draft:
        reasons = {
            index: "it holds marks of pictures or turns"
            for index, block in enumerate(draft.blocks)
            if isinstance(block, Passage) and _MARKS.search(block.text)
        }
        draft = draft.without(self.name, reasons)
        pictures = len(draft.figures)
        if pictures < self.limits.min_pictures:
            raise Dropped(f"{pictures} pictures are left, fewer than {self.limits.min_pictures}")
        if pictures > self.limits.max_pictures:
            raise Dropped(f"{pictures} pictures, more than {self.limits.max_pictures}")
        if not draft.request.strip() or _MARKS.search(draft.request):
            raise Dropped("there is no request")
        if not isinstance(draft.blocks[0], Passage):
            raise Dropped("it begins with a picture that nothing introduces")
        if URL.search(" ".join(passage.text for passage in draft.passages if passage.kind != "code")):
            raise Dropped("an address is left in its text")
        scores = quality(draft)
        if scores["score"] < self.limits.min_score:
            raise Dropped(f"quality {scores['score']:.2f}, less than {self.limits.min_score}")
        return draft.model_copy(update={"scores": scores})


def quality(draft: Draft) -> dict[str, float]:
    """Parts of the score, and the score itself."""
    words = [word for passage in draft.passages for word in words_of(passage.text)]
    figures = [*draft.given, *draft.figures]
    per_picture = len(words) / max(1, len(figures))
    parts = {
        "length": min(1.0, len(words) / 80),
        # From 15 to 150 words to a picture are as good as any.
        "pictures": math.exp(-(max(0.0, math.log(max(per_picture, 1) / 150), math.log(15 / max(per_picture, 1))) ** 2) / 2),
        "told": (1 + sum(bool(figure.shows) for figure in figures)) / (1 + len(figures)),
        "variety": min(1.0, len(set(words)) / max(1.0, len(words) ** 0.7)),
    }  # fmt: skip
    score = math.prod(parts.values()) ** (1 / len(parts))
    return {name: round(value, 4) for name, value in (parts | {"score": score}).items()}
