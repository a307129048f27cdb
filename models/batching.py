"""Calls of many dialogues at once: where they wait for the same kind of work, it is done for all of them together.

A dialogue is a plain loop (write, paint, look) and stays one: it runs in a thread of its own and hands all that is heavy to
`Batcher.run`. The thread that drives them all, in `Batcher.each`, waits until each of them waits, and does the largest group
of calls of one kind as one. So a single thread computes, with all the cores it likes. What is worth a larger group comes when
nothing else is left: pictures are painted together, though the texts before them end at different times.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 0.05
"""Seconds after which calls that wait are no longer held back by a dialogue that is busy with something else."""

_member: ContextVar[bool] = ContextVar("member", default=False)


class Abandoned(BaseException):
    """Ends a dialogue's thread whose results nobody waits for any more."""


class _Call:
    """A piece of work that a dialogue waits for; see `Batcher.run`."""

    def __init__(self, work: Callable[[Sequence[Any]], Sequence[Any]], item: Any, late: bool) -> None:
        self.work, self.item, self.late = work, item, late
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        self.result, self.error = result, error
        self.done.set()


class Batcher:
    """Groups the calls of dialogues that run at the same time; of one that runs alone, it does each at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: dict[Hashable, list[_Call]] = {}
        self._members = 0
        self._over = False

    def run(
        self, key: Hashable, work: Callable[[Sequence[Item]], Sequence[Result]], item: Item, late: bool = False
    ) -> Result:
        """What `work` makes of `item`, alone or together with the items of other dialogues' calls of the same key.

        Args:
            work: of items in a row it returns the results in the same order; the same for all calls of a key.
            late: put off until no other calls wait, so that more of them come together; the same for all calls of a key.
        """
        if not _member.get():
            return work([item])[0]
        call = _Call(work, item, late)
        with self._changed:
            if self._over:
                raise Abandoned
            self._calls.setdefault(key, []).append(call)
            self._changed.notify()
        call.done.wait()
        if call.error is not None:
            raise call.error
        return call.result

    def each(
        self, jobs: Sequence[Callable[[], Result]], at_once: int
    ) -> Iterator[tuple[int, Result | None, Exception | None]]:
        """Runs jobs in threads, `at_once` of them at a time, and their grouped calls in this one.

        Yields:
            A job's index, and its result or the error that ended it, as they end. Where work on a group fails, all of the
            group's jobs get the error.
        """
        if self._members:
            raise RuntimeError("this pipeline is running jobs already")
        todo, ended = iter(enumerate(jobs)), list[tuple[int, Any, Exception | None]]()

        def member() -> None:
            _member.set(True)
            torch.set_num_threads(1)  # the little that isn't handed over brings up no threads of its own
            try:
                while True:
                    with self._changed:
                        index, job = next(todo, (-1, None))
                        if job is None or self._over:
                            return
                    outcome: tuple[int, Any, Exception | None]
                    try:
                        outcome = (index, job(), None)
                    except Exception as error:
                        outcome = (index, None, error)
                    with self._changed:
                        ended.append(outcome)
                        self._changed.notify()
            except Abandoned:
                pass
            finally:
                with self._changed:
                    self._members -= 1
                    self._changed.notify()

        self._over, self._members = False, min(at_once, len(jobs))
        cores = torch.get_num_threads()
        threads = [threading.Thread(target=member, daemon=True) for _ in range(self._members)]
        for thread in threads:
            thread.start()
        try:
            while self._members or ended:
                with self._changed:
                    self._changed.wait_for(lambda: ended or self._waiting() >= self._members, PATIENCE)
                    finished, ended[:] = list(ended), []
                    group = [] if finished else self._largest()
                yield from finished
                _work_on(group)
        finally:
            with self._changed:
                self._over = True
                for call in (call for calls in self._calls.values() for call in calls):
                    call.end(error=Abandoned())
                self._calls.clear()
            for thread in threads:
                thread.join()
            torch.set_num_threads(cores)

    def _waiting(self) -> int:
        return sum(map(len, self._calls.values()))

    def _largest(self) -> list[_Call]:
        """The calls of the key that most wait for; of equals, for the longest time. Late ones come last."""
        if not self._calls:
            return []
        return self._calls.pop(max(self._calls, key=lambda key: (not self._calls[key][0].late, len(self._calls[key]))))


def _work_on(group: Sequence[_Call]) -> None:
    if not group:
        return
    try:
        results = group[0].work([call.item for call in group])
    except Exception as error:
        for call in group:
            call.end(error=error)
    except BaseException:
        for call in group:
            call.end(error=Abandoned())
        raise
    else:
        for call, result in zip(group, results, strict=True):
            call.end(result)
