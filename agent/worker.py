"""An agent for asyncio and for servers: one thread computes, jobs wait in line, in the order in which they came.

A model computes with all cores, so that two runs at once would take as long as one after the other, and twice the memory. Whoever
asks waits without blocking; a job that nobody waits for any more ends within one token or one denoising step.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from duogen.agent.agent import Agent
from duogen.agent.events import DenoisingStep, Event, OnEvent
from duogen.agent.plan import Plan
from duogen.errors import DuoGenError
from duogen.tools.image import Drawn

Result = TypeVar("Result")


class BusyError(DuoGenError):
    """Too many jobs are waiting already; come again later."""


class _Cancelled(BaseException):
    """Ends a job in the worker's thread. No part of the code that it passes through takes it for an error of its own."""


class Worker:
    """Runs jobs of an agent one after the other.

    Args:
        agent: the agent, or what makes it; a model is loaded by the thread that will use it.
        waiting: how many jobs may wait, with the one that is running.
    """

    def __init__(self, agent: Agent | Callable[[], Agent], waiting: int = 64) -> None:
        self._make = agent if callable(agent) else lambda: agent
        self._agent: Agent | None = None
        self.limit, self.jobs = waiting, 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "duogen")

    async def plan(self, request: str, *arguments: Any, on_event: OnEvent | None = None, **options: Any) -> Plan:
        """`Agent.plan`, awaited. Where the caller is cancelled, the run ends within one token or denoising step; kept in a folder,
        it can be resumed.

        Args:
            on_event: called in the event loop.

        Raises:
            BusyError: too many jobs are waiting. And what `Agent.plan` raises.
        """

        def job(agent: Agent, emit: OnEvent) -> Plan:
            return agent.plan(request, *arguments, on_event=emit, **options)

        return await self.run(job, on_event)

    async def resume(self, folder: Any, *arguments: Any, on_event: OnEvent | None = None, **options: Any) -> Plan:
        """`Agent.resume`, awaited; see `plan`."""

        def job(agent: Agent, emit: OnEvent) -> Plan:
            return agent.resume(folder, *arguments, on_event=emit, **options)

        return await self.run(job, on_event)

    async def draw(self, instruction: str, *arguments: Any, on_event: OnEvent | None = None, **options: Any) -> Drawn:
        """`Agent.draw`, awaited; see `plan`."""
        return await self.edit(instruction, [], *arguments, on_event=on_event, **options)

    async def edit(
        self, instruction: str, images: Any, *arguments: Any, on_event: OnEvent | None = None, **options: Any
    ) -> Drawn:
        """`Agent.edit`, awaited; see `plan`."""

        def job(agent: Agent, emit: OnEvent) -> Drawn:
            def on_step(step: int, steps: int) -> None:
                emit(DenoisingStep(1, step, steps))

            return agent.edit(instruction, images, *arguments, on_step=on_step, **options)

        return await self.run(job, on_event)

    async def look(self, question: str, images: Any, *, on_event: OnEvent | None = None, **options: Any) -> str:
        """`Agent.look`, awaited; see `plan`."""

        def job(agent: Agent, emit: OnEvent) -> str:
            return agent.look(question, images, on_event=emit, **options)

        return await self.run(job, on_event)

    async def stream(self, request: str, *arguments: Any, **options: Any) -> AsyncGenerator[Event | Plan]:
        """The events of `plan` as they happen and, last, the plan. Left early, the run ends as when it is cancelled."""

        def job(agent: Agent, emit: OnEvent) -> Plan:
            return agent.plan(request, *arguments, on_event=emit, **options)

        async for item in self.follow(job):
            yield item

    async def follow(self, job: Callable[[Agent, OnEvent], Plan]) -> AsyncGenerator[Event | Plan]:
        """`stream`, of anything that makes a plan; see `run`."""
        told: asyncio.Queue[Event | None] = asyncio.Queue()
        task = asyncio.ensure_future(self.run(job, told.put_nowait))
        task.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while (event := await told.get()) is not None:
                yield event
            yield await task
        finally:
            task.cancel()

    async def run(self, job: Callable[[Agent, OnEvent], Result], on_event: OnEvent | None = None) -> Result:
        """Anything that an agent can do, in its thread and in its turn.

        Args:
            job: is given the agent, and what to tell events to.
        """
        loop, stop = asyncio.get_running_loop(), threading.Event()

        def emit(event: Event) -> None:
            if stop.is_set():
                raise _Cancelled
            if on_event is not None:
                loop.call_soon_threadsafe(on_event, event)

        future = self._submit(lambda: job(self.agent(), emit))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            stop.set()
            raise

    def call(self, job: Callable[[Agent, OnEvent], Result]) -> Result:
        """`run` for who isn't in an event loop: waits for its turn, and for the result."""
        return self._submit(lambda: job(self.agent(), lambda _: None)).result()

    def _submit(self, work: Callable[[], Result]) -> Future[Result]:
        with self._lock:
            if self.jobs >= self.limit:
                raise BusyError(f"{self.jobs} requests are waiting already; try again later")
            self.jobs += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[Any]) -> None:
        with self._lock:
            self.jobs -= 1

    def agent(self) -> Agent:
        """The agent itself, loaded when it is first needed; what computes with it belongs into a job."""
        if self._agent is None:
            self._agent = self._make()
        return self._agent

    def close(self) -> None:
        """Ends the thread, after the job that is running; those that wait are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
