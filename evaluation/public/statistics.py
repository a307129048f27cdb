"""Means as benchmarks define them, with 95 % intervals; whether two models differ; whether judges agree.

All resampling is of questions, never of single answers or votes, and within the groups that a mean is taken over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Scored:
    """The scores of one answer: `values` by criterion, the mean of the `votes` that came about; `faults`: why others didn't."""

    id: str
    sample: int
    group: str
    values: dict[str, float]
    subsets: tuple[str, ...] = ()
    votes: tuple[dict[str, float], ...] = ()
    faults: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True)
class Metric:
    """A figure of a benchmark: the mean over `keys` of each criterion's mean; `by_group`: its unweighted mean over groups."""

    name: str
    keys: tuple[str, ...]
    by_group: bool = False
    subset: str = ""
    most: float = 1.0
    """The best value there is."""
    within: str = ""
    """One group alone."""

    def over(self, scored: Iterable[Scored]) -> list[Scored]:
        """Those it is a mean of."""
        return [each for each in scored if self.subset in ("", *each.subsets) and self.within in ("", each.group)]


def estimate(scored: Iterable[Scored], metric: Metric, digits: int | None = None) -> float | None:
    """The figure; None where nothing has been scored.

    Args:
        digits: round every mean on the way, as some authors' scorers do.
    """
    shorten = (lambda value: value) if digits is None else (lambda value: round(value, digits))
    means = []
    for key in metric.keys:
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for each in metric.over(scored := list(scored)):
            if key in each.values:
                groups[each.group if metric.by_group else ""].append(each.values[key])
        if groups:
            inner = [shorten(sum(values) / len(values)) for values in groups.values()]
            means.append(shorten(sum(inner) / len(inner)))
    return shorten(sum(means) / len(means)) if means else None


def interval(scored: Iterable[Scored], metric: Metric, seed: int = 0) -> tuple[float, float] | None:
    """A 95 % interval by bootstrap over questions, within groups where the figure is a mean over groups.

    Where few questions are drawn from, their means vary too little, by sqrt((n - 1) / n); that is made up for.

    Returns:
        None where a group has a single question: what others would have given can't be known from it.
    """
    scored = metric.over(scored)
    rng = np.random.default_rng(seed)
    order = {name: place for place, name in enumerate(sorted({each.id for each in scored}))}
    strata: defaultdict[str, set[int]] = defaultdict(set)
    for each in scored:
        strata[each.group if metric.by_group else ""].add(order[each.id])
    weights = np.zeros((DRAWS, len(order)))
    for _, members in sorted(strata.items()):
        weights[:, sorted(members)] = _drawn(rng, len(members))
    means = []
    for key in metric.keys:
        groups: defaultdict[str, list[Scored]] = defaultdict(list)
        for each in scored:
            if key in each.values:
                groups[each.group if metric.by_group else ""].append(each)
        inner = []
        for _, own in sorted(groups.items()):
            questions = len({each.id for each in own})
            if questions < 2:
                return None
            values = np.array([each.values[key] for each in own])
            drawn = weights[:, [order[each.id] for each in own]]
            total = drawn.sum(1)
            mean = np.divide(drawn @ values, total, out=np.full(DRAWS, values.mean()), where=total > 0)
            inner.append(_widened(mean, values.mean(), questions))
        if inner:
            means.append(np.mean(inner, 0))
    if not means:
        return None
    low, high = np.quantile(np.mean(means, 0), (0.025, 0.975))
    return float(low), float(high)


def _drawn(rng: np.random.Generator, count: int) -> Any:
    """How often each of so many questions is drawn, [DRAWS, count]."""
    return rng.multinomial(count, [1 / count] * count, DRAWS)


def _widened(drawn: Any, mean: float, count: int) -> Any:
    """Drawn means, as far from the mean as those of so many questions would be."""
    return mean + (drawn - mean) * sqrt(count / (count - 1))


class Difference(NamedTuple):
    """How far B is above A on the questions that both have, with the means of both there; the chance of as much between two models that
    are alike. `low` and `high` are None where a group has a single question."""

    one: float
    two: float
    difference: float
    low: float | None
    high: float | None
    p: float
    questions: int


