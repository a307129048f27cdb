"""What each picture shows, and of which class it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field

from duogen.training.engine.answers import Model, NoAnswer
from duogen.training.engine.item import Draft, Figure, Loss, Store
from duogen.training.engine.rewrite import URL
from duogen.training.engine.text import ADDRESSED_TO_MODELS

TASK = """You describe a picture of a web page. Say in one plain sentence what can be seen on it, without "the picture shows", and of which class it is.
The page's own words on it are given, and may be wrong: what you see counts."""
_FILE_NAME = re.compile(
    r"^[\w\-. ]+\.(jpe?g|png|webp|gif)$|^(img|dsc|image|photo|picture|untitled|screenshot)[\s_\-]*\d*$|^[\d_\-. x]+$",
    re.I,
)
DROPPED_LABELS = ("screenshot", "document page")


class Description(BaseModel):
    """What can be seen on a picture."""

    caption: str = Field(min_length=3, max_length=400)
    kind: Literal["photo", "drawing", "diagram", "screenshot", "document page"]


@dataclass(frozen=True)
class Describe:
    """Gives each picture a caption and a class.

    Args:
        model: one that sees pictures; where it is None, or gives no answer that can be used, the page's own words and the pixels stand in.
        drop: classes that aren't kept.
    """

    store: Store
    model: Model | None = None
    drop: tuple[str, ...] = DROPPED_LABELS
    name = "describe"

    def __call__(self, draft: Draft) -> Draft:
        reasons: dict[int, str] = {}
        blocks, fallbacks, noted = list(draft.blocks), list(draft.fallbacks), list(draft.losses)
        for index, block in enumerate(blocks):
            if not isinstance(block, Figure):
                continue
            shows, label = own_words(block), block.label
            if self.model is not None:
                try:
                    shows, label = self._described(self.model, draft, block)
                except NoAnswer as why:
                    fallbacks.append(f"no description: {why}")
                    noted.append(Loss(step=self.name, what=block.url[:300], reason=fallbacks[-1], sha256=block.sha256))
            blocks[index] = block.model_copy(update={"shows": shows, "label": label})
            if label in self.drop:
                reasons[index] = f"a {label}"
        update = {"blocks": blocks, "fallbacks": sorted(set(fallbacks)), "losses": noted}
        return draft.model_copy(update=update).without(self.name, reasons)

    def _described(self, model: Model, draft: Draft, figure: Figure) -> tuple[str, str]:
        data = {"page": draft.title, "words": own_words(figure)}
        made = model.ask(TASK, data, Description, (self.store.get(figure),))
        caption = " ".join(made.caption.split())
        if URL.search(caption) or ADDRESSED_TO_MODELS.search(caption) or len(caption.split()) > 60:
            raise NoAnswer("it isn't a caption")
        return caption, made.kind


def own_words(figure: Figure) -> str:
    """The caption, or else the alternative text, where they say something."""
    for said in (figure.caption, figure.alt):
        text = " ".join(said.split())
        if len(text) > 2 and not _FILE_NAME.match(text):
            return text[:400]
    return ""


def file_words(figure: Figure) -> str:
    """What the name of a picture's file says."""
    if figure.url.startswith("data:"):
        return ""
    name = unquote(urlsplit(figure.url).path).rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", " ", name))
