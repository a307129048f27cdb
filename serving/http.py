"""DuoGen as an HTTP service that speaks OpenAI's protocol: chat with pictures inside of answers, images, edits."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from duogen import __version__
from duogen.agent.events import DenoisingStep, Event, PictureDone, TextDelta
from duogen.agent.plan import Plan
from duogen.agent.worker import BusyError, Worker
from duogen.document import Picture
from duogen.errors import DuoGenError, InputError, first_fault
from duogen.serving.guard import Guard, Rules, error_body
from duogen.serving.wire import ChatRequest, Chunks, ImageGeneration, completion, picture_part

Result = TypeVar("Result")
Model = TypeVar("Model", bound=BaseModel)

LISTENING = 0.1
"""Seconds between two looks whether the client is still there."""


def make_app(worker: Worker, rules: Rules | None = None, model: str = "duogen", root: Path | None = None) -> FastAPI:
    """The service.

    Args:
        worker: does the work, one request after the other; of those that come while too many wait, the rest get status 429.
        rules: who may ask, and how much.
        model: its name to clients.
        root: a folder to keep every plan in; without it, nothing is kept.
    """
    app = FastAPI(title="DuoGen", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    registry = CollectorRegistry()
    pictures = Counter("duogen_pictures", "Pictures painted.", registry=registry)
    Gauge("duogen_jobs", "Requests that are worked on or wait.", registry=registry).set_function(lambda: worker.jobs)
    app.add_middleware(Guard, rules=rules or Rules(), registry=registry)
    _explain_errors(app)

    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"status": "ok", "waiting": worker.jobs}

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(generate_latest(registry).decode(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": model, "object": "model", "created": 0, "owned_by": "duogen"}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        asked = _parsed(ChatRequest, await request.body())
        text, images, after = asked.asked()
        run = uuid.uuid4().hex[:12]
        options = asked.options() | {
            "after": after,
            "run": run,
            "folder": None if root is None else root / "plans" / run,
        }

        def count(event: Event) -> None:
            if isinstance(event, PictureDone):
                pictures.inc()

        if not asked.stream:
            plan = await _while_connected(request, worker.plan(text, images, on_event=count, **options))
            return JSONResponse(completion(plan, model, worker.agent().count_tokens(plan.document) - plan.tokens))

        chunks, events = Chunks(run, model), worker.stream(text, images, **options)
        # Nothing is answered before something has happened: until then, what is wrong has a status of its own.
        first: Event | Plan | None = await _while_connected(request, anext(events))

        async def told() -> AsyncIterator[str]:
            yield _sse(chunks.delta(role="assistant", content=""))
            try:
                event = first
                while event is not None:
                    if isinstance(event, TextDelta):
                        yield _sse(chunks.delta(content=event.text))
                    elif isinstance(event, PictureDone):
                        count(event)
                        yield _sse(chunks.delta(parts=[picture_part(event.picture, event.part.alt)]))
                    elif isinstance(event, DenoisingStep):
                        yield f": picture {event.index}, step {event.step} of {event.steps}\n\n"
                    elif isinstance(event, Plan):
                        yield _sse(chunks.end(event.reason))
                        if asked.stream_options is not None and asked.stream_options.include_usage:
                            read = worker.agent().count_tokens(event.document) - event.tokens
                            yield _sse(chunks.usage(read, event))
                    event = await anext(events, None)
                yield "data: [DONE]\n\n"
            except DuoGenError as error:
                yield _sse(error_body(str(error), "server_error"))
            finally:
                await events.aclose()

        return StreamingResponse(told(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    @app.post("/v1/images/generations")
    async def generate(request: Request) -> Response:
        return await paint(request, _parsed(ImageGeneration, await request.body()), [])

    @app.post("/v1/images/edits")
    async def edit(request: Request) -> Response:
        try:
            async with request.form(max_files=16, max_fields=32) as form:
                files = [value for name, value in form.multi_items() if name in ("image", "image[]")]
                fields = {name: value for name, value in form.items() if isinstance(value, str) and value != ""}
                given = [await _uploaded(value) for value in files]
        except MultiPartException as error:
            raise InputError(f"the form can't be read ({error.message})") from error
        if not given:
            raise InputError("an edit needs a picture: the field image, or image[] for several")
        if "mask" in form:
            raise InputError("masks aren't supported: say in words what to change")
        return await paint(request, _parsed(ImageGeneration, fields), given)

    async def paint(request: Request, asked: ImageGeneration, given: list[Picture]) -> Response:
        made = []
        for number in range(asked.n):
            painting = worker.edit(asked.prompt, given, asked.settings(number))
            drawn = await _while_connected(request, painting)
            pictures.inc()
            made.append({"b64_json": drawn.picture.base64})
        return JSONResponse({"created": int(time.time()), "data": made})

    return app


def _explain_errors(app: FastAPI) -> None:
    """Every error leaves in OpenAI's form, and none with a traceback."""

    @app.exception_handler(DuoGenError)
    async def explained(request: Request, error: DuoGenError) -> Response:
        if isinstance(error, BusyError):
            return JSONResponse(error_body(str(error), "rate_limit_error"), 429, {"retry-after": "1"})
        if isinstance(error, InputError):
            return JSONResponse(error_body(str(error), "invalid_request_error"), 400)
        return JSONResponse(error_body(str(error), "server_error"), 500)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return JSONResponse(error_body(str(error.detail), "invalid_request_error"), error.status_code)


def _parsed(kind: type[Model], given: bytes | Mapping[str, Any]) -> Model:
    """A request's body, or its fields; raises `InputError` where it doesn't fit, with the place and the reason."""
    try:
        if isinstance(given, bytes):
            return kind.model_validate_json(given)
        return kind.model_validate(given)
    except ValidationError as error:
        raise InputError(first_fault(error)) from error


async def _uploaded(value: UploadFile | str) -> Picture:
    if isinstance(value, str):
        raise InputError("image must be a file")
    return Picture(await value.read(), (value.filename or "the picture")[:80])


async def _while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """What `work` gives; where the client goes away first, the work ends, and so does the request."""

    async def awaited() -> Result:
        return await work

    task = asyncio.ensure_future(awaited())
    try:
        while not task.done():
            await asyncio.wait([task], timeout=LISTENING)
            if not task.done() and await request.is_disconnected():
                raise HTTPException(499, "the client has gone")
        return task.result()
    finally:
        task.cancel()


def _sse(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
