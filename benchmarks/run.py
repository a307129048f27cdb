"""Times the rivals side by side, in one process and in turns; one JSON, one table.

    python -m benchmarks.run            # the same as: duogen bench

Every rival warms up once on each work; then all of them run in turns, so that whatever else the machine does falls on all
alike. Medians and spread are of the repetitions; FLOPs are counted in a run of their own, which isn't timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from duogen.agent.agent import Agent
from duogen.benchmarks.clock import PARTS, Clock
from duogen.benchmarks.rivals import RIVALS
from duogen.benchmarks.turns import Runs, in_turns
from duogen.benchmarks.work import Work, edit_of, plan_of
from duogen.models.sampler import PaintSettings

WORKS: dict[str, Callable[[], Work]] = {
    "one picture": partial(plan_of, 1),
    **{f"plan of {count}": partial(plan_of, count) for count in (2, 4, 8, 16)},
    **{f"edit of {count}": partial(edit_of, count) for count in (1, 4, 8)},
}


def compare(
    agent: Agent,
    work: Work,
    rivals: Sequence[str],
    settings: PaintSettings,
    repeats: int,
    peak: float,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """What each rival takes for some work, and how far its pictures are from those of the first.

    Args:
        peak: floating-point operations a second of a matrix product.
    """
    ways = {rival: partial(RIVALS[rival], agent, work, settings) for rival in rivals}
    counted = {rival: Clock(flops=True) for rival in rivals}
    for rival, run in ways.items():  # the warm-up, too
        with counted[rival].watching(agent.pipeline):
            run()
    runs = in_turns(agent.pipeline, ways, work.name, repeats, note)
    first = runs[rivals[0]]
    return {
        rival: {
            **_row(done, counted[rival], peak),
            "ratio": first.middle / done.middle,
            "memory": done.memory,
            "pixels": _differences(first.result, done.result),
        }
        for rival, done in runs.items()
    }


def _row(runs: Runs[list[Image.Image]], counted: Clock, peak: float) -> dict[str, Any]:
    middle = runs.middle
    parts = {part: statistics.median(clock.seconds[part] for clock in runs.clocks) for part in PARTS}
    return {
        "seconds": middle,
        "spread": [min(runs.seconds), max(runs.seconds)],
        "parts": parts | {"else": max(0.0, middle - sum(parts.values()))},
        "tokens": {part: counted.tokens[part] for part in ("text", "condition", "denoising")},
        "flops": {part: counted.flops[part] for part in PARTS},
        "share_of_peak": sum(counted.flops.values()) / middle / peak,
        "share_of_peak_denoising": counted.flops["denoising"] / parts["denoising"] / peak,
        "step_seconds": _by_picture(runs.clocks, len(runs.result)),
    }


def _by_picture(clocks: list[Clock], pictures: int) -> list[float]:
    """The median denoising step of each picture, over all runs."""
    steps = [np.array_split(clock.calls["denoising"], pictures) for clock in clocks]
    return [float(np.median(np.concatenate(runs))) for runs in zip(*steps, strict=True)]


def _differences(ours: Sequence[Image.Image], theirs: Sequence[Image.Image]) -> dict[str, float]:
    """How far pixels are from one another, of 255: on the average, and at most."""
    pairs = [(np.asarray(one, int), np.asarray(other, int)) for one, other in zip(ours, theirs, strict=True)]
    apart = np.stack([abs(one - other) for one, other in pairs])
    return {"mean": float(apart.mean()), "most": int(apart.max())}


if __name__ == "__main__":
    from duogen.cli import main

    main(["bench"])
