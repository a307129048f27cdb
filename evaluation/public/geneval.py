"""GenEval (Ghosh et al. 2023, arXiv 2310.11513; djghosh13/geneval, MIT): are the objects there, so many, so coloured, so placed?

Its 553 prompts come with this package, under their licence. The rules are those of its ``evaluate_images.py`` and ``summary_scores.py``;
detector and colours come through an interface.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from duogen.document import Picture, write_atomically
from duogen.errors import InputError
from duogen.evaluation.public.item import Answer, Benchmark, Question, Row, png_of, read_json, said
from duogen.evaluation.public.statistics import Metric, Scored

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
CONFIDENT, CONFIDENT_COUNTING = 0.3, 0.9
"""Detections must score higher than this."""
MOST = 16
"""Detections that are kept of a class."""
NEARNESS = 0.1
"""Share of both objects' sizes by which their centres must be apart at least, along an axis."""
SLANT = 0.5
"""Share of the distance that must lie along an axis."""
RELATIONS = ("left of", "right of", "above", "below")


@cache
def object_names() -> list[str]:
    """GenEval's 80 names, in the order of COCO's classes."""
    return (
        resources("duogen.evaluation.public").joinpath("geneval/object_names.txt").read_text("utf-8").split("\n")[:80]
    )


@dataclass(frozen=True)
class Detection:
    """`box`: left, top, right and bottom in pixels. `mask`: [height, width] of booleans, True on the object, or None."""

    box: tuple[float, float, float, float]
    score: float
    mask: Any = None


class Detector(Protocol):
    """Finds objects in a picture. `about`: what it is, for the report."""

    about: str

    def __call__(self, image: Image.Image) -> dict[str, list[Detection]]:
        """All detections that may matter, by GenEval's names of classes, in any order."""


class Colours(Protocol):
    """Names the colour of objects, one of `COLOURS`. `about`: what it is, for the report."""

    about: str

    def __call__(self, image: Image.Image, found: Sequence[Detection], name: str) -> list[str]: ...


def kept(found: dict[str, list[Detection]], tag: str) -> dict[str, list[Detection]]:
    """The detections that count, the surest first."""
    least = CONFIDENT_COUNTING if tag == "counting" else CONFIDENT
    ordered = {name: sorted(all_of, key=lambda each: -each.score) for name, all_of in found.items()}
    return {
        name: sure
        for name, all_of in ordered.items()
        if (sure := [each for each in all_of if each.score > least][:MOST])
    }


def relations(one: Detection, other: Detection) -> set[str]:
    """Where `one` is, seen from `other`."""
    boxes = np.array([one.box, other.box], dtype=float).reshape(2, 2, 2)
    centres = boxes.mean(1)
    sizes = np.abs(boxes[:, 1] - boxes[:, 0])
    offset = centres[0] - centres[1]
    clear = np.maximum(np.abs(offset) - NEARNESS * sizes.sum(0), 0) * np.sign(offset)
    if np.all(np.abs(clear) < 1e-3):
        return set()
    across, down = clear / np.linalg.norm(offset)
    holds = (across < -SLANT, across > SLANT, down < -SLANT, down > SLANT)
    return {name for name, true in zip(RELATIONS, holds, strict=True) if true}


def verdict(
    image: Image.Image, found: dict[str, list[Detection]], wanted: dict[str, Any], colours: Colours
) -> tuple[bool, str]:
    """Whether a picture shows what its prompt asks for, and what is wrong.

    Args:
        found: of `kept`.
        wanted: a line of ``evaluation_metadata.jsonl``.
    """
    faults: list[str] = []
    groups: list[list[Detection] | None] = []
    for clause in wanted.get("include", []):
        # The surest alone are looked at: of three red cups and a blue one, two are asked for.
        name, count = clause["class"], clause["count"]
        surest = found.get(name, [])[:count]
        before = len(faults)
        if len(surest) < count:
            faults.append(f"{len(surest)} {name}, wanted {count}")
        else:
            if "color" in clause:
                seen = colours(image, surest, name)
                if seen.count(clause["color"]) < count:
                    faults.append(f"{name} is {', '.join(seen)}, wanted {clause['color']}")
            if "position" in clause and len(faults) == before:
                wanted_place, target = clause["position"]
                faults += _misplaced(name, surest, wanted_place, groups[target])
        groups.append(surest if len(faults) == before else None)
    for clause in wanted.get("exclude", []):
        if (number := len(found.get(clause["class"], []))) >= clause["count"]:
            faults.append(f"{number} {clause['class']}, wanted less than {clause['count']}")
    return not faults, "; ".join(faults)


