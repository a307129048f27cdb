"""A server on loopback that a function answers for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from loopback import Quiet, served

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def serving(answer: Callable[[str, bytes], Answer]) -> Iterator[str]:
    """Gives the base address; `answer` gets path and body of each request."""

    class Handler(Quiet):
        def do_GET(self) -> None:  # noqa: N802
            body = self.body()
            status, headers, data = answer(self.path, body)
            self.send_response(status)
            for name, value in {"content-length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # who asked has had enough
                self.wfile.write(data)

        def do_POST(self) -> None:  # noqa: N802
            self.do_GET()

    with served(Handler) as url:
        yield url


def chat(reply: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Callable[[str, bytes], Answer]:
    """A chat model: `reply` gets the schema that is asked for and the data, and gives what is said, or a status."""

    def answer(path: str, body: bytes) -> Answer:
        asked = json.loads(body)
        schema = asked["response_format"]["json_schema"]
        said = reply(schema, json.loads(asked["messages"][1]["content"][0]["text"]))
        if isinstance(said, int):
            return (
                said,
                {"content-type": "application/json", "retry-after-ms": "5"},
                json.dumps({"error": {"message": f"no: {said}"}}).encode(),
            )
        text = said if isinstance(said, str) else json.dumps(said)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        made = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        return 200, {"content-type": "application/json"}, json.dumps(made).encode()

    return answer
