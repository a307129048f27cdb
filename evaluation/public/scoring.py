"""Scores the answers in a folder: by a judge, or by a detector."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from duogen.document import Picture
from duogen.errors import InputError
from duogen.evaluation.public.generate import stand_in
from duogen.evaluation.public.geneval import Colours, Detector, kept, verdict
from duogen.evaluation.public.item import Answer, Benchmark, Judged, Question, Row, pictures_of
from duogen.evaluation.public.judge import Judge, Meter, Unjudged, forgiving
from duogen.evaluation.public.statistics import Against, Agreement, Scored, against, agreement
from duogen.journal import Journal


class Scorer(Protocol):
    """Scores one answer."""

    def __call__(self, question: Question, sample: int, answer: Answer) -> Scored: ...

    @property
    def facts(self) -> dict[str, Any]:
        """What the scores depend on, and what was counted on the way, for the report."""

    @property
    def agreement(self) -> dict[str, Agreement]:
        """How alike several ratings of one answer are, by criterion."""


@dataclass
class ByJudge:
    """The mean of several votes of a judge. It may be called from several threads.

    Args:
        as_published: with the defects of the authors' scorer.
    """

    benchmark: Judged
    judge: Judge
    votes: int = 1
    as_published: bool = False

    def __call__(self, question: Question, sample: int, answer: Answer) -> Scored:
        votes, faults = [], []
        for vote in range(self.votes):
            ask = self.judge.about(f"{question.id}/{sample}", vote)
            if self.as_published:
                ask = forgiving(ask, partial(self.benchmark.published_answer, question))
            try:
                votes.append(self.benchmark.judge(question, answer, ask))
            except Unjudged as why:
                faults.append(str(why))
        values = {}
        for key in dict.fromkeys(key for vote in votes for key in vote):
            told = [vote[key] for vote in votes if key in vote]
            values[key] = sum(told) / len(told)
        if self.as_published and values:
            values = self.benchmark.as_published(values)
        return Scored(question.id, sample, question.group, values, question.subsets, tuple(votes), tuple(faults))

    @property
    def agreement(self) -> dict[str, Agreement]:
        """How alike the judge's own votes are, by criterion."""
        found = {name: agreement(units) for name, units in self.judge.ratings().items()}
        return {name: each for name, each in found.items() if each is not None}

    @property
    def facts(self) -> dict[str, Any]:
        judge = self.judge
        return {
            "judge": judge.name, "votes": self.votes, "temperature": judge.temperature, "seed": judge.seed,
            "longest_side": judge.side, "tries": judge.tries, "as_published": self.as_published, **judge.counts,
        }  # fmt: skip


@dataclass
class ByDetector:
    """GenEval's rules on what a detector finds. What was found right or wrong is kept in a file, by the picture's hash."""

    detector: Detector
    colours: Colours
    path: Path
    _known: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._journal = Journal(self.path)
        self._about = f"{self.detector.about}, {self.colours.about}"
        for record in self._journal:
            if record.get("by") == self._about and record.keys() >= {"wanted", "sha256", "right", "why"}:
                self._known[record["wanted"], record["sha256"]] = record

    def __call__(self, question: Question, sample: int, answer: Answer) -> Scored:
        picture: Picture = pictures_of(answer)[0]
        wanted = json.dumps(question.facts, sort_keys=True)
        record = self._known.get((wanted, picture.sha256))
        if record is None:
            image = picture.image()
            found = kept(self.detector(image), question.group)
            right, why = verdict(image, found, question.facts, self.colours)
            record = {"wanted": wanted, "sha256": picture.sha256, "by": self._about, "right": right, "why": why}
            self._journal.append(record)
        return Scored(question.id, sample, question.group, {"correct": float(record["right"])}, notes=record["why"])

    @property
    def facts(self) -> dict[str, Any]:
        return {"detector": self.detector.about, "colours": self.colours.about}

    @property
    def agreement(self) -> dict[str, Agreement]:
        """None: it says the same each time."""
        return {}


def score(
    benchmark: Benchmark,
    questions: Sequence[Question],
    samples: int,
    scorer: Scorer,
    workers: int = 1,
    partial_: bool = False,
    on_done: Callable[[int, int], None] = lambda done, of: None,
) -> list[Scored]:
    """Scores all answers, `workers` of them at a time.

    Args:
        partial_: leave out answers that aren't there.

    Raises:
        InputError: answers are missing, or can't be read.
    """
    work = [(question, sample) for question in questions for sample in range(samples)]
    there = [(question, sample) for question, sample in work if benchmark.has(question, sample)]
    if not there or (len(there) < len(work) and not partial_):
        raise InputError(
            f"{benchmark.folder}: {len(work) - len(there)} of {len(work)} answers are missing; generate them first"
            + (", or score what is there with --partial" if there else "")
        )

    def one(item: tuple[Question, int]) -> Scored:
        return scorer(*item, benchmark.read(*item))

    scored: list[Scored] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for done, each in enumerate(pool.map(one, there), 1):
                scored.append(each)
                on_done(done, len(there))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    benchmark.record(questions, scored)
    return scored


def metered(benchmark: Judged, questions: Sequence[Question], samples: int, votes: int, side: int) -> tuple[Meter, int]:
    """What judging would take; and for how many answers, which aren't there yet, something like them stood in."""
    meter, missing = Meter(side), 0
    for question in questions:
        for sample in range(samples):
            there = benchmark.has(question, sample)
            answer = benchmark.read(question, sample) if there else stand_in(benchmark, question)
            missing += not there
            for _ in range(votes):
                benchmark.judge(question, answer, meter)
    return meter, missing


def against_people(scored: Iterable[Scored], rows: Iterable[Row]) -> dict[str, Against]:
    """A judge beside people's ratings, by criterion.

    Args:
        rows: of `records`, with ``id``, ``criterion``, ``score`` and, where it isn't the first, ``sample``; several of one are averaged.

    Raises:
        InputError: a score or a sample that is no number.
    """
    told: dict[tuple[str, int, str], list[float]] = {}
    for where, _, row in rows:
        rating, sample = row["score"], row.get("sample", 0)
        if isinstance(rating, bool) or not isinstance(rating, int | float) or not abs(rating) < 1e6:
            raise InputError(f"{where}: the score is no number: {str(rating)[:60]!r}")
        if type(sample) is not int:
            raise InputError(f"{where}: the sample is no number: {sample!r}")
        told.setdefault((str(row["id"]), sample, str(row["criterion"])), []).append(float(rating))
    pairs: dict[str, list[tuple[float, float]]] = {}
    for each in scored:
        for key, value in each.values.items():
            if ratings := told.get((each.id, each.sample, key)):
                pairs.setdefault(key, []).append((value, sum(ratings) / len(ratings)))
    return {key: found for key, of in pairs.items() if (found := against(of)) is not None}
