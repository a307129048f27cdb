"""Several ways to do the same, measured in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from duogen.benchmarks.clock import Clock, now
from duogen.benchmarks.machine import begin_peak, peak_memory
from duogen.models.pipeline import DuoGenPipeline

Result = TypeVar("Result")


@dataclass
class Outcome(Generic[Result]):
    """One run: what it took, by part; what was computed, operations in each call; its peak memory in bytes; its result."""

    took: float
    seconds: dict[str, float]
    calls: dict[str, list[float]]
    tokens: dict[str, int]
    flops: dict[str, list[int]]
    memory: int | None
    result: Result


def measured(pipeline: DuoGenPipeline, run: Callable[[], Result], flops: bool = False) -> Outcome[Result]:
    """A run on a pipeline; counting operations, with `flops`, which takes time."""
    clock = Clock(flops)
    begin_peak()
    with clock.watching(pipeline):
        began = now()
        result = run()
        took = now() - began
    return Outcome(
        took, dict(clock.seconds), dict(clock.calls), dict(clock.tokens), dict(clock.flops), peak_memory(), result
    )


def in_turns(
    ways: Mapping[str, Callable[[], Outcome[Result]]], name: str, repeats: int, note: Callable[[str], None]
) -> dict[str, list[Outcome[Result]]]:
    """What some ways to do the same take, in turns, so that whatever else the machine does falls on all alike.

    Args:
        name: of the work, for `note`, which is told of each turn.
    """
    runs: dict[str, list[Outcome[Result]]] = {way: [] for way in ways}
    for turn in range(repeats):
        for way, run in ways.items():
            runs[way].append(run())
        note(f"{name}: {turn + 1}/{repeats}")
    return runs


def middle(runs: Sequence[Outcome[Result]]) -> float:
    """The median of the seconds."""
    return statistics.median(run.took for run in runs)


def spread(runs: Sequence[Outcome[Result]]) -> list[float]:
    """The least and the most seconds."""
    return [min(run.took for run in runs), max(run.took for run in runs)]
