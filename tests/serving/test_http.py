"""The official client against the service."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from duogen.agent.agent import Agent
from duogen.agent.runs import RunFolder
from duogen.agent.worker import Worker
from duogen.document import Document, Picture
from duogen.models.sampler import PaintSettings
from duogen.serving.desk import from_data_url
from duogen.serving.guard import Rules
from duogen.serving.http import make_app

REQUEST = "How do I build a small house with a red roof?"


@pytest.fixture
def address(worker: Worker, listen: Callable[[Any], Any]) -> Iterator[str]:
    with listen(make_app(worker)) as address:
        yield address


@pytest.fixture
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)


def said(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text}


def pictures(parts: list[dict[str, Any]]) -> list[Picture]:
    return [from_data_url(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]


def test_a_plan_and_a_follow_up(client: openai.OpenAI, default_agent: Agent) -> None:
    messages: list[Any] = [said(REQUEST)]
    answer = client.chat.completions.create(model="duogen", messages=messages)
    message: Any = answer.choices[0].message
    expected = default_agent.plan(REQUEST)
    assert message.content == expected.text and answer.choices[0].finish_reason == "stop"
    assert pictures(message.parts) == expected.pictures and len(expected.pictures) >= 3
    assert answer.usage is not None and answer.usage.completion_tokens == expected.tokens
    assert answer.usage.total_tokens == default_agent.count_tokens(expected.document)

    messages += [{"role": "assistant", "content": message.parts}, said("Now make the roof blue.")]
    more: Any = client.chat.completions.create(model="duogen", messages=messages).choices[0].message
    assert len(pictures(more.parts)) == 1 and "blue" in more.content
    last = io.BytesIO(pictures(more.parts)[0].data)
    edited = client.images.edit(image=last, prompt="paint the roof green", model="duogen")
    assert Picture(base64.b64decode(edited.data[0].b64_json or "")).width == 192  # type: ignore[index]


def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI, default_agent: Agent) -> None:
    expected = default_agent.plan(REQUEST)
    stream = client.chat.completions.create(
        model="duogen",
        messages=[said(REQUEST)],
        stream=True,
        stream_options={"include_usage": True},  # type: ignore[list-item]
    )
    text, parts, kinds, reason, usage = "", [], "", None, None
    for chunk in stream:
        for choice in chunk.choices:
            new = (choice.delta.model_extra or {}).get("parts", [])
            text += choice.delta.content or ""
            parts += new
            kinds += "p" if new else "t" if choice.delta.content else ""
            reason = choice.finish_reason or reason
        usage = chunk.usage or usage
    written = "".join(part.text for part in expected.document.messages[-1].content if part.type == "text")
    assert (text, reason) == (written, "stop")
    assert pictures(parts) == expected.pictures and kinds.count("p") == len(expected.pictures)
    assert kinds[0] == "t" and "ptt" in kinds, "text and pictures alternate"
    assert usage is not None and usage.completion_tokens == expected.tokens


def test_pictures_come_with_a_request(client: openai.OpenAI, default_agent: Agent) -> None:
    shelf = default_agent.draw("a red ball in the centre").picture
    content = [
        {"type": "image_url", "image_url": {"url": shelf.data_url}},
        {"type": "text", "text": "What is on my shelf?"},
    ]
    answer = client.chat.completions.create(model="duogen", messages=[{"role": "user", "content": content}])  # type: ignore[misc,list-item]
    assert "red ball" in (answer.choices[0].message.content or "")


def test_images(client: openai.OpenAI, default_agent: Agent) -> None:
    made = (
        client.images.generate(prompt="a red ball in the centre", n=2, size="auto", extra_body={"seed": 4}).data or []
    )
    drawn = [Picture(base64.b64decode(each.b64_json or "")) for each in made]
    assert drawn == [
        default_agent.draw("a red ball in the centre", PaintSettings(seed=seed)).picture for seed in (4, 5)
    ]
    files = [("one.png", drawn[0].data), ("two.png", drawn[1].data)]
    edited = client.images.edit(image=files, prompt="paint the ball blue", size="auto").data or []
    expected = default_agent.edit("paint the ball blue", drawn).picture
    assert Picture(base64.b64decode(edited[0].b64_json or "")) == expected
    small: Any = client.images.generate(prompt="a red ball", size="96x64", extra_body={"steps": 1}).data  # type: ignore[call-overload]
    assert Picture(base64.b64decode(small[0].b64_json)).image().size == (96, 64)


def test_limits_end_an_answer(client: openai.OpenAI) -> None:
    short = client.chat.completions.create(model="duogen", messages=[said(REQUEST)], max_tokens=5)  # type: ignore[list-item]
    assert short.choices[0].finish_reason == "length" and short.usage is not None and short.usage.completion_tokens == 5
    one: Any = client.chat.completions.create(
        model="duogen",
        messages=[said(REQUEST)],
        extra_body={"max_pictures": 1},  # type: ignore[list-item]
    )
    assert len(pictures(one.choices[0].message.parts)) == 1 and one.choices[0].finish_reason == "length"


def test_what_is_wrong_is_said(client: openai.OpenAI, picture: Picture, bomb: bytes) -> None:
    def image(url: str) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}

    chat: list[tuple[dict[str, Any], str]] = [
        ({"messages": []}, "at least 1 item"),
        ({"messages": [said("  ")]}, "the request is empty"),
        ({"messages": [said("x" * 20_001)]}, "at most 20000"),
        ({"messages": [said("x", "assistant")]}, "must be the user's"),
        ({"messages": [said("x", "robot")]}, "role"),
        ({"messages": [image("http://127.0.0.1:1/a.png")]}, "must be of the form data:"),
        ({"messages": [image("file:///etc/passwd")]}, "must be of the form data:"),
        ({"messages": [image("data:image/png;base64,AAAA")]}, "not a readable"),
        ({"messages": [image("data:image/png;base64," + base64.b64encode(bomb).decode())]}, "pixels allowed"),
        ({"messages": [said("x")], "n": 2}, "n: "),
        ({"messages": [said("x")], "tools": [{"type": "function"}]}, "tools: "),
        ({"messages": [said("x")], "extra_body": {"size": "100x100"}}, "multiples of 32"),
        ({"messages": [said("x")], "extra_body": {"size": "99999x99999"}}, "size must be"),
    ]
    for arguments, message in chat:
        with pytest.raises(openai.BadRequestError, match=message):
            client.chat.completions.create(model="duogen", **arguments)
    with pytest.raises(openai.BadRequestError, match="b64_json"):
        client.images.generate(prompt="a cup", response_format="url")
    with pytest.raises(openai.BadRequestError, match="masks"):
        client.images.edit(image=("a.png", picture.data), mask=("b.png", picture.data), prompt="x")
    with pytest.raises(openai.BadRequestError, match="not a readable"):
        client.images.edit(image=("a.png", b"no picture"), prompt="x")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="duogen", input="x")
    assert client.models.list().data[0].id == "duogen"


def test_sixteen_clients_at_once_are_served_in_order(worker: Worker, address: str) -> None:
    def get(path: str) -> tuple[float, str]:
        began = time.monotonic()
        with urllib.request.urlopen(address + path, timeout=30) as answer:
            return time.monotonic() - began, answer.read().decode()

    async def host() -> tuple[list[int], list[float]]:
        client = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
        finished: list[int] = []

        async def one(number: int) -> None:
            await asyncio.sleep(0.03 * number)  # so that there is an order
            answer = await client.chat.completions.create(model="duogen", messages=[said(REQUEST)])  # type: ignore[list-item]
            assert len(pictures(answer.choices[0].message.parts)) >= 3  # type: ignore[attr-defined]
            finished.append(number)

        all_of_them = asyncio.gather(*(one(number) for number in range(16)))
        waits = []
        while not all_of_them.done():
            waits.append((await asyncio.to_thread(get, "/healthz"))[0])
            await asyncio.sleep(0.1)
        await all_of_them
        return finished, waits

    before = _resident()
    finished, waits = asyncio.run(host())
    assert finished == list(range(16)) and _resident() - before < 200, "memory is bounded"
    assert len(waits) > 10 and max(waits) < 5
    counted = get("/metrics")[1]
    assert 'duogen_requests_total{path="/v1/chat/completions",status="200"} 16.0' in counted


def _resident() -> float:
    """This process's memory in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def test_more_than_may_wait_are_told_to_come_later(default_agent: Agent, listen: Callable[[Any], Any]) -> None:
    worker, gate = Worker(default_agent, waiting=1), threading.Event()
    thread = threading.Thread(target=lambda: worker.call(lambda agent, emit: gate.wait()))
    thread.start()
    with listen(make_app(worker)) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
        while not worker.jobs:
            time.sleep(0.01)
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as refused:
                client.chat.completions.create(model="duogen", messages=[said(REQUEST)], stream=stream)  # type: ignore[call-overload]
            assert refused.value.response.headers["retry-after"] == "1"
        gate.set()
        thread.join()
        assert client.images.generate(prompt="a cup").data
    worker.close()


