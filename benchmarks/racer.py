"""A rival in a process of its own, which is told when to run.

In one process rivals disturb one another: threads that one has brought up wait for work and take the cores from the next, and
memory that one has had counts for all after it. Here each has a process, idle while it isn't its turn.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection

from PIL import Image

from duogen.benchmarks.rivals import RIVALS
from duogen.benchmarks.turns import Outcome, measured
from duogen.benchmarks.work import WORKS
from duogen.errors import DuoGenError
from duogen.loading import load
from duogen.models.sampler import PaintSettings

Painted = Outcome[list[Image.Image]]
"""A run of a rival, with its pictures."""


class Racer:
    """A rival that waits in a process for its turn."""

    def __init__(self, rival: str, model: str | None, device: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, rival, model, device), daemon=True)
        self._process.start()
        end.close()
        self._answer()  # it stands ready

    def run(self, work: str, settings: PaintSettings, flops: bool = False) -> Painted:
        """Does some work of `WORKS`; counting operations, with `flops`, which takes time.

        Raises:
            DuoGenError: the rival failed, or its process died.
        """
        self._line.send((work, settings, flops))
        done = self._answer()
        assert isinstance(done, Outcome)
        return done

    def close(self) -> None:
        self._line.close()  # the process reads the end of the line, and ends
        self._process.join()

    def _answer(self) -> object:
        try:
            answer = self._line.recv()
        except EOFError as error:
            raise DuoGenError("a rival's process has died") from error
        if isinstance(answer, Exception):
            raise DuoGenError(f"a rival failed: {answer}") from answer
        return answer


@contextmanager
def racers(rivals: Sequence[str], model: str | None, device: str | None) -> Iterator[dict[str, Racer]]:
    """Rivals by name, each in its process."""
    with ExitStack() as stack:
        ready = {}
        for rival in rivals:
            ready[rival] = Racer(rival, model, device)
            stack.callback(ready[rival].close)
        yield ready


def _serve(line: Connection, name: str, model: str | None, device: str | None) -> None:
    """What a rival's process does."""
    try:
        rival = RIVALS[name]
        agent = load(model, device, rival.backend, memory=rival.memory)
        line.send(None)
        while True:
            work, settings, flops = line.recv()
            run = partial(rival.run, agent, WORKS[work](), rival.settings(settings))
            line.send(measured(agent.pipeline, run, flops))
    except EOFError:
        return
    except Exception as error:  # told where it is waited for
        line.send(DuoGenError(f"{name}: {error}"))
