"""DuoGen as an MCP server: tools ``plan``, ``draw``, ``edit`` and ``look``, and every picture as a resource."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations

from duogen import __version__
from duogen.agent.events import DenoisingStep, Event, PictureDone, TextDelta
from duogen.agent.worker import Worker
from duogen.errors import DuoGenError
from duogen.serving.desk import Answer, Desk, Made, spoken

INSTRUCTIONS = (
    "Plans with text and pictures, single drawings, and changes to pictures. Answers name pictures and plans by ids; give an id "
    "back to edit that picture, to look at it, or to follow up on that plan."
)


def mcp_server(worker: Worker, root: Path) -> MCPServer:
    """The server over a worker.

    Args:
        root: an existing folder; plans and pictures are written there, and paths that clients name must lie in it.

    Raises:
        InputError: there is no such folder.
    """
    desk = Desk(worker, root)
    server = MCPServer("duogen", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    for name, call in desk.calls():
        server.add_tool(
            _tool(call), name=name, description=inspect.getdoc(call),
            annotations=ToolAnnotations(read_only_hint=name == "look", destructive_hint=False, open_world_hint=False),
        )  # fmt: skip

    @server.resource("duogen://pictures/{id}", mime_type="image/png", description="A picture, by its id.")
    def picture(id: str) -> bytes:
        try:
            return desk.picture(id).data
        except DuoGenError as error:
            raise ResourceNotFoundError(str(error)) from error

    return server


def _tool(call: Callable[..., Awaitable[Made]]) -> Callable[..., Awaitable[CallToolResult]]:
    async def answer(ctx: Context, **arguments: Any) -> CallToolResult:
        progress = _Progress(ctx)
        async with anyio.create_task_group() as group:
            group.start_soon(progress.report)
            try:
                made = await call(**arguments, on_event=progress.told)
            except DuoGenError as error:
                failed: DuoGenError | None = error
            else:
                failed = None
            progress.end()
        if failed is not None:
            raise ToolError(str(failed))
        content: list[Any] = []
        for kind, value in spoken(made):
            if kind == "text":
                content.append(TextContent(type="text", text=value))
            else:
                content.append(ImageContent(type="image", data=value.base64, mime_type=value.mime_type))
        return CallToolResult(content=content, structured_content=made.answer.model_dump(mode="json"))

    signature = inspect.signature(call, eval_str=True)
    told = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    ctx = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=Context)
    returns = Annotated[CallToolResult, Answer]
    functools.update_wrapper(answer, call, ("__doc__",))
    del answer.__wrapped__  # type: ignore[attr-defined]
    answer.__signature__ = signature.replace(parameters=[*told, ctx], return_annotation=returns)  # type: ignore[attr-defined]
    answer.__annotations__ = {each.name: each.annotation for each in [*told, ctx]} | {"return": returns}
    return answer


class _Progress:
    """Tells the client how far a call is: a unit for each picture, and the words of the step that is being drawn.

    Events come faster than a client needs to know; the latest is told, one at a time.
    """

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._now, self._text = 0.0, ""
        self._changed, self._over = anyio.Event(), False

    def told(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._text += event.text
        elif isinstance(event, DenoisingStep):
            self._now = event.index - 1 + event.step / event.steps
        elif isinstance(event, PictureDone):
            self._now, self._text = float(event.index), ""
        self._changed.set()

    def end(self) -> None:
        self._over = True
        self._changed.set()

    async def report(self) -> None:
        told = 0.0
        while not self._over:
            await self._changed.wait()
            self._changed = anyio.Event()
            if self._now > told:
                told = self._now
                await self.ctx.report_progress(told, None, self._text.strip() or "drawing")
