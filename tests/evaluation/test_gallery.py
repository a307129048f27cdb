from __future__ import annotations

from pathlib import Path

from PIL import Image

from duogen.agent.agent import Agent
from duogen.document import Picture
from duogen.evaluation.gallery import show_failures, show_families, strip
from duogen.evaluation.scores import Step
from duogen.evaluation.world import Answered, tasks_of
from duogen.training.world.render import render
from duogen.training.world.scene import Scene, Thing
from duogen.training.world.task import Task, Turn


def test_a_strip_holds_its_pictures_in_order() -> None:
    whole = strip([Image.new("RGB", (192, 192), "red"), Image.new("RGB", (96, 192), "blue")])
    assert whole.size == (128 + 8 + 64, 128)
    assert [whole.getpixel((x, 60)) for x in (5, 132, 140)] == [(255, 0, 0), (255, 255, 255), (0, 0, 255)]


def test_the_first_answer_of_a_family_is_shown_as_it_comes(default_agent: Agent, tmp_path: Path) -> None:
    said = show_families(default_agent, ["arrange", "beyond"], tmp_path, 0)
    (first,), (second,) = (tasks_of("held-out", [family], 1, 0) for family in ("arrange", "beyond"))
    assert f"> {first.turns[0].request}" in said and f"> {second.turns[0].request}" in said
    assert said.index("**arrange**") < said.index("arrange.png") < said.index("**beyond**")
    assert Image.open(tmp_path / "arrange.png").height == 128


def test_the_first_failure_of_a_family_stands_beside_the_truth(tmp_path: Path) -> None:
    start = Scene("shelf", {(0, 0): Thing("ball", "red")})
    goal = start.put((2, 2), Thing("star", "green"))
    turn = Turn("do it", ["Put a green star in the bottom right."], [goal], goal.__eq__)
    task = Task("arrange", "edit", start, (start,), [turn])
    answers = [
        Answered(task, [[Step(turn.segments[0], True, shown, Picture.from_image(render(shown)))]])
        for shown in (goal, start, start)
    ]
    assert show_failures(answers[:1], tmp_path) == "" and not list(tmp_path.iterdir())
    said = show_failures(answers, tmp_path)
    assert said.count("**arrange**: Put a green star") == 1
    assert Image.open(tmp_path / "arrange.png").size == (128 + 8 + 128, 128)
