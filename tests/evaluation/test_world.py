from __future__ import annotations

import pytest

from duogen.agent.agent import Agent
from duogen.evaluation.world import answer, answer_in_pictures, answer_in_words, build_report, score, tasks_of
from duogen.models.sampler import PaintSettings
from duogen.tools.look import LookTool


def test_the_mllm_alone_is_shown_the_truth_of_what_it_writes(default_agent: Agent) -> None:
    tasks = tasks_of("train", ("arrange", "build"), 8, 0)
    answers = [answer_in_words(default_agent.pipeline, task) for task in tasks]
    assert all(len(a.steps) == len(a.task.turns) for a in answers)
    for answered in answers:
        for turn, steps in zip(answered.task.turns, answered.steps, strict=True):
            assert bool(turn.pictures) == any(step.pictured for step in steps)
            assert not steps[-1].pictured, "an answer ends with its text"
    overall = build_report(answers)["scores"]["overall"]
    # A picture is wrong only where its own text, or some text before it, isn't legal.
    assert overall["step_state_accuracy"] >= overall["plan_legal_and_goal"]
    assert overall["pictures_readable"] == 1.0 and overall["emission_f1"] > 0.8


def test_a_self_check_is_counted(default_agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LookTool, "shows", lambda *_: 0.1)
    (task,) = tasks_of("train", ("depict",), 1, 0)
    answered = answer(default_agent, task, PaintSettings(steps=1), self_check=2)
    pictured = [step for steps in answered.steps for step in steps if step.pictured]
    assert all(len(step.attempts) == 3 and not any(a.accepted for a in step.attempts) for step in pictured)
    counted = score(answered)
    assert len(counted.rejected_wrong) == 3 * len(pictured) and len(counted.psnr) == len(counted.states)


def test_the_dit_alone_is_given_the_true_text(default_agent: Agent) -> None:
    for task in tasks_of("train", ("arrange", "build", "cook", "route"), 4, 0):
        answered = answer_in_pictures(default_agent.pipeline, task, PaintSettings(steps=2))
        for turn, steps in zip(task.turns, answered.steps, strict=True):
            assert [step.text for step in steps] == turn.segments
            assert [step.pictured for step in steps] == [i < len(turn.pictures) for i in range(len(steps))]
        assert all(score(answered).plans), "the text is the world's own"
