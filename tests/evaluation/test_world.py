from __future__ import annotations

from duogen.agent.agent import Agent
from duogen.evaluation.world import answer_in_words, build_report, tasks_of


def test_the_mllm_alone_is_shown_the_truth_of_what_it_writes(default_agent: Agent) -> None:
    tasks = tasks_of("train", None, 8, 0)
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
