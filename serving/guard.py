"""What every HTTP request passes before anything is done for it: who may ask, from where, and how much."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PATHS = ("/healthz", "/metrics", "/v1/models", "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits")
"""Those that are counted by name; all others are counted together, so that nobody can make the metrics grow."""


@dataclass(frozen=True)
class Rules:
    """What is allowed.

    `token`: what ``Authorization: Bearer`` must have, where it is set. `hosts`: names that requests may be addressed to and pages
    may come from; None allows all. A server on loopback that answered to any name could be used by every page in the user's
    browser. `max_body`: of a request, in bytes.
    """

    token: str | None = None
    hosts: tuple[str, ...] | None = LOOPBACK
    max_body: int = 32 * 2**20


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class Guard:
    """ASGI middleware that turns away what the rules don't allow, and counts."""

    def __init__(self, app: Any, rules: Rules, registry: CollectorRegistry) -> None:
        self.app, self.rules = app, rules
        self.requests = Counter(
            "duogen_requests", "Requests, by path and status.", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "duogen_request_seconds", "Time until a request was answered in full.", ["path"], registry=registry,
            buckets=(0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in PATHS else "other"
        began, status = time.monotonic(), 0
        refusal = self._refusal(scope)

        async def sent(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            if refusal is None:
                body = _Body(receive, self.rules.max_body)
                try:
                    await self.app(scope, body, sent)
                except _TooLargeError:
                    if not status:
                        await _refuse(sent, 413, f"the request is larger than {self.rules.max_body:,} bytes")
            else:
                await _refuse(sent, *refusal)
        finally:
            self.requests.labels(path, str(status or 499)).inc()
            self.seconds.labels(path).observe(time.monotonic() - began)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason that a request is turned away with, from its head alone."""
        headers = _headers(scope["headers"])
        if self.rules.hosts is not None:
            for name in ("host", "origin"):
                value = headers.get(name)
                if value is not None and _host(value, name) not in self.rules.hosts:
                    return 403, f"the {name} {value[:80]!r} isn't served here"
        if self.rules.token is not None and scope["path"] != "/healthz":
            given = headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.rules.token}".encode()):
                return 401, "the bearer token is missing or wrong"
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return 400, "the content length isn't a number"
        if int(length) > self.rules.max_body:
            return 413, f"the request is larger than {self.rules.max_body:,} bytes"
        return None


class _TooLargeError(Exception):
    pass


class _Body:
    """Receives a request's body, up to so many bytes."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.receive, self.left = receive, limit

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self.receive()
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            raise _TooLargeError
        return message


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}


def _host(value: str, name: str) -> str | None:
    try:
        return urlsplit(value if name == "origin" else f"//{value}").hostname
    except ValueError:
        return None


async def _refuse(send: Send, status: int, message: str) -> None:
    kind = "authentication_error" if status == 401 else "invalid_request_error"
    body = json.dumps(error_body(message, kind)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
