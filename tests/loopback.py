"""Servers on loopback, for as long as a test takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Quiet(BaseHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, *_: Any) -> None:
        pass

    def body(self) -> bytes:
        """What was sent with the request."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serves on a free port; gives the base address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def serving(answer: Callable[[str, bytes], Answer]) -> Iterator[str]:
    """Serves what a function answers to path and body of each request; gives the base address."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            status, headers, data = answer(self.path, self.body())
            with suppress(OSError):  # who asked has had enough
                self.send_response(status)
                for name, value in {"content-length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

    with served(Handler) as url:
        yield url


def completion(said: str | int | None) -> Answer:
    """What a chat model's server sends: a text, none, or a status that refuses."""
    if isinstance(said, int):
        headers = {"content-type": "application/json", "retry-after-ms": "5"}
        return said, headers, json.dumps({"error": {"message": f"no: {said}"}}).encode()
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
    made = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return 200, {"content-type": "application/json"}, json.dumps(made).encode()