def _misplaced(name: str, objects: list[Detection], wanted: str, targets: list[Detection] | None) -> list[str]:
    if targets is None:
        return [f"nothing that {name} could be {wanted}"]
    for one in objects:
        for other in targets:
            if wanted not in (seen := relations(one, other)):
                return [f"{name} is {' and '.join(sorted(seen)) or 'nowhere clear'}, wanted {wanted}"]
    return []


class GenEval(Benchmark):
    """Four pictures a prompt; the score is the unweighted mean of the six tags' means."""

    name = "geneval"
    title = "GenEval"
    source = "Ghosh et al. 2023, arXiv 2310.11513; github.com/djghosh13/geneval (MIT)"
    remarks = (
        "Detector and colours run on transformers (Mask2Former, CLIP) instead of mmdet and open_clip: boxes are drawn around masks, and scores may "
        "differ in their last digits from the published scorer's. results.jsonl is in its format, for its summary_scores.py.",
    )
    one_picture = True
    samples = 4
    files = ("evaluation_metadata.jsonl",)
    fields = ("tag", "include", "prompt")
    metrics = (
        Metric("overall", ("correct",), by_group=True),
        *(Metric(tag, ("correct",), within=tag) for tag in TAGS),
    )

    def rows(self, data: Path | None) -> Iterator[Row]:
        own = Path(str(resources("duogen.evaluation.public").joinpath("geneval/evaluation_metadata.jsonl")))
        for number, (where, folder, row) in enumerate(super().rows(data or own)):
            yield where, folder, {"number": number, "row": row}

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question:
        number, row = row["number"], row["row"]
        if row["tag"] not in TAGS:
            raise InputError(f"{where}: no such tag: {row['tag']!r}")
        for place, clause in enumerate([*row["include"], *row.get("exclude", [])]):
            if type(clause["count"]) is not int or clause["class"] not in object_names():
                raise InputError(f"{where}: no clause of GenEval: {clause}")
            if clause.get("color", "red") not in COLOURS:
                raise InputError(f"{where}: no colour of GenEval's: {clause['color']!r}")
            relation, target = clause.get("position", ("above", 0))
            if relation not in RELATIONS or ("position" in clause and not 0 <= target < place):
                raise InputError(f"{where}: no position: {clause['position']}")
        return Question(f"{number:05d}", row["tag"], (said(row, "prompt", where),), row)

    def place(self, question: Question, sample: int) -> Path:
        return self.folder / question.id / "samples" / f"{sample:04d}.png"

    def has(self, question: Question, sample: int) -> bool:
        """A prompt is known by its number alone; where it is another now, its pictures don't count."""
        note = self.folder / question.id / "metadata.jsonl"
        return super().has(question, sample) and (not note.exists() or read_json(note) == question.facts)

    def write(self, question: Question, sample: int, answer: Answer) -> None:
        write_atomically(self.folder / question.id / "metadata.jsonl", json.dumps(question.facts).encode())
        write_atomically(self.place(question, sample), png_of(answer))

    def read(self, question: Question, sample: int) -> Answer:
        return (Picture.from_file(self.place(question, sample)),)

    def record(self, questions: Sequence[Question], scored: Sequence[Scored]) -> None:
        """``results.jsonl``, as the authors' ``evaluate_images.py`` writes it, for their ``summary_scores.py``."""
        known = {question.id: question for question in questions}
        lines = [
            json.dumps({
                "filename": str(self.place(known[each.id], each.sample)), "tag": each.group, "prompt": known[each.id].text,
                "correct": bool(each.values["correct"]), "reason": each.notes, "metadata": json.dumps(known[each.id].facts),
                "details": "{}",
            })
            for each in scored
        ]  # fmt: skip
        write_atomically(self.folder / "results.jsonl", ("\n".join(lines) + "\n").encode())
