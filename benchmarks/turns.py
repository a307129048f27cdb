"""Several ways to do the same, timed in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from duogen.benchmarks.clock import Clock, now
from duogen.benchmarks.machine import begin_peak, peak_memory
from duogen.models.pipeline import DuoGenPipeline

Result = TypeVar("Result")


@dataclass
class Runs(Generic[Result]):
    """What the runs of one way took, each with its clock; the last one's peak memory, and its result."""

    result: Result
    seconds: list[float] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)
    memory: int | None = None

    @property
    def middle(self) -> float:
        """The median of the seconds."""
        return statistics.median(self.seconds)


def in_turns(
    pipeline: DuoGenPipeline,
    ways: Mapping[str, Callable[[], Result]],
    name: str,
    repeats: int,
    note: Callable[[str], None],
) -> dict[str, Runs[Result]]:
    """Times some ways to do the same in turns, so that whatever else the machine does falls on all alike.

    Args:
        name: of the work, for `note`, which is told of each turn.
    """
    runs: dict[str, Runs[Result]] = {}
    for turn in range(repeats):
        for way, run in ways.items():
            clock = Clock()
            begin_peak()
            with clock.watching(pipeline):
                began = now()
                result = run()
                took = now() - began
            done = runs.setdefault(way, Runs(result))
            done.result, done.memory = result, peak_memory()
            done.seconds.append(took)
            done.clocks.append(clock)
        note(f"{name}: {turn + 1}/{repeats}")
    return runs
