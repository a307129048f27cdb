"""One run of one benchmark in a folder: generate, score, report. Each step can be interrupted and gone on with, by the same command.

OUTPUT/run.json                     what the answers depend on
OUTPUT/answers/                     the answers, as the benchmark's own scorer reads them
OUTPUT/judge.jsonl, detector.jsonl  every raw answer of the judge; every verdict of the detector
OUTPUT/report.json, .md, .html
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from duogen.errors import DuoGenError, InputError, needed
from duogen.evaluation.progress import progress
from duogen.evaluation.public import generate, report
from duogen.evaluation.public.geneval import GenEval
from duogen.evaluation.public.item import Benchmark, Judged, Question, records
from duogen.evaluation.public.judge import Judge, Meter
from duogen.evaluation.public.scoring import ByDetector, ByJudge, Scorer, against_people, metered, score


class Options(BaseModel):
    """The command's options, as `duogen eval NAME --help` describes them."""

    model_config = ConfigDict(extra="forbid")
    output: Path
    data: Path | None
    step: Literal["generate", "score", "both"]
    model: Path | None
    subset: str
    limit: int | None
    samples: int | None
    seed: int
    steps: int | None
    guidance: float | None
    width: int | None
    height: int | None
    max_pictures: int
    device: str | None
    memory: str
    shard: str
    rewriter: str | None
    rewriter_url: str | None
    partial: bool
    detector: Path | None
    clip: Path | None
    judge: str | None
    judge_url: str | None
    votes: int
    temperature: float | None
    max_side: int | None
    tries: int
    timeout: float
    workers: int
    as_published: bool
    labels: Path | None
    dry_run: bool
    price: tuple[float, float] | None
    as_json: bool


def run(kind: type[Benchmark], options: Options) -> None:
    """Does what the options say, and prints where the report is, and what it says.

    Raises:
        InputError: an option, the data set or the folder can't be used.
        DuoGenError: a server can't be used any longer.
    """
    if options.output.exists() and not options.output.is_dir():
        raise InputError(f"{options.output}: is a file; choose a folder with -o")
    known = generate.noted(options.output)
    model = "duogen-default" if options.model is None else options.model.resolve().name
    if options.model is None and options.step == "score" and known is not None:
        model = known["model"]
    benchmark = kind(options.output / "answers", model, options.subset)
    if known is not None and (known["benchmark"], known["subset"], known["model"]) != (
        kind.name,
        benchmark.subset,
        model,
    ):
        told = " ".join(filter(None, (known["benchmark"], known["subset"], "of", known["model"])))
        raise InputError(
            f"{options.output}: holds answers to {told}; choose another folder, or the same benchmark, subset and model"
        )
    questions = chosen(list(benchmark.questions(options.data)), options.limit)
    samples = options.samples or benchmark.samples
    if samples > 1 and benchmark.samples == 1:
        raise InputError(f"--samples: {benchmark.title}'s layout has a place for one answer to each question")
    shard = _shard(options.shard)
    if shard[1] > 1 and options.step != "generate":
        raise InputError("--shard shares generating: add --step generate, and score once when all are done")
    if options.dry_run:
        print(_estimate(benchmark, questions, samples, options))
        return
    if options.step in ("generate", "both"):
        _generate(benchmark, questions, samples, shard, options)
    can_score = options.judge is not None if isinstance(benchmark, Judged) else options.detector is not None
    if options.step == "score" or (options.step == "both" and can_score):
        _score(benchmark, questions, samples, options)
    elif options.step == "both":
        wanted = "--judge NAME" if isinstance(benchmark, Judged) else "--detector FOLDER and --clip FOLDER"
        print(f"{benchmark.folder}\nto score them: --step score with {wanted}", file=sys.stderr)
    else:
        print(benchmark.folder)


