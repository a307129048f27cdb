"""InterleavedBench and OpenING: requests and answers in which text and pictures alternate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duogen.document import FORMATS, Picture, write_atomically
from duogen.errors import InputError
from duogen.evaluation.public.item import (
    Answer,
    Judged,
    Part,
    Question,
    named,
    numbered,
    pairs,
    picture_in,
    read_json,
    said,
    write_json,
)
from duogen.evaluation.public.judge import Ask, rate, scale
from duogen.evaluation.public.statistics import Metric

SLOT = "<image>"
BEGIN = "<BEGIN>"

Aspects = scale(
    "Aspects", 0, 5,
    text_quality="grammar, clearness, use of the text; 0: none or meaningless, 5: excellent",
    perceptual_quality="how natural the pictures look, free of artifacts; 0: no picture, 5: as photographs or a draughtsman's work",
    image_coherence="whether pictures go together, with those of the request, too: things, style, story; 0: not at all, 5: fully",
    text_image_coherence="whether each picture shows what the text beside it says; 0: never, 5: always",
    helpfulness="whether the answer does what was asked for; 0: not at all, 5: fully",
)  # fmt: skip
ASPECTS = tuple(name for name in Aspects.model_fields if name != "reasons")
PICTURES_ALONE = ("image_editing", "subject_driven", "image_composition")
"""Beginnings of names of tasks whose answer is a picture, in small letters and with underscores: text isn't scored there."""


def _slots(text: str, pictures: Sequence[Picture], where: str) -> list[Part]:
    """A text with a picture for each slot; what has no slot comes behind."""
    pieces = text.replace(BEGIN, "").split(SLOT)
    if len(pieces) - 1 > len(pictures):
        raise InputError(f"{where}: {len(pieces) - 1} {SLOT} slots for {len(pictures)} pictures")
    parts: list[Part] = []
    for place, piece in enumerate(pieces):
        parts.append(piece.strip())
        if place < len(pieces) - 1:
            parts.append(pictures[place])
    return [part for part in [*parts, *pictures[len(pieces) - 1 :]] if part]


