from __future__ import annotations

from duogen.agent.agent import Agent
from duogen.evaluation.run import Requests, answers_to
from duogen.evaluation.world import build_report
from duogen.models.sampler import PaintSettings


def test_several_processes_give_the_answers_of_one(default_agent: Agent) -> None:
    requests = Requests(None, "held-out", ("arrange", "look"), 4, 0, PaintSettings(steps=1))
    one, two = (list(answers_to(requests, default_agent, jobs)) for jobs in (1, 2))
    assert [answered.task.turns[0].request for answered in two] == [task.turns[0].request for task in requests.tasks]
    said = [[[step.text for step in steps] for steps in answered.steps] for answered in (*one, *two)]
    assert said[:4] == said[4:]
    reports = [build_report(answers) for answers in (one, two)]
    assert (
        reports[0]["scores"].keys() == reports[1]["scores"].keys() and reports[0]["pictures"] == reports[1]["pictures"]
    )
    assert two[0].document is not None
