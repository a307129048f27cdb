"""A chat model on loopback that a function answers for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from loopback import Answer, completion


def chat(reply: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Callable[[str, bytes], Answer]:
    """`reply` gets the schema that is asked for and the data, and gives what is said, or a status."""

    def answer(path: str, body: bytes) -> Answer:
        asked = json.loads(body)
        schema = asked["response_format"]["json_schema"]
        said = reply(schema, json.loads(asked["messages"][1]["content"][0]["text"]))
        return completion(said if isinstance(said, str | int) else json.dumps(said))

    return answer
