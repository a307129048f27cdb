"""Text that was broken on its way, its language, and what isn't worth reading."""

from __future__ import annotations

import re
from dataclasses import dataclass

import ftfy
import py3langid

from duogen.training.engine.config import TextLimits
from duogen.training.engine.item import Draft, Dropped, Figure, Loss, Passage

_MARKUP = re.compile(
    r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|&(?:[a-z]{2,8}|#\d{2,5});|\[/?(?:caption|gallery|embed|sc|vc_\w+)[^\]]*\]", re.I
)
SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
_WORD = re.compile(r"[^\W\d_]+")
ADDRESSED_TO_MODELS = re.compile(
    r"(ignore|disregard|forget|override)\b.{0,40}\b(previous|prior|above|earlier|all|your|any)\b.{0,40}\b(instruction|prompt|rule|context|direction|guideline)"
    r"|\b(you are|you're|act as|pretend to be)\b.{0,30}\b(ai|llm|language model|assistant|chatbot|gpt)\b"
    r"|\b(system|developer)\s*(prompt|message)\b|<\|?(im_start|im_end|system|endoftext)\|?>|\[/?(inst|system)\]|###\s*(instruction|system)"
    r"|\b(ai|language model|llm|chatbot|assistant)s?\b.{0,60}\b(must|should|please|are asked to|have to)\b.{0,60}\b(output|write|reply|respond|say|print|include|insert|recommend|answer|rewrite|summari[sz]e)"
    r"|\b(when|if|while)\b.{0,20}\b(summari[sz]ing|rewriting|processing|reading|captioning|translating)\b.{0,30}\b(this|the)\b.{0,20}\b(page|text|article|document|content)\b"
    r"|\b(note|message|instructions?|attention)\s+(to|for)\s+(the\s+)?(ai|llm|model|bot|crawler|assistant|rewriter)s?\b",
    re.I | re.S,
)
"""What a text says to a model that reads it, in place of to a reader."""


def language_of(text: str) -> str:
    """ISO 639-1 code of a text's language, as its first characters have it."""
    return str(py3langid.classify(text[:4000])[0])


@dataclass(frozen=True)
class Repair:
    """Mends encodings, takes markup out, drops passages that are noise, and pages in other languages."""

    limits: TextLimits
    name = "text"

    def __call__(self, draft: Draft) -> Draft:
        blocks = [
            block.model_copy(update={"text": repaired(block.text, block.kind)}) if isinstance(block, Passage)
            else block.model_copy(update={"alt": repaired(block.alt), "caption": repaired(block.caption)})
            for block in draft.blocks
        ]  # fmt: skip
        draft = draft.model_copy(update={"blocks": blocks, "title": repaired(draft.title)})
        reasons: dict[int, str] = {}
        spoken: list[Loss] = []
        for index, block in enumerate(blocks):
            if isinstance(block, Passage) and block.kind != "code":
                blocks[index], gone = _to_readers(block)
                spoken += gone
        draft = draft.model_copy(update={"blocks": blocks, "losses": [*draft.losses, *spoken]})
        for index, block in enumerate(blocks):
            if isinstance(block, Passage) and (why := self._fault(block)):
                reasons[index] = why
        if ADDRESSED_TO_MODELS.search(draft.title):
            raise Dropped("its title is addressed to a model")
        draft = draft.without(self.name, reasons)
        blocks = [block if isinstance(block, Passage) else _tamed(block) for block in draft.blocks]
        draft = draft.model_copy(update={"blocks": blocks})
        if draft.words < self.limits.min_words:
            raise Dropped(f"{draft.words} words, fewer than {self.limits.min_words}")
        if draft.words > self.limits.max_words:
            raise Dropped(f"{draft.words} words, more than {self.limits.max_words}")
        language = language_of(" ".join(passage.text for passage in draft.passages))
        if self.limits.languages and language not in self.limits.languages:
            raise Dropped(f"its language is {language}")
        return draft.model_copy(update={"language": language})

    def _fault(self, passage: Passage) -> str:
        text, limits = passage.text, self.limits
        if not text.strip():
            return "empty"
        if ADDRESSED_TO_MODELS.search(text):
            return "addressed to a model"
        if passage.kind == "code":
            return "" if len(text) <= limits.max_code else f"code of {len(text)} characters"
        if len(text.split()) > limits.max_passage_words:
            return f"more than {limits.max_passage_words} words in a passage"
        strange = sum(not (each.isalnum() or each.isspace() or each in ".,;:!?'\"()-/%°") for each in text) / len(text)
        if strange > limits.max_strange:
            return f"special characters are {strange:.2f} of it"
        repeated = repetition(text)
        if repeated > limits.max_repetition:
            return f"repetition is {repeated:.2f} of it"
        return ""


def _to_readers(passage: Passage) -> tuple[Passage, list[Loss]]:
    """A passage without the sentences that are addressed to a model."""
    if not ADDRESSED_TO_MODELS.search(passage.text):
        return passage, []
    sentences = SENTENCE.split(passage.text)
    wrong = [sentence for sentence in sentences if ADDRESSED_TO_MODELS.search(sentence)]
    kept = " ".join(sentence for sentence in sentences if sentence not in wrong)
    losses = [Loss(step="text", what=sentence[:120], reason="addressed to a model") for sentence in wrong]
    return passage.model_copy(update={"text": kept}), losses


def repaired(text: str, kind: str = "paragraph") -> str:
    """Text without mojibake, odd spaces and markup."""
    fixed = ftfy.fix_text(text)
    if kind == "code":
        return fixed.strip("\n")
    return " ".join(_MARKUP.sub(" ", fixed).split())


def repetition(text: str, size: int = 10) -> float:
    """Share of a text's 10-character pieces that are no first ones (OBELICS's filter)."""
    if len(text) < 4 * size:
        return 0.0
    pieces = [text[at : at + size] for at in range(len(text) - size + 1)]
    return 1 - len(set(pieces)) / len(pieces)


def words_of(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _tamed(figure: Figure) -> Figure:
    """A picture's words, gone where they are addressed to a model."""
    wrong = {name: "" for name in ("alt", "caption") if ADDRESSED_TO_MODELS.search(getattr(figure, name))}
    return figure.model_copy(update=wrong)
