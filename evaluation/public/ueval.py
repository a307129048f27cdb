"""UEval: 1,000 questions that want text and pictures, each with criteria of its own that an answer meets or doesn't."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from duogen.document import FORMATS, write_atomically
from duogen.errors import InputError
from duogen.evaluation.public.item import (
    Answer,
    Judged,
    Part,
    Question,
    named,
    numbered,
    picture_in,
    pictures_of,
    read_json,
    said,
    text_of,
    write_json,
)
from duogen.evaluation.public.judge import Ask, Call
from duogen.evaluation.public.statistics import Metric

OPEN = ("art", "life", "tech", "exercise")
TASKS = ("space", "textbook", "diagram", "paper", *OPEN)


class Met(BaseModel):
    """Whether one criterion is met."""

    model_config = ConfigDict(extra="ignore", strict=True)
    reasons: str = Field(description="why, in a few sentences")
    criteria_met: bool | Literal["not sure"] = Field(
        description="true if the criterion is met in full, false if anything of it is missing, else 'not sure'"
    )


class UEval(Judged):
    """The share of criteria that are met, of text and of pictures, by task; the average is the unweighted mean of the tasks'."""

    name = "ueval"
    title = "UEval"
    files = ("*.parquet", "*.jsonl", "ueval.json")
    fields = ("id", "prompt", "task")
    source = "Li et al. 2026, arXiv 2601.22155; github.com/zlab-princeton/UEval (MIT)"
    remarks = (
        "The criteria are the authors'; the judge's prompts around them are ours, in our own words. 'Not sure' is not met, as published.",
        "An answer's score is the mean of its shares of text criteria and of picture criteria; in percent in the published tables.",
    )
    metrics = (
        Metric("average", ("score",), by_group=True),
        Metric("text", ("text",)),
        Metric("pictures", ("pictures",)),
        *(Metric(task, ("score",), within=task) for task in TASKS),
    )

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question:
        rubrics: dict[str, Any] = {"id": row["id"]}
        for kind in ("text_rubrics", "image_rubrics"):
            listed = row.get(kind) or []
            if not isinstance(listed, list):
                raise InputError(f"{where}: {kind} isn't a list")
            rubrics[kind] = [
                said({kind: each["criterion"] if isinstance(each, dict) else each}, kind, where) for each in listed
            ]
        if not rubrics["text_rubrics"] and not rubrics["image_rubrics"]:
            raise InputError(f"{where}: has no criteria")
        return Question(
            named(row["id"], where), said(row, "task", where).lower(), (said(row, "prompt", where),), rubrics
        )

    def place(self, question: Question, sample: int) -> Path:
        return self.folder / "answers" / f"{question.id}.json"

    def write(self, question: Question, sample: int, answer: Answer) -> None:
        names = []
        for number, picture in enumerate(pictures_of(answer), 1):
            names.append(f"images/{question.id}_{number}{FORMATS[picture.format]}")
            write_atomically(self.folder / names[-1], picture.data)
        body = {"id": question.facts["id"], "text_answer": text_of(answer), "image_answer": names}
        write_json(self.place(question, sample), body)

    def has(self, question: Question, sample: int) -> bool:
        """Answers that were made elsewhere may lie in ``outputs.json`` alone."""
        return super().has(question, sample) or question.id in self._elsewhere

    @cached_property
    def _elsewhere(self) -> dict[str, Any]:
        path = self.folder / "outputs.json"
        rows = read_json(path) if path.is_file() else []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path}: isn't a list of answers")
        return {str(row.get("id")): row for row in rows}

    def finish(self, questions: Sequence[Question]) -> None:
        """``outputs.json``: what the authors' scorer reads."""
        write_json(self.folder / "outputs.json", [self._body(question) for question in questions])

    def _body(self, question: Question) -> Any:
        path = self.place(question, 0)
        return read_json(path) if path.is_file() else self._elsewhere[question.id]

    def read(self, question: Question, sample: int) -> Answer:
        path, body = self.place(question, sample), self._body(question)
        try:
            return (
                str(body["text_answer"]),
                *(picture_in(self.folder, name, str(path)) for name in body["image_answer"]),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: isn't an answer with text_answer and image_answer") from error

    def judge(self, question: Question, answer: Answer, ask: Ask) -> dict[str, float]:
        values: dict[str, float] = {}
        asked, told = f"The question: {question.text}", f"The answer's text: {text_of(answer) or '(none)'}"
        shown: dict[str, list[Part]] = {
            # The pictures of closed questions are judged without the text, as published.
            "text": [asked, told],
            "pictures": [
                asked, *([told] if question.group not in TASKS or question.group in OPEN else []),
                *(numbered(tuple(pictures_of(answer))) or ["The answer has no picture."]),
            ],
        }  # fmt: skip
        for key, rubric in (("text", "text_rubrics"), ("pictures", "image_rubrics")):
            if criteria := question.facts[rubric]:
                met = [
                    ask(Call(f"{key} {number}", _TASKS[key], [*shown[key], f"The criterion: {criterion}"], Met, _MET))
                    for number, criterion in enumerate(criteria, 1)
                ]
                values[key] = sum(each.criteria_met is True for each in met) / len(met)
        return values | {"score": sum(values.values()) / len(values)}


_MET = Met(reasons="x" * 200, criteria_met=True)
_TASKS = {
    "text": "Say whether the text of an answer meets a criterion.",
    "pictures": (
        "Say whether the pictures of an answer meet a criterion. What a criterion wants to see must be shown, not merely written in a picture. "
        "Where a picture stands for a step of the text, it need show the step's main action alone."
    ),
}
