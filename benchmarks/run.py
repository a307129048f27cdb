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
from duogen.benchmarks.clock import PARTS, Clock, now
from duogen.benchmarks.machine import begin_peak, peak_memory
from duogen.benchmarks.rivals import RIVALS
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
    seconds: dict[str, list[float]] = {rival: [] for rival in rivals}
    clocks: dict[str, list[Clock]] = {rival: [] for rival in rivals}
    counted, memory, pictures = {}, {}, {}
    for rival in rivals:  # the warm-up, too
        counted[rival] = Clock(flops=True)
        with counted[rival].watching(agent.pipeline):
            pictures[rival] = RIVALS[rival](agent, work, settings)
    for turn in range(repeats):
        for rival in rivals:
            clock = Clock()
            begin_peak()
            with clock.watching(agent.pipeline):
                began = now()
                RIVALS[rival](agent, work, settings)
                seconds[rival].append(now() - began)
            memory[rival] = peak_memory()
            clocks[rival].append(clock)
        note(f"{work.name}: {turn + 1}/{repeats}")
    return {
        rival: {
            **_row(seconds[rival], clocks[rival], counted[rival], peak, len(pictures[rival])),
            "ratio": statistics.median(seconds[rivals[0]]) / statistics.median(seconds[rival]),
            "memory": memory[rival],
            "pixels": _differences(pictures[rivals[0]], pictures[rival]),
        }
        for rival in rivals
    }


def _row(seconds: list[float], clocks: list[Clock], counted: Clock, peak: float, pictures: int) -> dict[str, Any]:
    middle = statistics.median(seconds)
    parts = {part: statistics.median(clock.seconds[part] for clock in clocks) for part in PARTS}
    return {
        "seconds": middle,
        "spread": [min(seconds), max(seconds)],
        "parts": parts | {"else": max(0.0, middle - sum(parts.values()))},
        "tokens": {part: counted.tokens[part] for part in ("text", "condition", "denoising")},
        "flops": {part: counted.flops[part] for part in PARTS},
        "share_of_peak": sum(counted.flops.values()) / middle / peak,
        "share_of_peak_denoising": counted.flops["denoising"] / parts["denoising"] / peak,
        "step_seconds": _by_picture(clocks, pictures),
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
