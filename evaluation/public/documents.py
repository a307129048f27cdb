"""Documents judged on five criteria: DuoGen's own Cooking-200 and How-to-500."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from duogen.document import PLAN_FILE, Document
from duogen.errors import InputError
from duogen.evaluation.public.item import (
    Answer,
    Judged,
    Question,
    answer_in,
    named,
    numbered,
    picture_in,
    pictures_of,
    said,
)
from duogen.evaluation.public.judge import Ask, rate, scale
from duogen.evaluation.public.statistics import Metric

_TEXT = "whether the text holds all that somebody needs who does this; 1: hardly anything, 5: everything"
Text = scale("Text", 1, 5, text_completeness=_TEXT)
Whole = scale(
    "Whole", 1, 5,
    text_completeness=_TEXT,
    image_completeness="whether each step that is better seen than read has a picture; 1: hardly any, 5: every one",
    image_consistency="whether things, people, places and style stay the same from picture to picture; 1: never, 5: always",
    image_quality="sharpness, light, truth to life, freedom from artifacts; 1: unusable, 5: excellent",
    image_text_consistency="whether each picture shows what the text around it says; 1: never, 5: always",
)  # fmt: skip
SHORT = {
    "text_completeness": "T-Com", "image_completeness": "I-Com", "image_consistency": "I-Co", "image_quality": "I-Q",
    "image_text_consistency": "IT-Co",
}  # fmt: skip


class Guides(Judged):
    """Requests whose answers are guides of text and pictures, each in a folder of its own as DuoGen writes plans."""

    remarks = (
        "The authors' prompts and data aren't published: the judge's prompt is ours, in our own words, on their five criteria from 1 to 5. "
        "An answer without pictures is judged on its text, and has 1 on the four criteria of pictures.",
    )
    metrics = tuple(Metric(short, (short,), most=5) for short in SHORT.values())

    def place(self, question: Question, sample: int) -> Path:
        return self.folder / question.id / PLAN_FILE

    def write(self, question: Question, sample: int, answer: Answer) -> None:
        document = Document()
        document.add_interleaved(question.asked)
        document.add_message("assistant")
        for part in answer:
            if isinstance(part, str):
                document.add_text(part)
            else:
                document.add_picture(part)
        document.save(self.folder / question.id)

    def read(self, question: Question, sample: int) -> Answer:
        document = Document.load(self.folder / question.id)
        if not document.messages or document.messages[-1].role != "assistant":
            raise InputError(f"{self.place(question, sample)}: there is no answer in it")
        return answer_in(document)

    def judge(self, question: Question, answer: Answer, ask: Ask) -> dict[str, float]:
        task = "Judge a guide of text and pictures that was written for somebody's request."
        shown = ["The request:", *question.asked, "The guide:", *numbered(answer)]
        if pictures_of(answer):
            rated = rate(ask, "guide", task, shown, Whole)
        else:
            rated = dict.fromkeys(SHORT, 1.0) | rate(ask, "text", task, shown, Text)
        return {short: rated[key] for key, short in SHORT.items()}


class Cooking200(Guides):
    """200 dishes, by a picture of each or by its name: recipes."""

    name = "cooking200"
    title = "Cooking-200"
    source = "DuoGen, arXiv 2602.00508, section 6"
    choices = ("image", "text")
    files = ("cooking200.jsonl",)
    fields = ("id", "dish", "image")

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question:
        asked: Answer = (f"How do I cook {said(row, 'dish', where)}? Show me every step.",)
        if self.subset == "image":
            asked = (picture_in(folder, row["image"], where), "How do I cook this dish? Show me every step.")
        return Question(named(row["id"], where), str(row.get("category", "")), asked)


class HowTo500(Guides):
    """500 open questions of how something is done, over 151 subcategories."""

    name = "howto500"
    title = "How-to-500"
    source = "DuoGen, arXiv 2602.00508, section 6"

    files = ("howto500.jsonl",)
    fields = ("id", "prompt", "subcategory")

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question:
        return Question(named(row["id"], where), said(row, "subcategory", where), (said(row, "prompt", where),))
