"""Which documents go together: packs that are nearly full, in an order that a seed alone decides.

The stream of documents has no end: all of them in random order, then again in another. It is cut into windows, whose documents fill packs
up to one or more budgets (best fit, the largest first); what is left half empty at a window's end waits for the next. Pack number n is
thus the same for every number of processes, and after every interruption.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

FULL = 0.97
"""Packs filled less than this, at the end of a window, wait for more."""
WAIT = 4
"""Windows for which they do, at most."""


@dataclass(frozen=True)
class Sample:
    """A document's turn in the stream: `turn` tells this time from other times, `number` which document it is."""

    turn: int
    number: int


@dataclass
class _Open:
    samples: list[Sample] = field(default_factory=list)
    filled: list[int] = field(default_factory=list)
    waited: int = 0

    def share(self, budgets: tuple[int, ...]) -> float:
        return max(have / most for have, most in zip(self.filled, budgets, strict=True))


class Packer:
    """The packs of some documents.

    Args:
        count: of documents.
        costs: of a sample, in the units of `budgets`; None leaves it out.
        budgets: what a pack may hold.
        window: documents that are packed together.
    """

    def __init__(
        self,
        count: int,
        costs: Callable[[Sample], tuple[int, ...] | None],
        budgets: tuple[int, ...],
        seed: int,
        window: int = 512,
    ) -> None:
        self.count, self.costs, self.budgets, self.seed, self.window = count, costs, budgets, seed, window
        self._packs: list[list[Sample]] = []
        self._waiting: list[_Open] = []
        self._next_window = 0
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def pack(self, number: int) -> list[Sample]:
        """Pack number `number`, from 0."""
        if not self._packs and not any(map(self.fits, range(self.count))):
            raise ValueError("no document fits into a pack")
        while len(self._packs) <= number:
            self._fill()
        return self._packs[number]

    def every(self) -> list[list[Sample]]:
        """Packs that hold every document once, in order; those that are too large are left out."""
        fitting = [sample for sample in map(self.sample, range(self.count)) if self._cost(sample) is not None]
        return [pack.samples for pack in self._best_fit(fitting, [])]

    def fits(self, number: int) -> bool:
        """Whether a document goes into a pack at all."""
        return self._cost(Sample(number, number)) is not None

    def sample(self, turn: int) -> Sample:
        """The document whose turn it is."""
        epoch, place = divmod(turn, self.count)
        return Sample(turn, self._order(epoch)[place])

    def _shuffled(self, epoch: int) -> list[int]:
        numbers = list(range(self.count))
        random.Random(f"order/{self.seed}/{epoch}").shuffle(numbers)
        return numbers

    def _cost(self, sample: Sample) -> tuple[int, ...] | None:
        costs = self.costs(sample)
        if costs is None or any(cost > most for cost, most in zip(costs, self.budgets, strict=True)):
            return None
        return costs

    def _fill(self) -> None:
        begin = self._next_window * self.window
        self._next_window += 1
        samples = [self.sample(turn) for turn in range(begin, begin + self.window)]
        fitting = [sample for sample in samples if self._cost(sample) is not None]
        done: list[_Open] = []
        waiting: list[_Open] = []
        for pack in self._best_fit(fitting, self._waiting):
            pack.waited += 1
            (done if pack.share(self.budgets) >= FULL or pack.waited > WAIT else waiting).append(pack)
        self._waiting = waiting
        random.Random(f"packs/{self.seed}/{begin}").shuffle(done)
        self._packs += [pack.samples for pack in done]

    def _best_fit(self, samples: list[Sample], packs: list[_Open]) -> list[_Open]:
        """Puts each sample, the largest first, into the pack in which the least room is left then."""
        packs = list(packs)
        sized = [(sample, self._cost(sample)) for sample in samples]
        sized.sort(key=lambda each: -max(cost / most for cost, most in zip(each[1] or (), self.budgets, strict=True)))
        for sample, costs in sized:
            assert costs is not None
            best, best_left = None, 2.0
            for pack in packs:
                after = [have + cost for have, cost in zip(pack.filled, costs, strict=True)]
                left = 1 - max(have / most for have, most in zip(after, self.budgets, strict=True))
                if 0 <= left < best_left:
                    best, best_left = pack, left
            if best is None:
                best = _Open([], [0] * len(self.budgets))
                packs.append(best)
            best.samples.append(sample)
            best.filled = [have + cost for have, cost in zip(best.filled, costs, strict=True)]
        return packs
