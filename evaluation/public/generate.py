"""Has a model answer a benchmark's questions, in the layout that the benchmark's own scorer reads; resumable at any moment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from duogen.document import Picture
from duogen.errors import DuoGenError, InputError
from duogen.evaluation.public.item import Answer, Benchmark, Question, answer_in, read_json, write_json
from duogen.evaluation.public.judge import Call, Judge, Unjudged

if TYPE_CHECKING:  # scoring needs neither
    from duogen.agent.agent import Agent
    from duogen.models.sampler import PaintSettings

NOTE = "run.json"
REWRITE = (
    "You rewrite prompts for a model that paints. Say the same with all that a painter has to know: every object, how many, which colour, "
    "where each stands. Invent no further object, and change none. Answer with JSON of the given schema, and nothing else."
)


class Rewritten(BaseModel):
    """A prompt in other words."""

    model_config = ConfigDict(extra="ignore", strict=True)
    prompt: str = Field(min_length=1)


@dataclass(frozen=True)
class Generation:
    """How answers are made.

    `seed`: of all; each picture has its own, drawn from it, the question's id and the number of the sample. `rewriter`: words prompts anew,
    which moves GenEval by six hundredths; None, as the authors have it. `shard`: this process's number, and how many share the work. `memory`:
    how weights are kept.
    """

    settings: PaintSettings
    max_pictures: int = 12
    seed: int = 0
    rewriter: Judge | None = None
    shard: tuple[int, int] = (0, 1)
    memory: str = ""

    def facts(self, agent: Agent) -> dict[str, Any]:
        """What the answers depend on, for the report."""
        from duogen.models.exporting import fingerprint

        painting = agent.pipeline.resolve(self.settings).model_dump(mode="json", exclude={"seed"})
        rewriter = None if self.rewriter is None else self.rewriter.name
        return {
            "weights": fingerprint(agent.pipeline), "memory": self.memory, "seed": self.seed, "max_pictures": self.max_pictures,
            "prompt_rewriting": rewriter, "painting": painting,
        }  # fmt: skip


def seed_of(seed: int, question: str, sample: int) -> int:
    """A picture's own seed, alike on every machine."""
    said = f"{seed}/{question}/{sample}".encode()
    return int.from_bytes(hashlib.sha256(said).digest()[:4], "big") >> 1


def generate(
    benchmark: Benchmark,
    questions: Sequence[Question],
    samples: int,
    agent: Agent,
    how: Generation,
    on_done: Callable[[int, int], None] = lambda done, of: None,
) -> list[str]:
    """Makes the answers that aren't there yet.

    Args:
        on_done: is told how many answers are there, and of how many, after each.

    Returns:
        What couldn't be answered, and why, a line each.

    Raises:
        DuoGenError: the rewriter's server is gone.
    """
    number, of = how.shard
    work = [(question, sample) for question in questions[number::of] for sample in range(samples)]
    failed: list[str] = []
    for done, (question, sample) in enumerate(work, 1):
        if not benchmark.has(question, sample):
            try:
                text = question.text if how.rewriter is None else _rewritten(question, how.rewriter)
                benchmark.write(question, sample, _answer(benchmark, question, sample, text, agent, how))
            except (AnswerError, Unjudged) as why:
                failed.append(f"{question.id}: {why}")
        on_done(done, len(work))
    if all(benchmark.has(question, sample) for question in questions for sample in range(samples)):
        benchmark.finish(questions)
    return failed


class AnswerError(Exception):
    """The model can't answer a question: it is too long, for example."""


def _answer(benchmark: Benchmark, question: Question, sample: int, text: str, agent: Agent, how: Generation) -> Answer:
    settings = how.settings.model_copy(update={"seed": seed_of(how.seed, question.id, sample)})
    try:
        if benchmark.one_picture:
            if question.pictures and settings.width is None and settings.height is None:
                # An edit has its source's shape.
                source = question.pictures[0]
                width, height = agent.pipeline.fitted_size(source.width, source.height)
                settings = settings.model_copy(update={"width": width, "height": height})
            return (agent.edit(text, question.pictures, settings).picture,)
        document = agent.plan(question.asked, settings=settings, max_pictures=how.max_pictures).document
    except DuoGenError as error:
        raise AnswerError(str(error)) from error
    return answer_in(document)


def _rewritten(question: Question, rewriter: Judge) -> str:
    call = Call("rewrite", "Rewrite this prompt.", question.asked, Rewritten, Rewritten(prompt="x" * 200))
    told: Rewritten = rewriter.about(question.id, 0)(call)
    return told.prompt


def begin(folder: Path, facts: dict[str, Any]) -> None:
    """Notes what a folder's answers depend on.

    Raises:
        InputError: it has answers that were made in another way.
    """
    known = noted(folder)
    if known is not None:
        other = [key for key in facts if known.get(key) != facts[key]]
        if other:
            told = ", ".join(f"{key} {known.get(key)!r}" for key in other)
            raise InputError(f"{folder}: its answers were begun with {told[:300]}; choose another folder")
    elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise InputError(f"{folder}: there is something else in it; choose another folder")
    else:
        write_json(folder / NOTE, facts)


def noted(folder: Path) -> dict[str, Any] | None:
    """What `begin` noted; None where answers were made elsewhere, or aren't there yet.

    Raises:
        InputError: the note can't be read.
    """
    path = folder / NOTE
    if not path.exists():
        return None
    known = read_json(path)
    if not isinstance(known, dict) or not {"benchmark", "subset", "model", "generation"} <= set(known):
        raise InputError(f"{path}: not a note of duogen eval")
    return known


def stand_in(benchmark: Benchmark, question: Question) -> Answer:
    """About what an answer is, for an estimate of what judging it costs before it is there."""
    from PIL import Image

    grey = Picture.from_image(Image.new("RGB", (512, 512), "grey"))
    return (grey,) if benchmark.one_picture else ("word " * 60, grey) * 5
