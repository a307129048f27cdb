from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch

from duogen.models import batching
from duogen.models.batching import Batcher


class Halls:
    """Work that remembers which thread did it, and how many at once."""

    def __init__(self) -> None:
        self.groups: list[tuple[str, int]] = []
        self.threads: set[int] = set()

    def work(self, name: str, fails: int = -1):  # type: ignore[no-untyped-def]
        def done(items: Sequence[int]) -> list[int]:
            self.groups.append((name, len(items)))
            self.threads.add(threading.get_ident())
            if fails in items:
                raise ValueError("unlucky")
            return [item * 10 for item in items]

        return done


def test_a_call_outside_a_group_is_done_at_once() -> None:
    halls = Halls()
    assert Batcher().run("a", halls.work("a"), 7) == 70
    assert halls.groups == [("a", 1)] and halls.threads == {threading.get_ident()}


def test_calls_of_one_kind_are_done_together_and_in_this_thread() -> None:
    batcher, halls = Batcher(), Halls()
    write, paint = halls.work("write"), halls.work("paint")

    def job(number: int) -> list[int]:
        written = [batcher.run("write", write, number + count) for count in range(3)]
        return [*written, batcher.run("paint", paint, number)]

    ended = {
        index: result
        for index, result, error in batcher.each([lambda n=n: job(n) for n in range(8)], at_once=8)  # type: ignore[misc]
        if error is None
    }
    assert ended == {n: [10 * n, 10 * n + 10, 10 * n + 20, 10 * n] for n in range(8)}
    assert halls.threads == {threading.get_ident()}
    assert sum(count for _, count in halls.groups) == 32 and len(halls.groups) < 16, halls.groups


def test_late_calls_wait_until_all_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PATIENCE", 10)
    batcher, halls = Batcher(), Halls()
    write, paint = halls.work("write"), halls.work("paint")

    def job(number: int) -> int:
        for _ in range(2):
            for word in range(number + 1):
                batcher.run("write", write, word)
            painted = batcher.run("paint", paint, number, late=True)
        return painted

    jobs = [lambda n=n: job(n) for n in range(4)]  # type: ignore[misc]
    assert {index: result for index, result, _ in batcher.each(jobs, at_once=4)} == {n: 10 * n for n in range(4)}
    assert [count for name, count in halls.groups if name == "paint"] == [4, 4], halls.groups


def test_no_more_than_so_many_run_at_once() -> None:
    batcher, halls = Batcher(), Halls()
    work = halls.work("a")
    jobs = [lambda n=n: batcher.run("a", work, n) for n in range(10)]  # type: ignore[misc]
    assert sorted(index for index, _, _ in batcher.each(jobs, at_once=3)) == list(range(10))
    assert max(count for _, count in halls.groups) <= 3


def test_a_job_that_is_busy_elsewhere_holds_nobody_back_for_long() -> None:
    batcher, halls, other = Batcher(), Halls(), threading.Event()
    work = halls.work("a")

    def waits_for_the_other() -> int:
        assert other.wait(20)
        return batcher.run("a", work, 1)

    def is_waited_for() -> int:
        result = batcher.run("a", work, 2)
        other.set()
        return result

    ended = {index: result for index, result, _ in batcher.each([waits_for_the_other, is_waited_for], at_once=2)}
    assert ended == {0: 10, 1: 20}


def test_an_error_ends_its_own_job_and_a_failing_group_all_of_its() -> None:
    batcher, halls = Batcher(), Halls()
    work, bad = halls.work("a"), halls.work("b", fails=3)

    def broken() -> int:
        raise KeyError("mine")

    jobs = [broken, lambda: batcher.run("a", work, 1), lambda: batcher.run("b", bad, 3)]
    outcomes = {index: (result, error) for index, result, error in batcher.each(jobs, at_once=3)}
    assert isinstance(outcomes[0][1], KeyError) and outcomes[1] == (10, None)
    assert isinstance(outcomes[2][1], ValueError)


def test_who_stops_listening_stops_the_jobs() -> None:
    batcher, halls, before = Batcher(), Halls(), threading.active_count()
    work = halls.work("a")

    def endless() -> int:
        while True:
            batcher.run("a", work, 1)

    ended = batcher.each([lambda: 5, endless, endless], at_once=3)
    assert next(ended)[1] == 5
    ended.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert batcher.run("a", work, 2) == 20, "and it can be used again"
    assert [result for _, result, _ in batcher.each([lambda: 6], at_once=1)] == [6]


def test_an_interruption_while_computing_ends_all_jobs() -> None:
    batcher, before = Batcher(), threading.active_count()

    def interrupted(items: Sequence[int]) -> list[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(batcher.each([lambda: batcher.run("a", interrupted, 1)] * 3, at_once=3))
    assert threading.active_count() == before


def test_the_number_of_threads_for_arithmetic_stays_as_it_was() -> None:
    cores = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        list(Batcher().each([lambda: None], at_once=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(cores)
