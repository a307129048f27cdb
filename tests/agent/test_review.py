from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from duogen.agent.agent import Agent
from duogen.agent.plan import Plan, PlanRequest
from duogen.agent.review import Decision, Proposal
from duogen.document import Document, Picture
from duogen.errors import InputError
from duogen.models.sampler import PaintSettings

REQUEST = "How do I build a red tower with three floors and a blue roof?"
QUICK = PaintSettings(steps=1)
YES = Decision()


@pytest.fixture(scope="module")
def unreviewed(default_agent: Agent) -> Plan:
    return default_agent.plan(REQUEST, settings=QUICK)


def texts(document: Document) -> list[str]:
    return [part.text for part in document.messages[-1].content if part.type == "text"]


def reviewed(agent: Agent, *decisions: Decision, **options: Any) -> tuple[Plan, list[Proposal]]:
    """A plan of which the first decisions are these and all others `YES`, and what was asked."""
    asked: list[Proposal] = []
    left: Iterator[Decision] = iter(decisions)

    def review(proposal: Proposal) -> Decision:
        asked.append(proposal)
        return next(left, YES)

    return agent.plan(REQUEST, settings=QUICK, review=review, **options), asked


def test_who_accepts_everything_gets_the_same_plan(default_agent: Agent, unreviewed: Plan) -> None:
    plan, asked = reviewed(default_agent)
    assert plan.document == unreviewed.document and plan.reason == "end" and plan.trace == ()
    assert [(each.when, each.index) for each in asked] == [
        (when, index) for index in (1, 2, 3, 4) for when in ("before", "after")
    ]
    assert asked[0].picture is None and asked[1].picture == unreviewed.pictures[0] is not None
    assert asked[2].text == asked[3].text == texts(unreviewed.document)[1]


def test_painted_again(default_agent: Agent, unreviewed: Plan) -> None:
    plan, asked = reviewed(default_agent, YES, Decision(action="repaint"), Decision(action="repaint", seed=6), YES)
    tried = [each.picture.sha256 for each in asked[1:4] if each.picture]
    assert len(set(tried)) == 3 and plan.pictures[0].sha256 == tried[2]
    assert [(each["picture"], each["sha256"], each["by"], each["why"]) for each in plan.trace] == [
        (1, tried[0], "review", "repaint"), (1, tried[1], "review", "repaint"),
    ]  # fmt: skip
    assert len(plan.pictures) == 4 and texts(plan.document) == texts(unreviewed.document)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_step_is_edited(default_agent: Agent, unreviewed: Plan, when: str) -> None:
    edit = Decision(action="edit", text="Step 1: Start with a row of four green blocks.")
    plan, asked = reviewed(default_agent, *([] if when == "before" else [YES]), edit)
    assert texts(plan.document)[0] == edit.text
    assert plan.pictures[0].sha256 != unreviewed.pictures[0].sha256
    assert len(plan.trace) == (when == "after")
    assert next(each.text for each in asked if each.picture and each.text == edit.text)


def test_steps_are_inserted(default_agent: Agent, unreviewed: Plan) -> None:
    before, after = "Put a yellow block on the ground.", "Add a green block."
    plan, _ = reviewed(
        default_agent, Decision(action="insert", text=before), YES, YES, Decision(action="insert", text=after)
    )
    first, *_ = texts(unreviewed.document)
    assert texts(plan.document)[:3] == [before, first, after]
    kinds = [part.type for part in plan.document.messages[-1].content]
    assert kinds[:6] == ["text", "image"] * 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_step_is_deleted_and_the_plan_goes_on_behind_it(default_agent: Agent, unreviewed: Plan, when: str) -> None:
    plan, asked = reviewed(default_agent, YES, YES, *([] if when == "before" else [YES]), Decision(action="delete"))
    first, second, third, *_ = texts(unreviewed.document)
    assert texts(plan.document)[:2] == [first, third] and second not in texts(plan.document)
    assert len(plan.pictures) == 3 and plan.pictures[0].sha256 == unreviewed.pictures[0].sha256
    assert [each.text for each in asked if each.index == 2 and each.when == "before"] == [second, third]


def test_stopped(default_agent: Agent, unreviewed: Plan) -> None:
    plan, _ = reviewed(default_agent, YES, YES, Decision(action="stop"))
    assert plan.reason == "stopped" and [p.sha256 for p in plan.pictures] == [unreviewed.pictures[0].sha256]


def test_a_run_waits_in_its_folder_for_a_decision(default_agent: Agent, unreviewed: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    plan = default_agent.plan(REQUEST, settings=QUICK, folder=folder, review="pause")
    asked = 0
    while plan.proposal is not None:
        assert plan.reason == "review" and not (folder / "plan.json").exists()
        again = default_agent.resume(folder)
        assert again.proposal == plan.proposal, "asking changes nothing"
        plan = default_agent.resume(folder, made=YES, review="pause")
        asked += 1
    assert asked == 8 and plan.document == unreviewed.document == Document.load(folder)


def test_a_host_answers_langgraphs_interrupts_itself(default_agent: Agent, unreviewed: Plan) -> None:
    host = default_agent.prepare(PlanRequest(REQUEST, settings=QUICK), review=True, checkpointer=InMemorySaver())
    state = host.graph.invoke(host.state, host.config)
    assert state["__interrupt__"][0].value["when"] == "before"
    for wrong in ({"action": "dance"}, {"action": "repaint"}, {"action": "edit"}, "yes", []):
        state = host.graph.invoke(Command(resume=wrong), host.config)
        assert "error" in state["__interrupt__"][0].value, wrong
    while "__interrupt__" in state:
        state = host.graph.invoke(Command(resume={"action": "accept"}), host.config)
    assert host.plan(state).document == unreviewed.document


def test_bad_decisions(default_agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the step's text"):
        Decision(action="edit", text="  ")
    with pytest.raises(InputError, match="needs a folder"):
        default_agent.plan(REQUEST, review="pause")
    folder = tmp_path / "plan"
    default_agent.plan(REQUEST, settings=QUICK, folder=folder, review="pause")
    with pytest.raises(InputError, match="repaint can't be decided here"):
        default_agent.resume(folder, made=Decision(action="repaint"))
    assert default_agent.resume(folder).reason == "review", "nothing is lost"


def test_the_picture_in_a_proposal_is_the_one_that_was_painted(default_agent: Agent) -> None:
    _, asked = reviewed(default_agent, YES, Decision(action="stop"))
    assert isinstance(asked[1].picture, Picture)
    assert asked[1].picture.sha256 == asked[1].document.images[-1].sha256