def chosen(questions: list[Question], limit: int | None) -> list[Question]:
    """So many questions, evenly from all.

    Raises:
        InputError: there are none, or two of one name.
    """
    if not questions:
        raise InputError("the data set holds no question of this kind")
    ids = [question.id for question in questions]
    if len(set(ids)) < len(ids):
        twice = next(each for each in ids if ids.count(each) > 1)
        raise InputError(f"the data set has two questions with the id {twice}")
    if limit is None or limit >= len(questions):
        return questions
    return [questions[place * len(questions) // limit] for place in range(limit)]


def _generate(
    benchmark: Benchmark, questions: Sequence[Question], samples: int, shard: tuple[int, int], options: Options
) -> None:
    from duogen.agent.cli import painting
    from duogen.loading import load

    if options.rewriter is not None and not benchmark.one_picture:
        raise InputError(f"--rewriter is for single pictures; {benchmark.title}'s answers are documents")
    settings = painting(0, options.steps, options.guidance, None, 0.0, options.width, options.height)
    agent = load(options.model, device=options.device, memory=options.memory)
    options.output.mkdir(parents=True, exist_ok=True)
    rewriter = None
    if options.rewriter is not None:
        path = options.output / "rewritten.jsonl"
        rewriter = _model(options.rewriter, options.rewriter_url, path, options, rules=generate.REWRITE)
    how = generate.Generation(settings, options.max_pictures, options.seed, rewriter, shard, options.memory)
    facts = {"benchmark": benchmark.name, "subset": benchmark.subset, "model": benchmark.model}
    generate.begin(options.output, facts | {"generation": how.facts(agent)})
    failed = generate.generate(benchmark, questions, samples, agent, how, progress("answers", 100))
    for line in failed[:5]:
        print(line, file=sys.stderr)
    if failed:
        raise DuoGenError(f"{len(failed)} questions could not be answered; the others are in {benchmark.folder}")


def _score(benchmark: Benchmark, questions: Sequence[Question], samples: int, options: Options) -> None:
    scorer = _scorer(benchmark, options)
    scored = score(
        benchmark, questions, samples, scorer, options.workers if isinstance(benchmark, Judged) else 1, options.partial,
        progress("answers scored", 100),
    )  # fmt: skip
    people = {}
    if options.labels is not None:
        people = against_people(scored, records(options.labels, ("*.jsonl",), ("id", "criterion", "score")))
        if not people:
            raise InputError(f"{options.labels}: rates nothing that was scored")
    known = generate.noted(options.output)
    facts = {"generation": {"made": "elsewhere"} if known is None else known["generation"], "scoring": scorer.facts}
    missing = len(questions) * samples - len(scored)
    made = report.build(benchmark, scored, facts, missing, scorer.agreement, people)
    report.write(options.output, made, benchmark, questions, scored)
    print(json.dumps(made, ensure_ascii=False, indent=2) if options.as_json else report.markdown(made))
    print(options.output / "report.html", file=sys.stderr)


def _scorer(benchmark: Benchmark, options: Options) -> Scorer:
    options.output.mkdir(parents=True, exist_ok=True)
    if isinstance(benchmark, GenEval):
        if options.detector is None or options.clip is None:
            raise InputError("GenEval is scored with --detector FOLDER (Mask2Former) and --clip FOLDER (CLIP)")
        from duogen.evaluation.public.detectors import Clip, Mask2Former
        from duogen.loading import hush, usable

        hush()
        device = usable(options.device or "cpu")
        found, colours = Mask2Former(options.detector, device), Clip(options.clip, device)
        return ByDetector(found, colours, options.output / "detector.jsonl")
    assert isinstance(benchmark, Judged)
    if options.judge is None:
        raise InputError(f"{benchmark.title} is scored by a judge: --judge NAME, and its server with --judge-url")
    temperature = (0.0 if options.votes == 1 else 1.0) if options.temperature is None else options.temperature
    judge = _model(
        options.judge, options.judge_url, options.output / "judge.jsonl", options,
        side=options.max_side or benchmark.side, temperature=None if temperature < 0 else temperature, seed=options.seed,
        timeout=options.timeout,
    )  # fmt: skip
    return ByJudge(benchmark, judge, options.votes, options.as_published)


def _model(name: str, url: str | None, path: Path, options: Options, **more: Any) -> Judge:
    """A model on a server, with the key that is in the environment."""
    needed("eval", "openai")
    return Judge(name, url, path, options.tries, api_key=os.environ.get("DUOGEN_JUDGE_KEY"), **more)


def _estimate(benchmark: Benchmark, questions: Sequence[Question], samples: int, options: Options) -> str:
    if not isinstance(benchmark, Judged):
        return f"{benchmark.title} has no judge: {len(questions) * samples} pictures for the detector."
    side = options.max_side or benchmark.side
    meter, missing = metered(benchmark, questions, samples, options.votes, side)
    lines = [_counts(meter, len(questions) * samples, options.votes)]
    if missing:
        lines.append(f"{missing} answers aren't there yet; something of the usual size stood in for them.")
    if options.price is not None:
        cost = (meter.read * options.price[0] + meter.written * options.price[1]) / 1e6
        lines.append(f"At these prices, {cost:,.2f} in all.")
    return "\n".join(lines)


def _counts(meter: Meter, answers: int, votes: int) -> str:
    return (
        f"{answers:,} answers, {votes} votes each: {meter.calls:,} requests with {meter.pictures:,} pictures of at most {meter.side} "
        f"pixels; about {meter.read:,} tokens read and {meter.written:,} written."
    )


def _shard(said: str) -> tuple[int, int]:
    number, _, of = said.partition("/")
    if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise InputError(f"--shard must be like 0/4: a number, and of how many; not {said!r}")
    return int(number), int(of)
