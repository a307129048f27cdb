from __future__ import annotations

import random

import pytest

from duogen.evaluation.public.statistics import (
    Metric,
    Scored,
    against,
    agreement,
    compare,
    estimate,
    interval,
    krippendorff,
)

MEAN, MACRO = Metric("mean", ("x",)), Metric("macro", ("x",), by_group=True)


def made(values: dict[str, list[float]], shift: float = 0.0) -> list[Scored]:
    return [
        Scored(f"{group}{place}", 0, group, {"x": value + shift})
        for group, all_of in values.items()
        for place, value in enumerate(all_of)
    ]


def test_means_by_hand() -> None:
    scored = made({"a": [1, 2, 3], "b": [10]})
    assert estimate(scored, MEAN) == pytest.approx(4, abs=1e-9) and estimate(scored, MACRO) == pytest.approx(
        6, abs=1e-9
    )
    two = [Scored("a", 0, "", {"x": 1 / 3, "y": 1.0}), Scored("b", 0, "", {"x": 0.0})]
    both = Metric("both", ("x", "y"))
    assert estimate(two, both) == pytest.approx((1 / 6 + 1) / 2, abs=1e-9)
    assert estimate(two, both, digits=2) == pytest.approx(0.58, abs=1e-9), "0.17 and 1: 0.585, to two digits"
    assert estimate([], MEAN) is None and interval([], MEAN) is None


@pytest.mark.parametrize(("groups", "each"), [(1, 60), (6, 3), (6, 10)])
def test_an_interval_holds_the_truth_about_as_often_as_it_says(groups: int, each: int) -> None:
    draw, hits = random.Random(0), 0
    for trial in range(200):
        values = {str(group): [draw.gauss(group, 2) for _ in range(each)] for group in range(groups)}
        found = interval(made(values), MACRO, seed=trial)
        assert found is not None
        hits += found[0] <= (groups - 1) / 2 <= found[1]
    assert 0.88 <= hits / 200 <= 0.99


def test_a_group_of_one_question_has_no_interval() -> None:
    assert interval(made({"a": [1, 2, 3], "b": [10]}), MACRO) is None and interval(made({"a": [1]}), MEAN) is None
    found = compare(made({"a": [1, 2], "b": [3]}), made({"a": [2, 3], "b": [5]}), MACRO)
    assert found is not None and found.low is None and found.difference == pytest.approx(1.5, abs=1e-9)


def test_answers_without_a_criterion_are_in_no_mean_of_it() -> None:
    scored = [
        Scored("a", 0, "", {"x": 1.0}),
        Scored("b", 0, "", {"x": 3.0, "y": 8.0}),
        Scored("c", 0, "", {"y": 4.0}),
        Scored("d", 0, "", {}),
    ]
    both = Metric("both", ("x", "y"))
    assert estimate(scored, both) == pytest.approx((2 + 6) / 2, abs=1e-9)
    found = interval(scored, both)
    assert found is not None and found[0] < 4 < found[1]


def test_questions_are_resampled_not_their_samples() -> None:
    """Four pictures of a prompt that are all right or all wrong say no more than one."""
    one = [Scored(str(q), 0, "", {"x": float(q % 2)}) for q in range(20)]
    four = [Scored(str(q), s, "", {"x": float(q % 2)}) for q in range(20) for s in range(4)]
    assert interval(one, MEAN) == pytest.approx(interval(four, MEAN))


def test_a_difference_is_told_from_chance() -> None:
    draw = random.Random(1)
    values = {group: [draw.gauss(5, 2) for _ in range(30)] for group in ("a", "b", "c")}
    noise = {group: [value + draw.gauss(0, 0.5) for value in all_of] for group, all_of in values.items()}
    same, better = compare(made(values), made(noise), MACRO), compare(made(values), made(noise, 0.5), MACRO)
    assert same is not None and better is not None
    assert same.p > 0.05 and same.low < 0 < same.high
    assert better.p < 0.001 and 0.3 < better.low < better.difference < better.high < 0.7 and better.questions == 90
    assert compare(made({"a": [1]}), made({"b": [1]}), MEAN) is None
    some = compare(made({"a": [1, 2, 9]}), made({"a": [2, 4]}), MEAN)
    assert some is not None and (some.one, some.two, some.questions) == pytest.approx((1.5, 3, 2)), (
        "on common questions"
    )
    exact = compare(made({"a": [1, 2]}), made({"a": [2, 4]}), MEAN)
    assert exact is not None and exact.difference == pytest.approx(1.5, abs=1e-9) and exact.p > 0.3


def test_the_chance_of_a_false_alarm_is_as_said() -> None:
    draw, alarms = random.Random(2), 0
    for trial in range(100):
        one, two = ([draw.gauss(0, 1) for _ in range(15)] for _ in range(2))
        found = compare(made({"": one}), made({"": two}), MEAN, seed=trial)
        alarms += found is not None and found.p < 0.05
    assert 1 <= alarms <= 12


def test_agreement_by_hand() -> None:
    found = agreement([[1, 1], [1, 2], [4, 1], [3]])
    assert found is not None and found.items == 3
    assert (found.exact, found.within_one, found.mean_difference) == pytest.approx((1 / 3, 2 / 3, 4 / 3), abs=1e-9)
    # Krippendorff: values 1 1 1 2 4 1. Observed (0 + 2 + 18) / 6 = 10/3. All pairs: 6 x 24 - 100 = 44; expected 88 / 30.
    assert found.alpha == pytest.approx(1 - (10 / 3) / (88 / 30), abs=1e-9)
    assert krippendorff([[2, 2], [5, 5]]) == pytest.approx(1) and krippendorff([[2, 2], [2, 2]]) is None
    assert krippendorff([[7 / 3] * 3] * 11) is None and krippendorff([[13 / 3] * 2] * 3) is None
    assert agreement([[1], []]) is None


def test_against_people_by_hand() -> None:
    found = against([(1, 2), (2, 4), (4, 3)])
    assert found is not None and found.items == 3
    # Deviations -4/3 -1/3 5/3 and -1 1 0: 1 / sqrt(14/3 x 2); ranks 1 2 3 and 1 3 2: 0.5.
    assert found.pearson == pytest.approx(1 / (14 / 3 * 2) ** 0.5, abs=1e-9) and found.spearman == pytest.approx(
        0.5, abs=1e-9
    )
    assert found.mean_difference == pytest.approx(4 / 3, abs=1e-9) and found.within_one == pytest.approx(2 / 3)
    assert against([]) is None
