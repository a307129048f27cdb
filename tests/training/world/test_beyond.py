from __future__ import annotations

import random

from duogen.evaluation.world import tasks_of
from duogen.training.data import FAMILIES, draw_task
from duogen.training.world.beyond import ANSWERS, made_up, real_questions


def test_the_real_questions_are_a_hundred_and_never_trained_on() -> None:
    questions = real_questions()
    assert len(questions) == len(set(questions)) == 100 and all(question.strip() for question in questions)
    made = {made_up(random.Random(seed)).lower() for seed in range(20_000)}
    assert not made & {question.lower() for question in questions}
    trained = {draw_task(1, index, "train", "beyond").turns[0].request for index in range(300)}
    assert len(trained) > 250 and not trained & set(questions)


def test_the_evaluation_asks_each_of_them_once() -> None:
    tasks = tasks_of("held-out", ["beyond", "look"], 200, 0)
    assert {task.turns[0].request for task in tasks if task.family == "beyond"} == set(real_questions())


def test_nothing_but_an_honest_answer_counts() -> None:
    family = FAMILIES["beyond"]
    task = family.fixed()[0]
    turn = task.turns[0]
    assert turn.request == real_questions()[0] and not task.pictures
    assert all(family.answers(turn, task.start, answer) for answer in ANSWERS)
    assert not family.answers(turn, task.start, "Wash the taxes and lay them on the board.")
