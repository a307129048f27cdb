"""Editing: GEdit-Bench and ImgEdit. A source picture, an instruction, one picture back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

from duogen.document import Picture, write_atomically
from duogen.errors import InputError
from duogen.evaluation.public.item import (
    Answer,
    Judged,
    Part,
    Question,
    named,
    picture_in,
    pictures_of,
    png_of,
    said,
    write_json,
)
from duogen.evaluation.public.judge import Ask, Call, rate, scale
from duogen.evaluation.public.statistics import Metric, Scored

OWN_WORDS = "The judge's prompts are ours, in our own words; the scales and what is made of them are the authors'."

Meaning = scale(
    "Meaning", 0, 10,
    success="how far the second picture does what the instruction asks for; 0: not at all, 10: fully",
    restraint="how far it leaves alone what wasn't to change; 0: another picture altogether, 10: nothing else has changed",
)  # fmt: skip
Looks = scale(
    "Looks", 0, 10,
    naturalness="how natural the picture is: light, shadows, distances, sizes; 0: not at all, 10: as a photograph",
    flawlessness="freedom from artifacts: distortion, blur, seams, wrong bodies or faces; 0: full of them, 10: none",
)  # fmt: skip


class GEdit(Judged):
    """Kinds of edits of real pictures; VIEScore: the geometric mean of what was meant and how it looks, each the worse of two."""

    name = "gedit"
    title = "GEdit-Bench"
    source = "Liu et al. 2025, arXiv 2504.17761; github.com/stepfun-ai/Step1X-Edit. Scores: VIEScore, Ku et al. 2024, arXiv 2312.14867"
    remarks = (OWN_WORDS,)
    one_picture = True
    choices = ("en", "cn", "all")
    files = ("*.parquet", "*.jsonl")
    fields = ("task_type", "key", "instruction", "instruction_language", "input_image_raw")
    metrics = tuple(
        Metric(f"{name} {key}{' (intersection)' * (part == 'both')}", (key,), True, f"{name} {part}".strip(), 10)
        for name in ("en", "cn")
        for part in ("", "both")
        for key in ("G_O", "G_SC", "G_PQ")
    )

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question | None:
        language, key = row["instruction_language"], named(row["key"], where)
        if language not in ("en", "cn"):
            raise InputError(f"{where}: instruction_language is {language!r}, neither en nor cn")
        if self.subset not in ("all", language):
            return None
        source = picture_in(folder, row["input_image_raw"], where)
        both = (f"{language} both",) if row.get("Intersection_exist") else ()
        return Question(
            f"{language}-{key}", named(row["task_type"], where), (source, said(row, "instruction", where)),
            {"key": key, "language": language}, (language, *both),
        )  # fmt: skip

    def place(self, question: Question, sample: int) -> Path:
        language, key = question.facts["language"], question.facts["key"]
        return self.folder / self.model / "fullset" / question.group / language / f"{key}.png"

    def write(self, question: Question, sample: int, answer: Answer) -> None:
        source, made, path = question.pictures[0], pictures_of(answer)[0].image(), self.place(question, sample)
        size = (source.width, source.height)
        write_atomically(path.with_name(f"{path.stem}_SRCIMG.png"), Picture.from_image(source.image()).data)
        write_atomically(path, Picture.from_image(made if made.size == size else made.resize(size)).data)

    def read(self, question: Question, sample: int) -> Answer:
        return (Picture.from_file(self.place(question, sample)),)

    def judge(self, question: Question, answer: Answer, ask: Ask) -> dict[str, float]:
        source, made = question.pictures[0], pictures_of(answer)[0]
        task = "Judge an edit: a picture, an instruction, and the picture that an editor made of them."
        shown: list[Part] = [
            "The picture:",
            source,
            f"The instruction: {question.text}",
            "What the editor made of it:",
            made,
        ]
        meaning = min(rate(ask, "meaning", task, shown, Meaning).values())
        looks = min(
            rate(ask, "looks", "Judge how a generated picture looks, whatever it shows.", [made], Looks).values()
        )
        return {"G_SC": meaning, "G_PQ": looks, "G_O": sqrt(meaning * looks)}

    def published_answer(self, question: Question, call: Call) -> dict[str, Any]:
        """Random numbers: what the published scorer has where a second answer can't be read. Ours are drawn from the question's id."""
        draw = random.Random(f"{question.id}/{call.name}")
        return {key: draw.randint(0, 10) for key in call.schema.model_fields if key != "reasons"}


KINDS = ("add", "adjust", "extract", "replace", "remove", "background", "style", "compose", "action")
"""ImgEdit's types, as its ``edit_type`` has them; others are taken as they come."""
Edit = scale(
    "Edit", 1, 5,
    compliance="how far the second picture does what the instruction asks for; 1: not at all, 5: exactly",
    seamlessness="how well what was changed fits into the picture: edges, light, style; 1: pasted, 5: as if it had always been there",
    preservation="how well all else was kept, and the laws of nature with it; 1: another picture, 5: untouched",
)  # fmt: skip


