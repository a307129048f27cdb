"""Whoever is timed does the same work: the same text goes through the models, and the pictures agree."""

from __future__ import annotations

import numpy as np
import pytest

from duogen.agent.agent import Agent
from duogen.benchmarks.clock import Clock
from duogen.benchmarks.rivals import RIVALS
from duogen.benchmarks.work import Work, edit_of, plan_of
from duogen.models.decoding import PackedDecoder
from duogen.models.sampler import PaintSettings
from duogen.training.data import FAMILIES
from duogen.training.world.scene import Scene

WORKS = (plan_of(3), edit_of(2))


@pytest.mark.parametrize(
    "rival", [name for name, rival in RIVALS.items() if rival.backend == "torch" and not rival.few]
)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_pictures_agree(default_agent: Agent, rival: str, guidance: float, work: Work) -> None:
    settings = PaintSettings(steps=2, guidance=guidance)
    ours, theirs = (RIVALS[name].run(default_agent, work, settings) for name in ("fast", rival))
    assert len(ours) == len(theirs) == len(work.steps)
    for one, other in zip(ours, theirs, strict=True):
        difference = abs(np.asarray(one, int) - np.asarray(other, int))
        # Through the VAE once more, a picture is rounded to bytes, and guidance magnifies that.
        assert difference.mean() < 0.5


def test_what_is_taken_away_is_away_where_it_is_timed(default_agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    default_agent.plan("What is on my shelf?")  # whose decoder must not be used any more
    monkeypatch.setattr(PackedDecoder, "__call__", lambda *_: pytest.fail("packed all the same"))
    clock = Clock()
    with clock.watching(default_agent.pipeline):
        RIVALS["- packed text"].run(default_agent, plan_of(1), PaintSettings(steps=1))
    assert clock.tokens["text"] > 40 and clock.seconds["text"] > 0


def test_no_token_is_prefilled_twice(default_agent: Agent) -> None:
    settings, counted = PaintSettings(steps=2), {}
    for rival in ("stock", "fast"):
        counted[rival] = Clock(flops=True)
        with counted[rival].watching(default_agent.pipeline):
            RIVALS[rival].run(default_agent, plan_of(3), settings)
    fast, stock = counted["fast"], counted["stock"]
    session = default_agent.pipeline.processor
    words = sum(len(session.encode(step)) for step in plan_of(3).steps)
    pictures = 3 * (36 + 2)
    assert words + pictures < fast.tokens["text"] < words + pictures + 60 < stock.tokens["text"] / 2
    assert fast.tokens["denoising"] == 3 * 2 * 36 and fast.tokens["condition"] == 2 * 36
    assert stock.tokens["denoising"] == (1 + 2 + 3) * 2 * 36
    assert 0 < sum(fast.flops["denoising"]) < sum(stock.flops["denoising"]) and fast.seconds["denoising"] > 0


def test_attention_to_earlier_pictures_is_counted(default_agent: Agent) -> None:
    clock = Clock(flops=True)
    with clock.watching(default_agent.pipeline):
        RIVALS["fast"].run(default_agent, plan_of(3), PaintSettings(steps=1))
    first, second, third = clock.flops["denoising"]
    assert first * 1.02 < second < third / 1.02


def test_scripts_are_plans_of_the_world() -> None:
    scene: Scene | None = Scene("shelf")
    for step in plan_of(16).steps:
        (act,) = FAMILIES["arrange"].read(step)
        assert scene is not None
        scene = FAMILIES["arrange"].apply(scene, act)
    assert scene is not None and len(scene.things) == 9
