"""Puts the requests of an evaluation to a model, one after the other or in several processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import torch

from duogen.agent.agent import Agent
from duogen.evaluation.world import Answered, answer, answer_in_pictures, answer_in_words, tasks_of
from duogen.loading import load
from duogen.models.sampler import PaintSettings
from duogen.training.world.task import Task


@dataclass(frozen=True)
class Requests:
    """Which requests are put to which model, and how.

    `only`: ``text``, ``pictures`` or None (see `answer_in_words`, `answer_in_pictures`, `answer`). `backend`, `memory`: of `load`.
    """

    model: Path | None
    split: str
    families: tuple[str, ...]
    limit: int
    seed: int
    settings: PaintSettings
    only: str | None = None
    self_check: int = 0
    backend: Literal["torch", "onnx"] = "torch"
    memory: str = ""

    @property
    def tasks(self) -> list[Task]:
        return tasks_of(self.split, self.families, self.limit, self.seed)

    def agent(self) -> Agent:
        """The agent that answers."""
        return load(self.model, backend=self.backend, memory=self.memory)

    def put(self, agent: Agent, number: int, task: Task) -> Answered:
        """The answer to request `number`, painted from a noise of its own: one noise for all would favour what suits it."""
        settings = self.settings.model_copy(update={"seed": self.settings.seed + number})
        if self.only == "text":
            return answer_in_words(agent.pipeline, task)
        if self.only == "pictures":
            return answer_in_pictures(agent.pipeline, task, settings)
        return answer(agent, task, settings, self.self_check)


def answers_to(requests: Requests, agent: Agent, jobs: int = 1) -> Iterator[Answered]:
    """The answers to all requests, in order, as they come.

    Args:
        jobs: processes of one thread each, with a model of their own. A small model's pictures are too little work to share:
            on two cores two of them take less time than one process with two threads (docs/LOG.md).
    """
    tasks = requests.tasks
    if jobs == 1:
        for number, task in enumerate(tasks):
            yield requests.put(agent, number, task)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_prepare, initargs=(requests,)) as pool:
        for task, answered in zip(tasks, pool.map(_put, range(len(tasks))), strict=True):
            yield replace(answered, task=task)


_prepared: tuple[Requests, Agent, list[Task]]


def _prepare(requests: Requests) -> None:
    global _prepared
    torch.set_num_threads(1)
    _prepared = requests, requests.agent(), requests.tasks


def _put(number: int) -> Answered:
    """The answer to request `number`. Its task stays behind: a goal is a function, and functions don't travel."""
    requests, agent, tasks = _prepared
    answered = requests.put(agent, number, tasks[number])
    return replace(answered, task=Task(answered.task.family, answered.task.kind, answered.task.start, ()))
