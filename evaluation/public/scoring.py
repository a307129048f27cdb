"""Scores the answers in a folder: by a judge, or by a detector."""

from __future__ import annotations

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
from duogen.evaluation.public.item import Answer, Benchmark, Judged, Question, pictures_of
from duogen.evaluation.public.judge import Judge, Meter, voted
from duogen.evaluation.public.statistics import Against, Agreement, Scored, against, agreement
from duogen.journal import Journal


class Scorer(Protocol):
    """Scores one answer. It may be called from several threads."""

    def __call__(self, question: Question, sample: int, answer: Answer) -> Scored: ...

    @property
    def facts(self) -> dict[str, Any]:
        """What the scores depend on, and what was counted on the way, for the report."""


@dataclass
class ByJudge:
    """The mean of several votes of a judge.

    Args:
        as_published: with the defects of the authors' scorer.
    """

    benchmark: Judged
    judge: Judge
    votes: int = 1
    as_published: bool = False

    def __call__(self, question: Question, sample: int, answer: Answer) -> Scored:
        scoring = partial(self.benchmark.judge, question, answer)
        votes, faults = voted(self.judge, f"{question.id}/{sample}", self.votes, scoring)
        if not votes and self.as_published and (made := self.benchmark.published_failure(question)) is not None:
            votes = [made]
        keys = dict.fromkeys(key for vote in votes for key in vote)
        values = {}
        for key in keys:
            said = [vote[key] for vote in votes if key in vote]
            values[key] = sum(said) / len(said)
        if self.as_published and values:
            values = self.benchmark.as_published(values)
        return Scored(question.id, sample, question.group, values, question.subsets, tuple(votes), tuple(faults))

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
            if record["by"] == self._about:
                self._known[record["id"], record["sha256"]] = record

    def __call__(self, question: Question, sample: int, answer: Answer) -> Scored:
        picture: Picture = pictures_of(answer)[0]
        record = self._known.get((question.id, picture.sha256))
        if record is None:
            image = picture.image()
            found = kept(self.detector(image), question.group)
            right, why = verdict(image, found, question.facts, self.colours)
            record = {"id": question.id, "sha256": picture.sha256, "by": self._about, "right": right, "why": why}
            self._journal.append(record)
        return Scored(question.id, sample, question.group, {"correct": float(record["right"])}, notes=record["why"])

    @property
    def facts(self) -> dict[str, Any]:
        return {"detector": self.detector.about, "colours": self.colours.about}


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
            for done, each in enumerate(map(one, there) if workers == 1 else pool.map(one, there), 1):
                scored.append(each)
                on_done(done, len(there))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    benchmark.record(scored)
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


def self_consistency(scored: Iterable[Scored]) -> Agreement | None:
    """How alike a judge's own votes are."""
    return agreement([vote[key] for vote in each.votes if key in vote] for each in scored for key in each.values)


def against_people(scored: Iterable[Scored], rows: Iterable[tuple[str, Any, dict[str, Any]]]) -> Against | None:
    """A judge beside people's ratings.

    Args:
        rows: of `records`, with ``id``, ``criterion``, ``score`` and, where it isn't the first, ``sample``; several of one are averaged.

    Raises:
        InputError: a score that is no number.
    """
    said: dict[tuple[str, int, str], list[float]] = {}
    for where, _, row in rows:
        if isinstance(row["score"], bool) or not isinstance(row["score"], int | float):
            raise InputError(f"{where}: the score is no number: {row['score']!r}")
        said.setdefault((str(row["id"]), int(row.get("sample", 0)), str(row["criterion"])), []).append(row["score"])
    return against([
        (key, value, sum(said[at]) / len(said[at]))
        for each in scored for key, value in each.values.items() if (at := (each.id, each.sample, key)) in said
    ])  # fmt: skip
