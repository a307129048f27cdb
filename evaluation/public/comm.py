"""CoMM: four tasks on documents of steps; consistency, completeness, quality, and what the text alone makes one expect to see."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from duogen.document import FORMATS, Picture, write_atomically
from duogen.errors import InputError
from duogen.evaluation.public.item import (
    Answer,
    Judged,
    Part,
    Question,
    Row,
    named,
    numbered,
    picture_in,
    pictures_of,
    read_json,
    said,
    text_of,
    write_json,
)
from duogen.evaluation.public.judge import Ask, Call, rate, scale
from duogen.evaluation.public.statistics import Metric

MARK = "<IMAGE>"
MOST_PICTURES = 10
"""Of a document that are judged, those of the request with them."""
ASKS = {
    "task1": "According to these pictures, write the text of each step.",
    "task2": "Draw a picture for each step.",
    "task3": "Go on from here: write the steps that are missing, with a picture for each.",
    "task4": "Write it step by step, with a picture for each step.",
}

_SEEN = {
    "style": "whether colours, light and manner stay the same from picture to picture",
    "entity": "whether the same things and people look the same in every picture",
    "trend": "whether the pictures follow each other as the steps do",
    "image_quality": "sharpness, truth to life, freedom from artifacts",
}
_WHOLE = "whether the document is whole: every step, as text and as picture"
Pictures = scale("Pictures", 0, 10, **_SEEN)
Document = scale("Document", 0, 10, **_SEEN, completeness=_WHOLE)
Texts = scale(
    "Texts", 0, 10,
    completeness="whether the text covers all that the pictures show, step by step",
    fidelity="whether the text says what the pictures show, and nothing else",
)  # fmt: skip
Fit = scale("Fit", 0, 10, IRS="how far the pictures show what the descriptions say, taken over all of them")


def expected(count: int) -> type[BaseModel]:
    """The schema of what so many pictures should show."""
    each = Annotated[str, Field(min_length=1)]
    pictures = Field(min_length=count, max_length=count, description="for each picture, in order, what it should show")
    return create_model("Expected", __config__=ConfigDict(extra="ignore", strict=True), pictures=(list[each], pictures))


class CoMM(Judged):
    """Steps from pictures, pictures from steps, the end of a document, or all of it from its title."""

    name = "comm"
    title = "CoMM"
    files = ("comm*.json", "comm*.jsonl")
    fields = ("data_id", "step_info", "title")
    source = "Chen et al. 2024, arXiv 2406.10462; github.com/HKUST-LongGroup/CoMM"
    remarks = (
        "The judge's prompts are ours, in our own words, on the authors' scales from 0 to 10. IRS: a model that sees the text alone says what "
        "the pictures should show; the pictures are then judged against that.",
        "PSNR and SSIM (task2) are means over pairs of a picture and its own original; as published, over all pairs of one with any other. "
        "METEOR, BLEU, CIDEr, LPIPS, FID and IS aren't here: they need data or networks of their own.",
        "Of a document at most ten pictures are judged, of the request's at most five. As published, what the judge didn't answer counts 0.",
    )
    choices = ("task4", "task3", "task2", "task1")
    side = 512
    metrics = (
        *(Metric(name, (name,), most=10) for name in ("style", "entity", "trend", "completeness")),
        *(Metric(name, (name,), most=10) for name in ("image_quality", "IRS", "fidelity")),
        Metric("PSNR", ("PSNR",), most=60),
        Metric("SSIM", ("SSIM",)),
    )

    def rows(self, data: Path | None) -> Iterator[Row]:
        given = [] if data is None else [data] if data.is_file() else sorted(data.iterdir()) if data.is_dir() else []
        pickles = [path for path in given if path.suffix in PICKLES]
        yield from _unpickled(pickles[0]) if pickles else super().rows(data)

    def question(self, where: str, folder: Path, row: dict[str, Any]) -> Question:
        steps: list[list[Part]] = []
        for step in row["step_info"]:
            items = [(item["type"], item.get("content", item.get("text", item.get("image")))) for item in step]
            steps.append([
                said({"text": value}, "text", where) if kind == "text" else picture_in(folder, value, where)
                for kind, value in items
            ])  # fmt: skip
        asked, given, truth = self._asked(said(row, "title", where), steps)
        return Question(
            named(row["data_id"], where), str(row.get("dataset_type", "")), asked, {"given": given, "truth": truth}
        )

    def _asked(self, title: str, steps: list[list[Part]]) -> tuple[Answer, list[Picture], list[Picture]]:
        """What is asked, the pictures in it, and those that the document has where the answer's stand."""
        half = max(1, len(steps) // 2)
        shown: dict[str, list[list[Part]]] = {
            "task1": [[part for part in step if isinstance(part, Picture)] for step in steps],
            "task2": [[part for part in step if isinstance(part, str)] for step in steps],
            "task3": steps[:half],
            "task4": [],
        }
        keep = shown[self.subset]
        parts: list[Part] = [f"{title}:" if keep else title]
        for number, step in enumerate(keep, 1):
            parts += [f"({number})", *step]
        parts.append(ASKS[self.subset])
        drawn: dict[str, list[list[Part]]] = {"task1": [], "task2": steps, "task3": steps[half:], "task4": steps}
        truth = [part for step in drawn[self.subset] for part in step if isinstance(part, Picture)]
        return tuple(parts), pictures_of(tuple(parts)), truth

    def _home(self, question: Question) -> Path:
        return self.folder / f"{question.id}_{self.subset}"

    def place(self, question: Question, sample: int) -> Path:
        return self._home(question) / "results.json"

    def write(self, question: Question, sample: int, answer: Answer) -> None:
        home = self._home(question)
        made = _written(home, "output", pictures_of(answer))
        body = {
            "model_input": " ".join(part if isinstance(part, str) else MARK for part in question.asked),
            "model_output": " ".join(part.strip() if isinstance(part, str) else MARK for part in stepwise(answer)),
            "input_image_list": _written(home / "origin", "input", question.facts["given"]),
            "output_gt_image_list": _written(home / "origin", "output", question.facts["truth"]),
            "prediction_image_list": made,
        }
        write_json(self.place(question, sample), body)

    def read(self, question: Question, sample: int) -> Answer:
        path = self.place(question, sample)
        body = read_json(path)
        try:
            pictures = iter([picture_in(path.parent, name, str(path)) for name in body["prediction_image_list"]])
            pieces = str(body["model_output"]).split(MARK)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: no model_output with its prediction_image_list") from error
        parts: list[Part] = []
        for place, piece in enumerate(pieces):
            parts += [piece.strip()] if piece.strip() else []
            if place < len(pieces) - 1 and (picture := next(pictures, None)) is not None:
                parts.append(picture)
        return (*parts, *pictures)

    def judge(self, question: Question, answer: Answer, ask: Ask) -> dict[str, float]:
        # Of the request's pictures half are shown at most: the answer's are what is judged.
        shown = _at_most(question.asked, MOST_PICTURES // 2, stop=False)
        request: list[Part] = ["The request:", *shown, "The answer:"]
        if self.subset == "task1":
            return rate(ask, "text", "Judge a text that was written for pictures.", [*request, text_of(answer)], Texts)
        answer = _at_most(answer, MOST_PICTURES - len(pictures_of(shown)), stop=True)
        schema = Pictures if self.subset == "task2" else Document
        task = "Judge a document of text and pictures that was made for a request."
        values = rate(ask, "document", task, [*request, *numbered(answer)], schema)
        pictures = pictures_of(answer)
        if not pictures:
            return values | {"IRS": 0.0}
        text = question.asked if self.subset == "task2" else answer
        told = ask(self._expectation(text, len(pictures))).pictures
        pairs: list[Part] = []
        for number, picture in enumerate(pictures):
            pairs += [f"Description {number + 1}: {told[number]}", picture]
        fit = rate(ask, "fit", "Say how far pictures show what was expected of each.", pairs, Fit)
        return values | fit | self._pixels(pictures, question.facts["truth"])

    def _expectation(self, text: Answer, count: int) -> Call:
        blind = [part for part in numbered(text) if isinstance(part, str)]
        task = (
            f"A document has {count} pictures, which you can't see; it says where each stands. Say for each, in order, what it should show, "
            "by the text around it."
        )
        schema = expected(count)
        return Call("expectation", task, blind, schema, schema(pictures=["x" * 120] * count))

    def _pixels(self, pictures: list[Picture], truth: list[Picture]) -> dict[str, float]:
        if self.subset != "task2" or not truth:
            return {}
        aligned = [likeness(one, two) for one, two in zip(pictures, truth, strict=False)]
        crossed = [likeness(one, two) for one in pictures for two in truth]
        names = ("PSNR", "SSIM")
        means = {name: sum(pair[at] for pair in aligned) / len(aligned) for at, name in enumerate(names)}
        return means | {f"{name} of all": sum(p[at] for p in crossed) / len(crossed) for at, name in enumerate(names)}

    def as_published(self, values: dict[str, float]) -> dict[str, float]:
        return values | {name: values[f"{name} of all"] for name in ("PSNR", "SSIM") if f"{name} of all" in values}

    def published_answer(self, question: Question, call: Call) -> dict[str, Any]:
        """Zeros: what the published summary makes of a score that isn't there."""
        numbers = {key: 0.0 for key in call.schema.model_fields if key not in ("reasons", "pictures")}
        return numbers or {"pictures": ["(none)"] * len(call.example.pictures)}  # type: ignore[attr-defined]


def stepwise(answer: Answer) -> list[Part]:
    """An answer whose steps are numbered as CoMM's scorer wants them, ``(1) ... (2) ...``; one step a picture where they aren't."""
    if re.search(r"\(\d+\)\s", text_of(answer)):
        return list(answer)
    parts: list[Part] = []
    number, due = 0, True
    for part in answer:
        if due:
            number += 1
            parts.append(f"({number})")
        parts.append(part)
        due = isinstance(part, Picture)
    return parts


def likeness(one: Picture, two: Picture) -> tuple[float, float]:
    """PSNR in dB and SSIM of two pictures, the first brought to the size of the second."""
    from duogen.evaluation.fidelity import psnr, ssim
    from duogen.models.vae import to_frames

    image, truth = one.image(), two.image()
    shown = to_frames([image if image.size == truth.size else image.resize(truth.size)]).float() / 255
    held = to_frames([truth]).float() / 255
    return float(psnr(shown, held)), ssim(shown, held)


def _at_most(parts: Answer, count: int, stop: bool) -> Answer:
    """Parts with so many pictures at most: the others left out, or, with `stop`, all from the first of them on."""
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, Picture):
            count -= 1
            if count < 0 and stop:
                break
            if count < 0:
                continue
        kept.append(part)
    return tuple(kept)


def _written(folder: Path, name: str, pictures: list[Picture]) -> list[str]:
    names = [f"{name}_{number}{FORMATS[picture.format]}" for number, picture in enumerate(pictures, 1)]
    for own, picture in zip(names, pictures, strict=True):
        write_atomically(folder / own, picture.data)
    return names


PICKLES = (".pt", ".pth", ".pkl", ".pickle")


class _Plain(pickle.Unpickler):
    """Reads pickles of lists, dictionaries, text and numbers; whatever else is in one is refused, and nothing of it run."""

    def find_class(self, module: str, name: str) -> Any:
        raise InputError(f"the pickle wants to run {module}.{name}; it isn't read")


def _unpickled(path: Path) -> Iterator[Row]:
    """The documents of a pickle as `torch.save` or `pickle.dump` writes it."""
    try:
        if zipfile.is_zipfile(path):
            import torch

            rows = torch.load(path, weights_only=True, map_location="cpu")
        else:
            with open(path, "rb") as file:
                rows = _Plain(file).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle raises whatever it comes upon
        raise InputError(f"{path}: can't be read safely ({(str(error).splitlines() or [''])[0][:200]})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: not a list of documents")
    for number, row in enumerate(rows, 1):
        yield f"{path}, record {number}", path.parent, row
