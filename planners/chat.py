"""The chat planner: any OpenAI-compatible chat model with tool calling writes, and calls the image tool by name.

It sees the dialogue as a conversation in which every picture has a number, and calls ``draw`` or ``edit`` with an instruction and
the numbers of the pictures to start from. What it says in between is the text of the document.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duogen.document import Document, ImagePart, Message, Picture, TextPart
from duogen.endpoints import connect, explained
from duogen.errors import DuoGenError, first_fault
from duogen.planners.base import Draft
from duogen.tools.image import MAX_REQUEST, ImageCall

PROMPT = """You answer with text and pictures that alternate: illustrated instructions, explanations, stories.
Write the text of one step, then call a tool for the picture of that step, and go on when you are told that it is there.
`draw` makes a new picture, `edit` changes earlier ones; every picture has a number, by which you refer to it.
The painter sees nothing but your instruction and the pictures that you refer to: say in full what the picture is to show.
Where a step changes what the picture before shows, edit that one, so that everything else stays as it is.
Only call for pictures that the request asks for or that help. When all has been said and shown, answer without a call."""


class Draw(BaseModel):
    """Draw a new picture from words alone."""

    model_config = ConfigDict(extra="forbid")
    instruction: str = Field(min_length=1, max_length=MAX_REQUEST, description="what the picture shows, in full")
    references: list[int] = Field([], max_length=0, exclude=True)


class Edit(BaseModel):
    """Change an earlier picture, or combine some."""

    model_config = ConfigDict(extra="forbid")
    instruction: str = Field(min_length=1, max_length=MAX_REQUEST, description="what is to be different")
    references: Annotated[
        list[int], Field(min_length=1, max_length=8, description="numbers of the pictures to start from")
    ]


TOOLS: dict[str, type[Draw | Edit]] = {"draw": Draw, "edit": Edit}


class ChatPlanner:
    """A `Planner` on a chat model.

    Args:
        model: its name to the server.
        base_url, api_key, timeout, retries: of the server, as in `duogen.endpoints.connect`.
        show: whether the model sees the pictures, or only reads that they are there.
        tries: how often the model may call again when its calls can't be used.
        options: further arguments of ``chat.completions.create``, such as ``temperature``.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        show: bool = True,
        timeout: float = 120.0,
        retries: int = 4,
        tries: int = 3,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.client = connect(base_url, api_key, timeout, retries)
        self.model, self.show, self.tries, self.options = model, show, tries, options or {}
        self.server = f"{model} at {self.client.base_url}"
        self._asked: dict[tuple[str, str], tuple[int, ...]] = {}

    def draft(
        self, run: str, document: Document, on_text: Callable[[str], None], max_tokens: int | None = None
    ) -> Draft:
        """The next piece of text, with the pictures that the model calls for; see `Planner`.

        Raises:
            DuoGenError: the server can't be reached, refuses, or breaks off; or the model's calls can't be used.
        """
        messages, numbers = self._messages(run, document), [part.sha256 for part in document.images]
        said: list[str] = []
        tokens, wrong = 0, ""
        for _ in range(self.tries):
            turn = self._turn(messages, said, on_text, None if max_tokens is None else max_tokens - tokens)
            tokens += turn.tokens
            if turn.reason == "length" or not turn.calls:
                return Draft("".join(said), "length" if turn.reason == "length" else "end", tokens)
            answers = [_checked(call, len(numbers)) for call in turn.calls]
            calls = [answer for answer in answers if not isinstance(answer, str)]
            if len(calls) == len(answers):
                for call in calls:
                    self._asked[run, call.instruction] = tuple(call.references)
                asked = [ImageCall(each.instruction, tuple(numbers[n - 1] for n in each.references)) for each in calls]
                return Draft("".join(said), "picture", tokens, tuple(asked))
            # None is carried out: the model says again, in one go, what it wants.
            wrong = next(answer for answer in answers if isinstance(answer, str))
            messages = [*messages, turn.message(), *_refused(turn.calls, answers)]
            if max_tokens is not None and tokens >= max_tokens:
                return Draft("".join(said), "length", tokens)
        raise DuoGenError(f"{self.model} called the image tool {self.tries} times in a way that can't be used: {wrong}")

    def _turn(
        self, messages: list[Any], said: list[str], on_text: Callable[[str], None], max_tokens: int | None
    ) -> _Turn:
        tools = [
            {"type": "function", "function": {"name": name, "description": tool.__doc__, "parameters": _schema(tool)}}
            for name, tool in TOOLS.items()
        ]
        request: dict[str, Any] = {"model": self.model, "messages": messages, "tools": tools, **self.options}
        if max_tokens is not None:
            request["max_tokens"] = max_tokens
        turn = _Turn()
        with explained(self.server, "; the run can be continued"):
            stream = self.client.chat.completions.create(stream=True, **request)
            try:
                for chunk in stream:
                    for choice in chunk.choices:
                        text = turn.take(choice)
                        if text:
                            said.append(text)
                            on_text(text)
            finally:
                stream.close()
        if not turn.reason:
            raise DuoGenError(f"{self.server} broke off in the middle of its answer; the run can be continued")
        return turn

    def _messages(self, run: str, document: Document) -> list[dict[str, Any]]:
        """The dialogue as a conversation with tool calls."""
        own = [message.text for message in document.messages if message.role == "system"]
        messages: list[dict[str, Any]] = [{"role": "system", "content": "\n\n".join([PROMPT, *own])}]
        number = 0
        for message in document.messages:
            if message.role == "user":
                parts, number = self._given(document, message, number)
                messages.append({"role": "user", "content": parts})
            elif message.role == "assistant":
                text: str | None = None
                for part in message.content:
                    if isinstance(part, TextPart):
                        text = (text or "") + part.text
                        continue
                    number += 1
                    messages += self._painted(run, document, part, number, text)
                    text = None
                if text is not None:
                    messages.append({"role": "assistant", "content": text})
        return messages

    def _given(self, document: Document, message: Message, number: int) -> tuple[list[dict[str, Any]], int]:
        parts: list[dict[str, Any]] = []
        for part in message.content:
            if isinstance(part, TextPart):
                parts.append({"type": "text", "text": part.text})
            else:
                number += 1
                parts.append({"type": "text", "text": f"[picture {number}]"})
                parts += [_shown(document.picture(part))] if self.show else []
        return parts, number

    def _painted(
        self, run: str, document: Document, part: ImagePart, number: int, text: str | None
    ) -> list[dict[str, Any]]:
        """A picture of the answer as the call that it was."""
        references = list(self._asked.get((run, part.alt), ()))
        arguments: dict[str, Any] = {"instruction": part.alt or "a picture"}
        if references:
            arguments["references"] = references
        function = {"name": "edit" if references else "draw", "arguments": json.dumps(arguments, ensure_ascii=False)}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        told = f"This is picture {number}, {part.width} x {part.height} pixels."
        messages: list[dict[str, Any]] = [
            {"role": "assistant", "content": text, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": told},
        ]
        if self.show:
            seen = [{"type": "text", "text": f"[picture {number}]"}, _shown(document.picture(part))]
            messages.append({"role": "user", "content": seen})
        return messages


class _Turn:
    """What a model says and calls in one go, put together from a stream."""

    def __init__(self) -> None:
        self.text, self.tokens, self.reason = "", 0, ""
        self.calls: list[dict[str, str]] = []

    def take(self, choice: Any) -> str:
        """Adds a piece; returns the text in it."""
        delta = choice.delta
        text = (getattr(delta, "content", None) or "") + (getattr(delta, "refusal", None) or "")
        self.text += text
        self.tokens += bool(text or delta.tool_calls)  # servers send one token a piece
        for piece in delta.tool_calls or []:
            while len(self.calls) <= min(piece.index, 63):
                self.calls.append({"id": "", "name": "", "arguments": ""})
            call, function = self.calls[min(piece.index, 63)], piece.function
            call["id"] = piece.id or call["id"] or f"call_{piece.index}"
            if function is not None:
                call["name"] += function.name or ""
                call["arguments"] += function.arguments or ""
        self.reason = choice.finish_reason or self.reason
        return text

    def message(self) -> dict[str, Any]:
        """The turn as part of the conversation."""
        calls = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in self.calls
        ]
        return {"role": "assistant", "content": self.text or None, "tool_calls": calls}


