"""A stock LangGraph agent uses the tools over three turns."""

from __future__ import annotations

import re
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from duogen.agent.agent import Agent
from duogen.agent.plan import Plan
from duogen.serving.langchain import duogen_tools
from duogen.tools.image import Drawn


class Scripted(FakeMessagesListChatModel):
    """A model that plans, then edits the plan's last picture, then compares the two: each by the ids that it has read."""

    responses: list[BaseMessage] = []

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        read = " ".join(
            block["text"] for message in messages if isinstance(message, ToolMessage)
            for block in message.content if isinstance(block, dict) and block["type"] == "text"
        )  # fmt: skip
        ids, plans = re.findall(r"\[picture ([0-9a-f]{16})]", read), re.findall(r"\[plan ([0-9a-f]{12})]", read)
        if isinstance(messages[-1], ToolMessage):
            answer = AIMessage("Here you are.")
        elif not ids:
            request = "How do I build a small house with a red roof?"
            answer = self._call("plan", {"request": request, "max_pictures": 8})
        elif len(plans) == 1 and sum(isinstance(message, HumanMessage) for message in messages) == 2:
            answer = self._call("plan", {"request": "Now make the roof blue.", "plan": plans[0]})
        else:
            answer = self._call("edit", {"instruction": "paint the roof green", "pictures": [ids[-1]]})
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @staticmethod
    def _call(name: str, arguments: dict[str, Any]) -> AIMessage:
        call = {"name": f"duogen_{name}", "args": arguments, "id": name, "type": "tool_call"}
        return AIMessage("", tool_calls=[call])


def test_three_turns_that_refer_back(default_agent: Agent) -> None:
    agent = create_agent(Scripted(), duogen_tools(default_agent))
    messages: list[Any] = []
    for request in ("A house, please.", "Blue, please.", "And green."):
        messages = agent.invoke({"messages": [*messages, HumanMessage(request)]})["messages"]
        assert messages[-1].content == "Here you are."
    plan, more, edited = (message for message in messages if isinstance(message, ToolMessage))
    assert isinstance(plan.artifact, Plan) and isinstance(more.artifact, Plan) and isinstance(edited.artifact, Drawn)
    assert len(plan.artifact.pictures) >= 3
    assert more.artifact.document.messages[:2] == plan.artifact.document.messages
    again = default_agent.edit("paint the roof green", [more.artifact.pictures[-1]])
    assert edited.artifact.picture == again.picture, "it is the follow-up's last picture that is edited"
    assert [block["type"] for block in edited.content] == ["text", "image"]
    assert edited.content[1]["mime_type"] == "image/png"


def test_a_model_may_do_without_the_pictures(default_agent: Agent) -> None:
    draw = duogen_tools(default_agent, pictures=False)[1]
    message = draw.invoke({"name": draw.name, "args": {"instruction": "a red ball"}, "id": "1", "type": "tool_call"})
    assert [block["type"] for block in message.content] == ["text"] and isinstance(message.artifact, Drawn)


@pytest.mark.parametrize(
    ("index", "arguments", "message"),
    [
        (2, {"instruction": "green", "pictures": ["nothing"]}, "no picture's id"),
        (0, {"request": "More.", "plan": "0123456789ab"}, "no plan has this id"),
        (1, {"instruction": "  "}, "is empty"),
    ],
)
def test_what_cannot_be_done_is_told_to_the_model(
    default_agent: Agent, index: int, arguments: dict[str, Any], message: str
) -> None:
    tool = duogen_tools(default_agent)[index]
    answer = tool.invoke({"name": tool.name, "args": arguments, "id": "1", "type": "tool_call"})
    assert answer.status == "error" and message in answer.content


def test_the_schemas_have_limits(default_agent: Agent) -> None:
    plan, _, edit, _ = duogen_tools(default_agent)
    assert [tool.name for tool in duogen_tools(default_agent)] == [
        f"duogen_{n}" for n in ("plan", "draw", "edit", "look")
    ]
    assert plan.args["max_pictures"]["maximum"] == 64 and plan.args["request"]["maxLength"] == 20_000
    assert edit.args["pictures"]["minItems"] == 1
    with pytest.raises(ValueError, match="at least 1 item"):
        edit.invoke({"instruction": "green", "pictures": []})
