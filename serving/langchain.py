"""DuoGen as LangChain tools, for an agent of somebody else's.

    from langchain.agents import create_agent
    agent = create_agent(model, duogen_tools(duogen.load()))

The answers are text blocks and image blocks (``content_and_artifact``); the artifact of a `ToolMessage` is the `Plan`, the `Drawn`
picture, or the text. Ids in the text let the model refer back to earlier pictures and plans.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool, ToolException

from duogen.agent.agent import Agent
from duogen.agent.worker import Worker
from duogen.errors import DuoGenError
from duogen.serving.desk import Desk, Made, spoken


def duogen_tools(agent: Agent | Worker, root: Path | None = None, pictures: bool = True) -> list[BaseTool]:
    """The tools ``plan``, ``draw``, ``edit`` and ``look``.

    They may be called at the same time, and in parallel; one thread does the work. What can't be done comes back as the tool's
    answer, with status ``error``, for the model to mend.

    Args:
        root: an existing folder to keep plans and pictures in; without it, they are kept in memory.
        pictures: whether the model sees the pictures themselves, or only reads their ids.
    """
    desk = Desk(agent if isinstance(agent, Worker) else Worker(agent), root)
    return [_tool(name, call, pictures) for name, call in desk.calls()]


def _tool(name: str, call: Callable[..., Awaitable[Made]], pictures: bool) -> BaseTool:
    async def answer(**arguments: Any) -> tuple[list[dict[str, Any]], Any]:
        try:
            made = await call(**arguments)
        except DuoGenError as error:
            raise ToolException(str(error)) from error
        return _blocks(made, pictures), made.artifact

    def answer_now(**arguments: Any) -> tuple[list[dict[str, Any]], Any]:
        return asyncio.run(answer(**arguments))

    # What may be given stands in the signature of the call, and nowhere else.
    signature = inspect.signature(call)
    told = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    functions: list[Any] = [answer, answer_now]
    for function in functions:
        functools.update_wrapper(function, call, ("__doc__", "__annotations__"))
        function.__signature__ = signature.replace(parameters=told)
    return StructuredTool.from_function(
        answer_now, answer, name=f"duogen_{name}", description=inspect.getdoc(call), response_format="content_and_artifact",
        handle_tool_error=True,
    )  # fmt: skip


def _blocks(made: Made, pictures: bool) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for kind, value in spoken(made):
        if kind == "text":
            blocks.append({"type": "text", "text": value})
        elif pictures:
            blocks.append({"type": "image", "base64": value.base64, "mime_type": value.mime_type})
    return blocks