class InterleavedBench(Judged):
    """815 instances of ten uses; five aspects from 0 to 5."""

    name = "interleavedbench"
    title = "InterleavedBench"
    files = ("interleaved_bench.json",)
    fields = ("id", "image", "task_name", "conversations")
    source = "Liu et al. 2024, arXiv 2406.14643 (InterleavedEval); huggingface.co/mqliu/InterleavedBench"
    remarks = (
        "The judge's prompt is ours, in our own words, on the authors' five aspects from 0 to 5.",
        "Average: the mean of the five aspects' means. Text quality and text-image coherence don't count for editing and subject-driven tasks.",
        "Answers: a JSON file for each id, with its text, the paths of its pictures, and both in order.",
    )
    metrics = (
        Metric("average", ASPECTS, most=5),
        *(Metric(name.replace("_", " "), (name,), most=5) for name in ASPECTS),
    )

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question:
        root = folder / "zipped_images" if (folder / "zipped_images").is_dir() else folder
        turns = [turn["value"] for turn in row["conversations"] if turn["from"] == "human"]
        if not turns or not isinstance(row["image"], list):
            raise InputError(f"{where}: no turn of a human in its conversations, or no list of images")
        # The pictures beyond the slots of the request belong to the reference answer.
        shown = [picture_in(root, name, where) for name in row["image"][: turns[0].count(SLOT)]]
        asked = _slots(turns[0], shown, where)
        return Question(named(row["id"], where), said(row, "task_name", where), tuple(asked))

    def place(self, question: Question, sample: int) -> Path:
        return self.folder / f"{question.id}.json"

    def write(self, question: Question, sample: int, answer: Answer) -> None:
        content: list[dict[str, str]] = []
        for part in answer:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                name = f"{question.id}-{len(content)}{FORMATS[part.format]}"
                write_atomically(self.folder / "images" / name, part.data)
                content.append({"type": "image", "image": f"images/{name}"})
        body = {
            "id": question.id, "task_name": question.group,
            "text": "".join(part["text"] for part in content if part["type"] == "text"),
            "image": [part["image"] for part in content if part["type"] == "image"], "content": content,
        }  # fmt: skip
        write_json(self.place(question, sample), body)

    def read(self, question: Question, sample: int) -> Answer:
        path = self.place(question, sample)
        try:
            content = list(read_json(path)["content"])
            return tuple(
                str(part["text"]) if part["type"] == "text" else picture_in(self.folder, part["image"], str(path))
                for part in content
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: isn't an answer of text and pictures") from error

    def judge(self, question: Question, answer: Answer, ask: Ask) -> dict[str, float]:
        task = f"Judge an answer of text and pictures to a request of the kind {question.group!r}."
        rated = rate(ask, "aspects", task, ["The request:", *question.asked, "The answer:", *numbered(answer)], Aspects)
        alone = re.sub(r"[\s-]+", "_", question.group.lower()).startswith(PICTURES_ALONE)
        return {key: rated[key] for key in ASPECTS if not (alone and key in ("text_quality", "text_image_coherence"))}


Criteria = scale(
    "Criteria", 0, 10,
    completeness="whether every step and part that was asked for is there, as text and as picture",
    content_quality="how good text and pictures are, each by itself",
    content_richness="how varied, deep and imaginative the answer is",
    correctness="whether text and pictures are right, and are what was asked for",
    human_preference_alignment="whether people would like it: helpful, harmless, tactful",
    image_text_coherency="whether pictures and text fit each other",
    multi_step_consistency="whether style, things and people stay the same from step to step",
)  # fmt: skip
CRITERIA = tuple(name for name in Criteria.model_fields if name != "reasons")


class OpenING(Judged):
    """2,160 rows of 56 tasks; seven criteria from 0 to 10, and the mean of their means."""

    name = "opening"
    title = "OpenING"
    source = "Zhou et al. 2024, arXiv 2411.18499; github.com/LanceZPF/OpenING"
    remarks = (
        "The judge's prompt is ours, in our own words, on the authors' seven criteria from 0 to 10. Scores of a judge by itself, "
        "not the pairwise arena.",
        "Pictures are shown in their own proportions, at most 512 pixels a side; the authors' scorer stretches all to 512 x 512.",
    )
    side = 512
    digits = 2
    files = ("test_data.jsonl",)
    fields = ("conversations",)
    metrics = (
        Metric("overall", CRITERIA, most=10),
        *(Metric(name.replace("_", " "), (name,), most=10) for name in CRITERIA),
    )

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question:
        asked: list[Part] = []
        for piece in _pieces(row, 0, "input", where):
            shown = [picture_in(folder, piece["image"], where)] if piece.get("image") else []
            text = str(piece.get("text") or "")
            asked += _slots(text if shown else text.replace(SLOT, ""), shown, where)
        kept = {key: value for key, value in row.items() if key != "conversations"}
        facts = {"row": kept, "input": row["conversations"][0]}
        return Question(
            _uid(row, where), str(row.get("subtask_name", row.get("meta_task_name", ""))), tuple(asked), facts
        )

    def place(self, question: Question, sample: int) -> Path:
        return self.folder / f"{self.model}_output" / f"{question.id}.json"

    def write(self, question: Question, sample: int, answer: Answer) -> None:
        path, output = self.place(question, sample), []
        for number, (text, picture) in enumerate(pairs(answer)):
            name = None
            if picture is not None:
                name = f"{question.id}-o-{number}{FORMATS[picture.format]}"
                write_atomically(path.with_name(name), picture.data)
            output.append({"text": text, "image": name})
        write_json(path, {**question.facts["row"], "conversations": [question.facts["input"], {"output": output}]})

    def read(self, question: Question, sample: int) -> Answer:
        path = self.place(question, sample)
        parts: list[Part] = []
        for piece in _pieces(read_json(path), 1, "output", str(path)):
            if piece.get("text"):
                parts.append(str(piece["text"]))
            if piece.get("image"):
                parts.append(picture_in(path.parent, Path(str(piece["image"])).name, str(path)))
        return tuple(parts)

    def judge(self, question: Question, answer: Answer, ask: Ask) -> dict[str, float]:
        task = f"Judge an answer of text and pictures to a request of the task {question.group!r}."
        shown = ["The request:", *question.asked, "The answer:", *(numbered(answer) or ["(nothing)"])]
        return rate(ask, "criteria", task, shown, Criteria)


def _pieces(row: Any, turn: int, name: str, where: str) -> list[dict[str, Any]]:
    try:
        pieces = row["conversations"][turn][name]
    except (TypeError, KeyError, IndexError) as error:
        raise InputError(f"{where}: its conversations have no {name}") from error
    if not isinstance(pieces, list) or not all(isinstance(piece, dict) for piece in pieces):
        raise InputError(f"{where}: its {name} isn't a list of text and image")
    return pieces


def _uid(row: dict[str, Any], where: str) -> str:
    """The row's own uid, or what it is made of: two digits of the task, two of the subtask, three of the row."""
    if "total_uid" in row:
        return named(row["total_uid"], where)
    try:
        return f"{int(row['meta_task_id']):02d}{int(row['subtask_id']):02d}{int(row['data_id']):03d}"
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where}: neither total_uid, nor meta_task_id, subtask_id and data_id") from error
