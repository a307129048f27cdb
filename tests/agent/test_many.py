"""Many requests at a time: the same plans as one after the other, and each with its own fate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from duogen.agent.agent import Agent
from duogen.agent.events import DenoisingStep, Event, Finished, PictureDone, TextDelta
from duogen.agent.plan import Plan, PlanRequest
from duogen.document import Picture
from duogen.errors import DuoGenError, InputError
from duogen.models.sampler import PaintSettings

REQUESTS = (
    "How do I build a small red house?",
    "Teach me to draw a fish.",
    "Draw a blue cup.",
    "How do I file my taxes?",
)
QUICK = PaintSettings(steps=3)


def assert_alike(ours: Plan | DuoGenError, theirs: Plan) -> None:
    assert isinstance(ours, Plan)
    assert ours.text == theirs.text and ours.reason == theirs.reason and len(ours.pictures) == len(theirs.pictures)
    for one, other in zip(ours.pictures, theirs.pictures, strict=True):
        assert abs(np.asarray(one.image(), int) - np.asarray(other.image(), int)).max() <= 3


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_plans_are_those_of_one_after_the_other(default_agent: Agent, guidance: float) -> None:
    settings = QUICK.model_copy(update={"guidance": guidance})
    requests = [PlanRequest(request, settings=settings) for request in REQUESTS]
    together = default_agent.plan_many(requests, at_once=3)
    alone = [default_agent.plan(request, settings=settings) for request in REQUESTS]
    assert sum(len(plan.pictures) for plan in alone) > 8
    for ours, theirs in zip(together, alone, strict=True):
        assert_alike(ours, theirs)


def test_calls_are_grouped(default_agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    extend = default_agent.pipeline.language.extend
    monkeypatch.setattr(
        default_agent.pipeline.language, "extend", lambda chunks: (sizes.append(len(chunks)), extend(chunks))[1]
    )
    default_agent.plan_many([PlanRequest("Teach me to draw a fish.", settings=QUICK)] * 6)
    assert sum(sizes) / len(sizes) > 3, sizes


def test_pictures_of_different_sizes_and_given_ones_go_together(default_agent: Agent, picture: Picture) -> None:
    wide = PaintSettings(steps=2, width=192, height=160)
    requests = [
        PlanRequest("Draw a red ball.", settings=QUICK), PlanRequest("Draw a red ball.", settings=wide),
        PlanRequest("What is on my shelf?", [picture]), PlanRequest("Put a red ball in the centre.", [picture], settings=QUICK),
    ]  # fmt: skip
    for ours, asked in zip(default_agent.plan_many(requests), requests, strict=True):
        assert_alike(ours, default_agent.plan(asked.request, asked.images, settings=asked.settings))


def test_one_bad_request_harms_no_other(default_agent: Agent, tmp_path: Path) -> None:
    events: list[tuple[int, Event]] = []
    done: list[int] = []
    odd = PaintSettings(width=150)
    results = default_agent.plan_many(
        ["", PlanRequest("Draw a cup.", settings=QUICK, folder=tmp_path / "cup"), PlanRequest("Draw.", settings=odd),
         PlanRequest("Draw a cup.", [tmp_path / "none.png"])],
        on_event=lambda index, event: events.append((index, event)),
        on_done=lambda index, _: done.append(index),
    )  # fmt: skip
    assert [type(result) for result in results] == [InputError, Plan, InputError, InputError]
    assert sorted(done) == [0, 1, 2, 3]
    assert (tmp_path / "cup" / "plan.html").exists()
    assert {index for index, _ in events} == {1}
    kinds = {type(event) for _, event in events}
    assert {TextDelta, DenoisingStep, PictureDone, Finished} <= kinds


def test_nothing_asked_is_nothing_done(default_agent: Agent) -> None:
    assert default_agent.plan_many([]) == []
