"""Many requests at a time against one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from duogen.agent.agent import Agent, Plan, PlanRequest
from duogen.benchmarks.clock import Clock, now
from duogen.models.sampler import PaintSettings
from duogen.training.data import draw_task

REQUESTS = 32


def requests(count: int, settings: PaintSettings) -> list[PlanRequest]:
    """Requests of the world for plans with several pictures, with none given; the same every time."""
    asked = []
    for index in range(count):
        task = draw_task(7, index, "held-out", ("build", "draw", "cook")[index % 3])
        while task.shown or not task.turns[0].pictures:
            index += count
            task = draw_task(7, index, "held-out", ("build", "draw", "cook")[index % 3])
        asked.append(PlanRequest(task.turns[0].request, settings=settings))
    return asked


def throughput(
    agent: Agent,
    sizes: Sequence[int],
    settings: PaintSettings,
    repeats: int,
    peak: float,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Seconds for `REQUESTS` requests, one after the other and so many at a time, in turns."""
    asked = requests(REQUESTS, settings)

    def one_by_one() -> list[Plan]:
        return [agent.plan(request.request, settings=settings) for request in asked]

    ways: dict[str, Callable[[], Any]] = {"one by one": one_by_one} | {
        f"{size} at once": (lambda size=size: agent.plan_many(asked, at_once=size)) for size in sizes
    }
    agent.plan_many(asked[: max(sizes)])
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    clocks: dict[str, Clock] = {}
    pictures: dict[str, int] = {}
    for turn in range(repeats):
        for way, run in ways.items():
            clocks[way] = Clock()
            with clocks[way].watching(agent.pipeline):
                began = now()
                plans = run()
                seconds[way].append(now() - began)
            pictures[way] = sum(len(plan.pictures) for plan in plans)
        note(f"batch of {REQUESTS}: {turn + 1}/{repeats}")
    flops = _flops(agent, asked[: max(sizes)])
    first = statistics.median(seconds["one by one"])
    return {
        way: {
            "seconds": statistics.median(took),
            "spread": [min(took), max(took)],
            "pictures": pictures[way],
            "ratio": first / statistics.median(took),
            "share_of_peak_denoising": flops
            * clocks[way].tokens["denoising"]
            / clocks[way].seconds["denoising"]
            / peak,
        }
        for way, took in seconds.items()
    }


def _flops(agent: Agent, asked: Sequence[PlanRequest]) -> float:
    """Of the denoising, for each token of the DiT."""
    clock = Clock(flops=True)
    with clock.watching(agent.pipeline):
        agent.plan_many(asked)
    return clock.flops["denoising"] / clock.tokens["denoising"]
