"""Many requests at a time against one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from duogen.agent.agent import Agent
from duogen.agent.plan import Plan, PlanRequest
from duogen.benchmarks.turns import Outcome, in_turns, measured, middle, spread
from duogen.models.sampler import PaintSettings
from duogen.training.data import draw_task

REQUESTS = 32
SAMPLE = 8
"""Requests of which operations are counted."""


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
    flops: float,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Seconds for `REQUESTS` requests, one after the other and so many at a time, in turns.

    Args:
        peak: floating-point operations a second of a matrix product. flops: of `flops_a_token`.
    """
    asked = requests(REQUESTS, settings)

    def one_by_one() -> list[Plan]:
        return [agent.plan(request.request, settings=settings) for request in asked]

    ways: dict[str, Callable[[], Any]] = {"one by one": one_by_one} | {
        f"{size} at once": (lambda size=size: agent.plan_many(asked, at_once=size)) for size in sizes
    }
    agent.plan_many(asked[: max(sizes)])
    timed = {way: partial(measured, agent.pipeline, run) for way, run in ways.items()}
    runs = in_turns(timed, f"batch of {REQUESTS}", repeats, note)

    def share(run: Outcome[Any]) -> float:
        return flops * run.tokens["denoising"] / run.seconds["denoising"] / peak

    return {
        way: {
            "seconds": middle(done),
            "spread": spread(done),
            "pictures": sum(len(plan.pictures) for plan in done[-1].result),
            "ratio": middle(runs["one by one"]) / middle(done),
            "share_of_peak_denoising": share(done[-1]),
        }
        for way, done in runs.items()
    }


def flops_a_token(agent: Agent, settings: PaintSettings) -> float:
    """Floating-point operations of denoising the pictures of such requests, for each token of the DiT; counted in torch."""
    counted = measured(agent.pipeline, lambda: agent.plan_many(requests(SAMPLE, settings)), flops=True)
    return sum(counted.flops["denoising"]) / counted.tokens["denoising"]
