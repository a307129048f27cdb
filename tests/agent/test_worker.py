from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from duogen.agent.agent import Agent
from duogen.agent.events import DenoisingStep, Event, PictureStarted, TextDelta
from duogen.agent.plan import Plan
from duogen.agent.runs import RunFolder
from duogen.agent.worker import BusyError, Worker
from duogen.errors import InputError
from duogen.models.sampler import PaintSettings

QUICK = PaintSettings(steps=2)


def test_plans_are_awaited_and_streamed(default_agent: Agent) -> None:
    async def host() -> tuple[Plan, list[Event | Plan]]:
        worker = Worker(default_agent)
        streamed = [item async for item in worker.stream("Draw a red ball.", settings=QUICK)]
        plan = await worker.plan("Draw a red ball.", settings=QUICK)
        drawn = await worker.draw("a red ball", QUICK)
        assert drawn.picture.data == default_agent.draw("a red ball", QUICK).picture.data
        assert "ball" in await worker.look("What is on my shelf?", [plan.pictures[0]])
        worker.close()
        return plan, streamed

    plan, streamed = asyncio.run(host())
    assert isinstance(streamed[-1], Plan) and streamed[-1].document == plan.document
    assert {TextDelta, PictureStarted, DenoisingStep} <= {type(item) for item in streamed}


def test_jobs_are_done_in_the_order_in_which_they_came(default_agent: Agent) -> None:
    async def host() -> list[int]:
        worker, order = Worker(lambda: default_agent), []

        async def one(number: int) -> None:
            await worker.plan("Draw a red ball.", settings=QUICK)
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(6)))
        worker.close()
        return order

    assert asyncio.run(host()) == list(range(6))


def test_too_many_are_turned_away(default_agent: Agent) -> None:
    async def host() -> None:
        worker, gate = Worker(default_agent, waiting=2), threading.Event()
        first = asyncio.ensure_future(worker.run(lambda agent, emit: gate.wait()))
        second = asyncio.ensure_future(worker.plan("Draw a red ball.", settings=QUICK))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="2 requests are waiting"):
            await worker.draw("a red ball", QUICK)
        gate.set()
        assert await first and (await second).reason == "end"
        assert worker.jobs == 0
        worker.close()

    asyncio.run(host())


def test_cancelled_it_stops_within_a_step_and_can_be_resumed(default_agent: Agent, tmp_path: Path) -> None:
    events: list[Event] = []

    async def host() -> None:
        worker, painting = Worker(default_agent), asyncio.Event()

        def watch(event: Event) -> None:
            events.append(event)
            if isinstance(event, DenoisingStep) and event.index == 2:
                painting.set()

        settings = PaintSettings(steps=60)
        task = asyncio.ensure_future(
            worker.plan("Teach me to draw a cat.", settings=settings, folder=tmp_path / "cat", on_event=watch)
        )
        await asyncio.wait_for(painting.wait(), 60)
        seen = len(events)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await worker.run(lambda agent, emit: None)  # the thread is free again
        assert len(events) - seen <= 3, "one step, and what was on its way"
        worker.close()

    asyncio.run(host())
    assert RunFolder(tmp_path / "cat").unfinished is not None
    pictures = list((tmp_path / "cat" / "pictures").glob("*.png"))
    assert len(pictures) == 1
    assert default_agent.resume(tmp_path / "cat", stopping=lambda: True).reason == "stopped"


def test_a_stream_that_is_left_ends_its_run(default_agent: Agent) -> None:
    async def host() -> None:
        worker = Worker(default_agent)
        stream = worker.stream("Teach me to draw a cat.", settings=PaintSettings(steps=100))
        async for event in stream:
            if isinstance(event, PictureStarted):
                break
        await stream.aclose()
        done = asyncio.ensure_future(worker.run(lambda agent, emit: True))
        assert await asyncio.wait_for(done, 5)
        worker.close()

    asyncio.run(host())


def test_errors_come_back(default_agent: Agent) -> None:
    async def host() -> None:
        worker = Worker(default_agent)
        with pytest.raises(InputError, match="empty"):
            await worker.plan("  ")
        with pytest.raises(InputError, match="empty"):
            async for _ in worker.stream(" "):
                pass
        assert worker.jobs == 0
        worker.close()

    asyncio.run(host())