class ImgEdit(Judged):
    """737 edits of nine types; three criteria from 1 to 5, of which the second and third are never above the first."""

    name = "imgedit"
    title = "ImgEdit"
    source = "Ye et al. 2025, arXiv 2505.20275; github.com/PKU-YuanGroup/ImgEdit, Benchmark/Basic"
    remarks = (
        OWN_WORDS,
        "The authors' prompts ask the judge to keep the second and third score below the first; here the scores themselves are capped, "
        "so that a judge that forgets it can't raise them. As published they are taken as they come, and every mean is rounded to two digits.",
    )
    one_picture = True
    digits = 2
    files = ("basic_edit.json",)
    fields = ("id", "prompt", "edit_type", "key")
    metrics = (
        Metric("overall", ("mean",), by_group=True, most=5),
        *(Metric(kind, ("mean",), within=kind, most=5) for kind in KINDS),
    )

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question:
        root = folder / "singleturn" if (folder / "singleturn").is_dir() else folder
        asked = (picture_in(root, row["id"], where), said(row, "prompt", where))
        return Question(named(row["key"], where), said(row, "edit_type", where), asked)

    def place(self, question: Question, sample: int) -> Path:
        return self.folder / f"{question.id}.png"

    def write(self, question: Question, sample: int, answer: Answer) -> None:
        write_atomically(self.place(question, sample), png_of(answer))

    def read(self, question: Question, sample: int) -> Answer:
        return (Picture.from_file(self.place(question, sample)),)

    def judge(self, question: Question, answer: Answer, ask: Ask) -> dict[str, float]:
        task = (
            f"Judge an edit of the kind {question.group!r}: a picture, an instruction, and the picture that an editor made of them. "
            "An edit that isn't what was asked for is worth nothing: seamlessness and preservation are at most as high as compliance."
        )
        made = pictures_of(answer)[0]
        shown: list[Part] = [
            "The picture:",
            question.pictures[0],
            f"The instruction: {question.text}",
            "What was made of it:",
            made,
        ]
        rated = rate(ask, "edit", task, shown, Edit)
        return rated | {"mean": _mean_of(rated, capped=True), "mean as it came": _mean_of(rated, capped=False)}

    def as_published(self, values: dict[str, float]) -> dict[str, float]:
        return values | {"mean": round(values["mean as it came"], 2)}

    def record(self, questions: Sequence[Question], scored: Sequence[Scored]) -> None:
        """``result.json``: for each key the judge's three scores as lines, in whole numbers, as the authors' scripts read them."""
        lines = {
            each.id: "\n".join(f"{key}: {each.values[key]:.0f}" for key in Edit.model_fields if key != "reasons")
            for each in scored
            if each.values
        }
        write_json(self.folder / "result.json", lines)


def _mean_of(rated: dict[str, float], capped: bool) -> float:
    first = rated["compliance"]
    return (
        first + sum(min(rated[key], first) if capped else rated[key] for key in ("seamlessness", "preservation"))
    ) / 3
