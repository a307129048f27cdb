"""The wire format of OpenAI's chat and images endpoints, with pictures inside of answers.

An answer's ``content`` is its text, as every client expects. Its ``parts`` are text and pictures in reading order, in the shape that
requests have (``{"type": "image_url", "image_url": {"url": "data:..."}}``), and can be sent back as the ``content`` of an assistant's
turn. A stream's deltas have ``content`` for text and ``parts`` for a picture.
"""

from __future__ import annotations

import re
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from duogen.agent.plan import Plan
from duogen.document import Document, Picture, TextPart
from duogen.errors import InputError
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings
from duogen.serving.desk import from_data_url
from duogen.tools.image import MAX_REQUEST

MAX_SIDE = 1024
"""Largest side of a picture that a request may ask for, in pixels."""


class ImageUrl(BaseModel):
    url: str


class TextContent(BaseModel):
    type: Literal["text"]
    text: str = Field(max_length=MAX_REQUEST)


class ImageContent(BaseModel):
    type: Literal["image_url"]
    image_url: ImageUrl


class ChatMessage(BaseModel):
    """A turn: its content is a string, or texts and pictures in order."""

    role: Literal["system", "developer", "user", "assistant"]
    content: (
        Annotated[str, Field(max_length=MAX_REQUEST)]
        | Annotated[
            list[Annotated[TextContent | ImageContent, Field(discriminator="type")]],
            Field(min_length=1, max_length=100),
        ]
    )


class StreamOptions(BaseModel):
    include_usage: bool = False


class Painting(BaseModel):
    """What both kinds of request may say about pictures; ``size`` is of the form 192x192, or auto."""

    seed: int = Field(0, ge=0, le=2**53)
    size: str | None = None
    steps: int | None = Field(None, ge=1, le=1000)
    guidance: float | None = Field(None, ge=1, le=30, allow_inf_nan=False)

    @field_validator("seed", mode="before")
    @classmethod
    def _may_be_null(cls, seed: Any) -> Any:
        return 0 if seed is None else seed

    def settings(self, number: int = 0) -> PaintSettings:
        """The settings of picture `number` of the request.

        Raises:
            InputError: the size can't be read, or is too large.
        """
        width = height = None
        if self.size not in (None, "auto"):
            match = re.fullmatch(r"([0-9]{2,5})x([0-9]{2,5})", self.size or "")
            if match is None or not all(16 <= int(side) <= MAX_SIDE for side in match.groups()):
                raise InputError(f"size must be of the form 192x192, with sides of 16 to {MAX_SIDE} pixels, or auto")
            width, height = map(int, match.groups())
        return PaintSettings(
            seed=self.seed + number, width=width, height=height, steps=self.steps, guidance=self.guidance
        )


class ChatRequest(Painting):
    """``POST /v1/chat/completions``; fields of OpenAI's that change nothing here are ignored."""

    model_config = ConfigDict(extra="ignore")
    model: str | None = None
    messages: list[ChatMessage] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    temperature: float | None = Field(None, ge=0, le=5, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1, le=100_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=100_000)
    max_pictures: int = Field(16, ge=0, le=64)
    self_check: int = Field(0, ge=0, le=16)

    def asked(self) -> tuple[str, list[Picture], Document | None]:
        """The last turn's text and pictures, and what was said before.

        Raises:
            InputError: the last turn isn't the user's, or a picture can't be used.
        """
        *earlier, last = self.messages
        if last.role != "user":
            raise InputError("the last message must be the user's")
        before = Document() if earlier else None
        for message in earlier:
            assert before is not None
            before.add_message("system" if message.role == "developer" else message.role)
            for part in _parts(message):
                if isinstance(part, str):
                    before.add_text(part)
                else:
                    before.add_picture(part)
        parts = _parts(last)
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join(texts), [part for part in parts if isinstance(part, Picture)], before

    def options(self) -> dict[str, Any]:
        """Arguments of `Agent.plan`."""
        decode = DecodeSettings(
            temperature=0.0 if self.temperature is None else self.temperature, top_p=self.top_p or 1.0, seed=self.seed
        )
        limit = self.max_completion_tokens or self.max_tokens
        return {
            "settings": self.settings(), "decode": decode, "max_tokens": limit, "max_pictures": self.max_pictures,
            "self_check": self.self_check,
        }  # fmt: skip


class ImageGeneration(Painting):
    """``POST /v1/images/generations``, and the fields of ``/v1/images/edits`` that aren't pictures."""

    model_config = ConfigDict(extra="ignore")
    model: str | None = None
    prompt: str = Field(min_length=1, max_length=MAX_REQUEST)
    n: int = Field(1, ge=1, le=8)
    response_format: Literal["b64_json"] | None = None


def _parts(message: ChatMessage) -> list[str | Picture]:
    if isinstance(message.content, str):
        return [message.content]
    return [
        part.text if isinstance(part, TextContent) else from_data_url(part.image_url.url) for part in message.content
    ]


REASONS = {"end": "stop", "repetition": "stop"}
"""Why an answer ended, in OpenAI's words; every other reason is a limit, ``length``."""


def picture_part(picture: Picture, alt: str) -> dict[str, Any]:
    """A picture as a part of a message."""
    return {"type": "image_url", "image_url": {"url": picture.data_url}, "alt": alt}


def parts_of(document: Document) -> list[dict[str, Any]]:
    """The last turn of a document as parts of a message."""
    parts: list[dict[str, Any]] = []
    for part in document.messages[-1].content:
        if isinstance(part, TextPart):
            parts.append({"type": "text", "text": part.text})
        else:
            parts.append(picture_part(document.picture(part), part.alt))
    return parts


def usage(read: int, plan: Plan) -> dict[str, int]:
    """Tokens read and written."""
    return {"prompt_tokens": read, "completion_tokens": plan.tokens, "total_tokens": read + plan.tokens}


def completion(plan: Plan, model: str, read: int) -> dict[str, Any]:
    """A whole answer."""
    message = {"role": "assistant", "content": plan.text, "parts": parts_of(plan.document)}
    choice = {"index": 0, "message": message, "finish_reason": REASONS.get(plan.reason, "length")}
    return {
        "id": f"chatcmpl-{plan.run}", "object": "chat.completion", "created": int(time.time()), "model": model,
        "choices": [choice], "usage": usage(read, plan),
    }  # fmt: skip


class Chunks:
    """The chunks of one streamed answer."""

    def __init__(self, run: str, model: str) -> None:
        self.head = {
            "id": f"chatcmpl-{run}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model,
        }  # fmt: skip

    def delta(self, **delta: Any) -> dict[str, Any]:
        """Something new."""
        return self.head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}

    def end(self, reason: str) -> dict[str, Any]:
        """The last one with a choice."""
        return self.head | {"choices": [{"index": 0, "delta": {}, "finish_reason": REASONS.get(reason, "length")}]}

    def usage(self, read: int, plan: Plan) -> dict[str, Any]:
        """What `StreamOptions` may ask for, behind the end."""
        return self.head | {"choices": [], "usage": usage(read, plan)}
