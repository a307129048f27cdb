"""A scripted judge: on loopback, or in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from loopback import Answer, completion

from duogen.evaluation.public.judge import Ask, Call

Reply = Callable[[dict[str, Any], str], Any]
"""Gets the schema that is asked for and all text of the request; gives the fields, a raw text, a status, or None."""


def judge(reply: Reply) -> Callable[[str, bytes], Answer]:
    def answer(path: str, body: bytes) -> Answer:
        asked = json.loads(body)
        schema = asked["response_format"]["json_schema"]["schema"]
        text = "\n".join(part["text"] for part in asked["messages"][1]["content"] if part["type"] == "text")
        said = reply(schema, text)
        return completion(said if said is None or isinstance(said, str | int) else json.dumps(said))

    return answer


def fair(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """An answer to any schema, the same for the same request: a number in its range, by how long the text is."""
    made: dict[str, Any] = {"reasons": "so it is"}
    for name, field in schema["properties"].items():
        if field.get("type") == "number":
            low, high = int(field["minimum"]), int(field["maximum"])
            made[name] = low + (len(text) + len(name)) % (high - low + 1)
        elif name == "criteria_met":
            made[name] = len(text) % 2 == 0
        elif name == "pictures":
            made[name] = ["a thing"] * field.get("maxItems", 12)
        elif name == "prompt":
            made[name] = "a detailed photo"
    return made


def says(*answers: dict[str, Any]) -> Ask:
    """A judge in place that gives these answers, one a call; `asked` has the calls."""
    left = list(answers)

    def ask(call: Call) -> Any:
        ask.asked.append(call)  # type: ignore[attr-defined]
        return call.schema.model_validate({"reasons": ""} | left.pop(0))

    ask.asked = []  # type: ignore[attr-defined]
    return ask
