from __future__ import annotations

import random
from collections import Counter

import pytest

from duogen.training.tuning.packing import Packer, Sample


def lengths(count: int, seed: int = 0) -> list[int]:
    """Documents as they come: questions of a hundred tokens, recipes of some thousands, a few tutorials of ten thousand."""
    rng = random.Random(seed)
    return [min(12_000, max(60, int(rng.lognormvariate(7.2, 0.9)))) for _ in range(count)]


def packer(sizes: list[int], budget: int, seed: int = 0, window: int = 512) -> Packer:
    return Packer(len(sizes), lambda sample: (sizes[sample.number],), (budget,), seed, window)


def wasted(packer: Packer, packs: int) -> float:
    """The share of the first budget that stays empty in the first so many packs."""
    filled = sum((packer.costs(sample) or (0,))[0] for number in range(packs) for sample in packer.pack(number))
    return 1 - filled / (packs * packer.budgets[0])


@pytest.mark.parametrize("budget", [16_384, 32_768])
def test_little_is_wasted_on_a_realistic_mix(budget: int) -> None:
    assert wasted(packer(lengths(3000), budget), 150) < 0.05


def test_two_budgets_at_once() -> None:
    rng = random.Random(1)
    sizes = [(length, rng.randint(1, 6) * 256) for length in lengths(2000, 1)]
    made = Packer(len(sizes), lambda sample: sizes[sample.number], (16_384, 8_192), 0)
    for number in range(50):
        pack = made.pack(number)
        words, frames = (sum(sizes[sample.number][part] for sample in pack) for part in (0, 1))
        assert words <= 16_384 and frames <= 8_192 and max(words / 16_384, frames / 8_192) > 0.9


def test_every_turn_comes_once_and_every_epoch_in_another_order() -> None:
    sizes = lengths(100, 2)
    made = packer(sizes, 14_000, window=50)
    turns = Counter(sample.turn for number in range(60) for sample in made.pack(number))
    assert set(turns.values()) == {1}
    whole = [turn for turn in range(100) if turn in turns]
    assert len(whole) == 100, "the first epoch is complete"
    assert {made.sample(turn).number for turn in range(100)} == set(range(100))
    assert [made.sample(turn).number for turn in range(100)] != [made.sample(turn).number for turn in range(100, 200)]


def test_a_pack_depends_on_seed_and_number_alone() -> None:
    sizes = lengths(300, 3)
    one, other = packer(sizes, 14_000), packer(sizes, 14_000)
    later = other.pack(40)
    assert [one.pack(number) for number in range(41)] == [other.pack(number) for number in range(41)]
    assert later == one.pack(40)
    assert packer(sizes, 14_000, seed=1).pack(0) != one.pack(0)


def test_what_is_too_large_or_has_nothing_to_learn_is_left_out() -> None:
    sizes = [10, 200, 20, 30]
    made = Packer(4, lambda sample: None if sample.number == 2 else (sizes[sample.number],), (100,), 0, window=4)
    assert {sample.number for number in range(5) for sample in made.pack(number)} == {0, 3}
    assert [made.fits(number) for number in range(4)] == [True, False, False, True]
    assert sorted(sample.number for pack in made.every() for sample in pack) == [0, 3]
    with pytest.raises(ValueError, match="no document fits"):
        packer([500], 100).pack(0)
    assert Sample(3, 1) != Sample(4, 1)