def _checked(call: dict[str, str], pictures: int) -> Draw | Edit | str:
    """What a call asks for, or why it can't be used."""
    tool = TOOLS.get(call["name"])
    if tool is None:
        return f"there is no tool {call['name'][:40]!r}; there are {' and '.join(TOOLS)}"
    try:
        made = tool.model_validate_json(call["arguments"] or "{}")
    except ValidationError as error:
        return first_fault(error, "arguments")
    unknown = [number for number in made.references if not 1 <= number <= pictures]
    if unknown:
        return f"there is no picture {unknown[0]}; {f'the last one is {pictures}' if pictures else 'there is none yet'}"
    if not made.instruction.strip():
        return "instruction: it is empty"
    return made


def _refused(calls: list[dict[str, str]], answers: list[Draw | Edit | str]) -> list[dict[str, Any]]:
    told = [
        answer if isinstance(answer, str) else "not carried out, since another call was wrong" for answer in answers
    ]
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": f"error: {text}"}
        for call, text in zip(calls, told, strict=True)
    ]


def _schema(tool: type[Draw | Edit]) -> dict[str, Any]:
    schema = tool.model_json_schema()
    kept = {name: value for name, value in schema["properties"].items() if tool is Edit or name != "references"}
    return {"type": "object", "properties": kept, "required": list(kept), "additionalProperties": False}


def _shown(picture: Picture) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": picture.data_url}}
