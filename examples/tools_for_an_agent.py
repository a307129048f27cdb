"""DuoGen as tools of a LangGraph agent that somebody else's model drives: python examples/tools_for_an_agent.py

A stand-in for the model is built in, so that it runs without a network: it plans, and then edits the last picture that it was told of.
With a real one, write `create_agent("openai:...", duogen_tools(duogen.load()))` instead.
"""

import re
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

import duogen
from duogen.serving.langchain import duogen_tools


class StandIn(BaseChatModel):
    """Calls ``duogen_plan``, then ``duogen_edit`` with the id of the plan's last picture, then is done."""

    _llm_type = "stand-in"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        results = [message for message in messages if isinstance(message, ToolMessage)]
        if not results:
            answer = self._call("duogen_plan", request=messages[-1].text)
        elif len(results) == 1:
            ids = re.findall(r"\[picture ([0-9a-f]+)]", str(results[0].content))
            answer = self._call("duogen_edit", instruction="paint the roof green", pictures=[ids[-1]])
        else:
            answer = AIMessage("Here is your house, and the same with a green roof.")
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @staticmethod
    def _call(name: str, **arguments: Any) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": name, "type": "tool_call"}])


if __name__ == "__main__":
    agent = create_agent(StandIn(), duogen_tools(duogen.load()))
    messages = agent.invoke({"messages": [HumanMessage("How do I build a small house with a red roof?")]})["messages"]
    plan, edited = (message.artifact for message in messages if isinstance(message, ToolMessage))
    print(plan.text)
    print(messages[-1].content)
    print(f"{len(plan.pictures) + 1} pictures, ended by {plan.reason}")
    edited.picture.image().save("green-roof.png")
