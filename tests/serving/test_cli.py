from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import Client

from duogen.cli import run


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """A command that listens; gives the address that it tells."""
    process = subprocess.Popen(
        [sys.executable, "-m", "duogen.cli", *arguments, "--port", "0"], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        (address,) = re.findall(r"listening on (http://127\.0\.0\.1:\d+)", line)
        yield address
    finally:
        process.terminate()
        assert process.wait(20) in (0, -15, 143)
        assert "Traceback" not in process.stderr.read()


def status(url: str, token: str | None = None) -> int:
    request = urllib.request.Request(url, headers={} if token is None else {"authorization": f"Bearer {token}"})
    try:
        return int(urllib.request.urlopen(request, timeout=20).status)
    except urllib.error.HTTPError as error:
        return error.code


def test_serve_with_a_token() -> None:
    with started("serve", "--token", "secret") as address:
        assert [status(f"{address}/v1/models", token) for token in (None, "wrong", "secret")] == [401, 401, 200]
        assert status(f"{address}/healthz") == 200


def test_mcp_over_http_with_a_token(tmp_path: Path) -> None:
    async def host(address: str) -> None:
        async with Client(f"{address}/mcp") as client:
            drawn = await client.call_tool("draw", {"instruction": "a red ball"})
            assert not drawn.is_error

    with started("mcp", "--http", "--root", str(tmp_path / "new")) as address:
        asyncio.run(host(address))
        assert len(list((tmp_path / "new" / "pictures").glob("*.png"))) == 1
    with started("mcp", "--http", "--root", str(tmp_path / "new"), "--token", "secret") as address:
        assert status(f"{address}/mcp") == 401


def test_what_is_wrong_is_said_before_anything_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert run(["serve", "--port", str(taken.getsockname()[1])]) == 1
    assert "choose another with --port" in capsys.readouterr().err
    assert run(["serve", "--root", str(tmp_path / "none")]) == 2 and "no such folder" in capsys.readouterr().err
    for command in (["serve"], ["mcp", "--root", str(tmp_path)], ["ui"]):
        monkeypatch.chdir(tmp_path)
        assert run([*command, "-m", str(tmp_path / "none")]) != 0
        assert len(capsys.readouterr().err.strip().splitlines()) <= 2
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for command, extra in (("serve", "serve"), ("ui", "ui")):
        assert run([command]) == 1 and f'"duogen[{extra}]"' in capsys.readouterr().err
