from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from duogen.agent.worker import Worker
from duogen.serving.guard import Rules
from duogen.serving.http import make_app


def ask(
    address: str, path: str = "/healthz", headers: dict[str, str] | None = None, body: Any = None, method: str = "GET"
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, json.loads(data) if answer.headers.get_content_type() == "application/json" else data.decode()


def test_pages_of_other_hosts_cannot_use_a_server_on_loopback(worker: Worker, listen: Callable[[Any], Any]) -> None:
    with listen(make_app(worker)) as address:
        assert ask(address)[0] == ask(address, headers={"Origin": "http://localhost:3000"})[0] == 200
        for headers in (
            {"Host": "evil.example"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Host": "[::1"},
        ):
            status, answer = ask(address, headers=headers)
            assert status == 403 and "isn't served here" in answer["error"]["message"]
    with listen(make_app(worker, Rules(hosts=None))) as address:
        assert ask(address, headers={"Host": "drawings.example"})[0] == 200


def slowly(pieces: list[bytes]) -> Iterator[bytes]:
    """Pieces that arrive by themselves."""
    for piece in pieces:
        time.sleep(0.02)
        yield piece


@pytest.mark.parametrize("told", [True, False])
def test_large_bodies_are_cut_off(worker: Worker, listen: Callable[[Any], Any], told: bool) -> None:
    with listen(make_app(worker, Rules(max_body=1000))) as address:
        for path in ("/v1/chat/completions", "/v1/images/edits"):
            kind = "application/json" if "chat" in path else "multipart/form-data; boundary=x"
            # A form's head first: what comes in pieces may be read, and refused for another reason, before it is too large.
            head = b"" if "chat" in path else b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
            chunks = head + b"x" * 5000 if told else slowly([head + b"x" * 500, *[b"x" * 500] * 9])
            status, answer = ask(address, path, {"content-type": kind}, chunks, "POST")
            assert status == 413 and "larger than 1,000 bytes" in answer["error"]["message"]
        assert ask(address)[0] == 200


def test_strange_paths_are_counted_together(worker: Worker, listen: Callable[[Any], Any]) -> None:
    with listen(make_app(worker)) as address:
        for number in range(20):
            status, answer = ask(address, f"/strange/{number}")
            assert status == 404 and answer["error"]["type"] == "invalid_request_error"
        _, counted = ask(address, "/metrics")
        assert 'duogen_requests_total{path="other",status="404"} 20.0' in counted and "strange" not in counted
        assert ask(address, "/v1/chat/completions")[0] == 405
