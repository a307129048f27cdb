"""The official client against the server: in process, over stdio, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters

from duogen.agent.worker import Worker
from duogen.document import Picture
from duogen.serving.mcp import mcp_server

REQUEST = "How do I build a small house with a red roof?"


async def plan_and_edit(client: Client, root: Path) -> None:
    """A plan of at least three pictures, a follow-up and an edit."""
    told: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, message))

    made = await client.call_tool("plan", {"request": REQUEST}, progress_callback=progress)
    answer: Any = made.structured_content
    assert not made.is_error and len(answer["pictures"]) >= 3
    kinds = [block.type for block in made.content]
    assert kinds.count("image") == len(answer["pictures"]) and kinds[0] == "text"
    assert [done for done, _ in told] == sorted({done for done, _ in told}) and len(told) > 3
    assert any("roof" in (message or "") for _, message in told)
    for note in answer["pictures"]:
        assert Picture.from_file(root / note["path"]).sha256.startswith(note["id"])

    more = await client.call_tool("plan", {"request": "Now make the roof blue.", "plan": answer["plan"]})
    assert more.structured_content["plan"] == answer["plan"]  # type: ignore[index]
    last = more.structured_content["pictures"][-1]["id"]  # type: ignore[index]
    edited = await client.call_tool("edit", {"instruction": "paint the roof green", "pictures": [last]})
    picture = Picture(base64.b64decode(edited.content[-1].data))  # type: ignore[union-attr]
    assert picture.sha256.startswith(edited.structured_content["pictures"][0]["id"])  # type: ignore[index]
    resource = await client.read_resource(f"duogen://pictures/{last}")
    assert Picture(base64.b64decode(resource.contents[0].blob)).sha256.startswith(last)  # type: ignore[union-attr]


def test_in_process(worker: Worker, tmp_path: Path) -> None:
    async def host() -> None:
        async with Client(mcp_server(worker, tmp_path)) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"plan", "draw", "edit", "look"}
            assert tools["plan"].input_schema["properties"]["max_pictures"]["maximum"] == 64
            assert tools["plan"].output_schema is not None and tools["look"].annotations.read_only_hint  # type: ignore[union-attr]
            await plan_and_edit(client, tmp_path)
            drawn = await client.call_tool("draw", {"instruction": "a red ball in the centre", "seed": 3})
            seen = await client.call_tool(
                "look",
                {"question": "What is on my shelf?", "pictures": [drawn.structured_content["pictures"][0]["id"]]},  # type: ignore[index]
            )
            assert "red ball" in seen.structured_content["text"]  # type: ignore[index]

    asyncio.run(host())


def test_over_http(worker: Worker, tmp_path: Path, listen: Callable[[Any], Any]) -> None:
    async def host(address: str) -> None:
        async with Client(f"{address}/mcp") as client:
            await plan_and_edit(client, tmp_path)

    with listen(mcp_server(worker, tmp_path).streamable_http_app(host="127.0.0.1")) as address:
        asyncio.run(host(address))


def test_over_stdio_as_a_host_starts_it(tmp_path: Path) -> None:
    async def host() -> None:
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "duogen.cli", "mcp", "--root", str(tmp_path)], env=dict(os.environ)
        )
        async with Client(server) as client:
            await plan_and_edit(client, tmp_path)

    asyncio.run(host())


def test_what_cannot_be_done(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")

    async def host() -> None:
        async with Client(mcp_server(worker, tmp_path / "root")) as client:
            for name, arguments, message in [
                ("edit", {"instruction": "green", "pictures": ["../secret.png"]}, "no path inside the root folder"),
                ("edit", {"instruction": "green", "pictures": []}, "at least 1 item"),
                ("plan", {"request": "x", "max_pictures": 1000}, "less than or equal to 64"),
                ("plan", {"request": "More.", "plan": "../.."}, "no plan's id"),
                ("draw", {"instruction": "   "}, "is empty"),
                ("draw", {}, "Field required"),
                ("fly", {}, "Unknown tool"),
            ]:
                answer = await client.call_tool(name, arguments)
                assert answer.is_error and message in answer.content[0].text, answer  # type: ignore[union-attr]
            for id_ in ("0123456789abcdef", "..%2Fsecret.png"):
                with pytest.raises(MCPError):
                    await client.read_resource(f"duogen://pictures/{id_}")

    asyncio.run(host())


def test_a_call_that_is_given_up_stops_the_work(worker: Worker, tmp_path: Path) -> None:
    async def host() -> None:
        async with Client(mcp_server(worker, tmp_path)) as client:
            with anyio.move_on_after(0.3):
                await client.call_tool("plan", {"request": "Teach me to draw a cat.", "seed": 1})
            with anyio.fail_after(5):
                while worker.jobs:
                    await anyio.sleep(0.01)
            assert len(list(tmp_path.glob("plans/*/pictures/*.png"))) < 6, "a cat has six"

    asyncio.run(host())