def compare(one: Sequence[Scored], two: Sequence[Scored], metric: Metric, seed: int = 0) -> Difference | None:
    """Tells whether B differs from A: paired by question, bootstrap for the interval, random exchange of A and B for p.

    Returns:
        None where they have no question in common.
    """
    first, second = (_by_question(metric.over(scored)) for scored in (one, two))
    shares: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
    group_of: dict[str, str] = {}
    keys = [key for key in metric.keys if any(key in first[q][1] and key in second[q][1] for q in first if q in second)]
    for key in keys:
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for q in first:
            if q in second and key in first[q][1] and key in second[q][1]:
                groups[first[q][0] if metric.by_group else ""].append(q)
        for group, members in groups.items():
            share = 1 / (len(keys) * len(groups) * len(members))
            for q in members:
                group_of[q] = group
                shares[q].append((share, first[q][1][key], second[q][1][key]))
    if not shares:
        return None
    terms = {q: sum(share * (b - a) for share, a, b in shares[q]) for q in sorted(shares)}
    mean_one = float(sum(share * a for of in shares.values() for share, a, _ in of))
    mean_two = float(sum(share * b for of in shares.values() for share, _, b in of))
    rng = np.random.default_rng(seed)
    drawn, known = np.zeros(DRAWS), True
    for group in sorted(set(group_of.values())):
        own = np.array([terms[q] for q in terms if group_of[q] == group])
        known = known and len(own) > 1
        if known:
            drawn += _widened(_drawn(rng, len(own)) @ own, own.sum(), len(own))
    values = np.array(list(terms.values()))
    total = float(values.sum())
    swapped = rng.choice([-1.0, 1.0], (5 * DRAWS, len(values))) @ values
    as_far = int((np.abs(swapped) >= abs(total) - 1e-12).sum())
    low, high = (float(each) for each in np.quantile(drawn, (0.025, 0.975))) if known else (None, None)
    return Difference(mean_one, mean_two, total, low, high, (1 + as_far) / (1 + len(swapped)), len(terms))


def _by_question(scored: Iterable[Scored]) -> dict[str, tuple[str, dict[str, float]]]:
    """Group and mean values of each question."""
    found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    groups: dict[str, str] = {}
    for each in scored:
        groups[each.id] = each.group
        for key, value in each.values.items():
            found[each.id][key].append(value)
    return {
        q: (groups[q], {key: sum(values) / len(values) for key, values in found[q].items()}) for q in sorted(groups)
    }


@dataclass
class Agreement:
    """How alike two or more ratings of the same thing are, on `items` things."""

    items: int
    exact: float
    within_one: float
    mean_difference: float
    alpha: float | None
    """Krippendorff's, for intervals: 1 is agreement, 0 is chance."""


def agreement(ratings: Iterable[Sequence[float]]) -> Agreement | None:
    """Of several ratings of each of many things; None where nothing has two."""
    units = [list(map(float, each)) for each in ratings if len(each) >= 2]
    if not units:
        return None
    gaps = np.array([abs(a - b) for unit in units for a, b in combinations(unit, 2)])
    return Agreement(
        len(units), float((gaps < 1e-9).mean()), float((gaps <= 1).mean()), float(gaps.mean()), krippendorff(units)
    )


def krippendorff(units: Sequence[Sequence[float]]) -> float | None:
    """Krippendorff's alpha for interval data (2011, "Computing Krippendorff's alpha-reliability"); None where all values are one."""
    middle = float(np.mean([value for unit in units for value in unit]))
    units = [[value - middle for value in unit] for unit in units]
    values = np.array([value for unit in units for value in unit])
    count = len(values)
    observed = sum(2 * _squares(unit) / (len(unit) - 1) for unit in units) / count
    expected = 2 * _squares(values) / (count * (count - 1))
    return None if expected < 1e-12 else float(1 - observed / expected)


def _squares(values: Sequence[float] | Any) -> float:
    """Sum of squared differences over all pairs."""
    array = np.asarray(values, dtype=float)
    return float(len(array) * np.square(array).sum() - array.sum() ** 2)


@dataclass
class Against:
    """A judge beside people, on `items` answers that both rated."""

    items: int
    pearson: float | None
    spearman: float | None
    mean_difference: float
    within_one: float


def against(pairs: Sequence[tuple[float, float]]) -> Against | None:
    """A judge's scores, each with people's."""
    if not pairs:
        return None
    ours, theirs = np.array(pairs, dtype=float).T
    gaps = np.abs(ours - theirs)
    return Against(
        len(pairs), _correlation(ours, theirs), _correlation(_ranks(ours), _ranks(theirs)), float(gaps.mean()),
        float((gaps <= 1).mean()),
    )  # fmt: skip


def _correlation(one: Any, two: Any) -> float | None:
    if len(one) < 2 or one.std() == 0 or two.std() == 0:
        return None
    return float(np.corrcoef(one, two)[0, 1])


def _ranks(values: Any) -> Any:
    """Ranks, those of equal values averaged."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
