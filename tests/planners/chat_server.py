"""A chat server on loopback that says what a test tells it to, faults with it; and waiting for one that is real."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from loopback import Quiet, served


def call(name: str, arguments: Any, index: int = 0) -> dict[str, Any]:
    """A delta with a tool call."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": text}
    return {"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": function}]}


class Script:
    """Turns to answer with, one a request: a list of deltas, a status, ``cut`` (breaks off), or seconds to be silent.

    `asked` has the bodies of the requests.
    """

    def __init__(self, *turns: Any) -> None:
        self.turns, self.asked = list(turns), list[dict[str, Any]]()


@contextmanager
def chat_server(script: Script) -> Iterator[str]:
    """Serves a script; gives the base URL."""

    class Handler(Quiet):
        def do_POST(self) -> None:  # noqa: N802
            script.asked.append(json.loads(self.body()))
            turn = script.turns.pop(0)
            if isinstance(turn, float):
                time.sleep(turn)
                return
            if isinstance(turn, int):
                body = json.dumps(
                    {"error": {"message": f"no: {turn}", "type": "t", "param": None, "code": None}}
                ).encode()
                self.send_response(turn)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.send_header("retry-after-ms", "10")
                self.end_headers()
                self.wfile.write(body)
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            called = False
            for delta in turn:
                if delta == "cut":
                    self.wfile.flush()
                    self.connection.shutdown(2)
                    return
                reason = delta.pop("reason", None)
                called |= "tool_calls" in delta
                self._send({"index": 0, "delta": delta, "finish_reason": reason})
            if reason is None:
                self._send({"index": 0, "delta": {}, "finish_reason": "tool_calls" if called else "stop"})
            self.wfile.write(b"data: [DONE]\n\n")

        def _send(self, choice: dict[str, Any]) -> None:
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    with served(Handler) as url:
        yield f"{url}/v1"


def wait_until_up(process: subprocess.Popen[bytes], url: str, seconds: int = 240) -> None:
    """Returns when a server that has just been started answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the server has ended"
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server doesn't answer")