@pytest.mark.parametrize("stream", [True, False])
def test_who_goes_away_stops_the_work_and_the_document_so_far_is_kept(
    worker: Worker, listen: Callable[[Any], Any], tmp_path: Path, default_agent: Agent, stream: bool
) -> None:
    with listen(make_app(worker, root=tmp_path)) as address:
        body = {"messages": [said("Teach me to draw a cat.")], "stream": stream, "steps": 40}
        request = urllib.request.Request(
            f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2 if not stream else 30) as answer:
                while b"picture 2, step" not in answer.readline():
                    pass
        except TimeoutError:
            assert not stream
        began = time.monotonic()
        while worker.jobs:
            assert time.monotonic() - began < 5, "it goes on"
            time.sleep(0.01)
    (folder,) = tmp_path.glob("plans/*")
    assert RunFolder(folder).unfinished is not None
    kept = len(list((folder / "pictures").glob("*.png")))
    assert kept < 6
    assert default_agent.resume(folder, stopping=lambda: True).reason == "stopped"
    assert len(Document.load(folder).images) == kept


def test_a_token_is_asked_for(worker: Worker, listen: Callable[[Any], Any]) -> None:
    with listen(make_app(worker, Rules(token="secret"))) as address:
        for key in ("wrong", "secre", "secret2"):
            with pytest.raises(openai.AuthenticationError):
                openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0).models.list()
        assert openai.OpenAI(base_url=f"{address}/v1", api_key="secret").models.list().data
        assert urllib.request.urlopen(f"{address}/healthz").status == 200
