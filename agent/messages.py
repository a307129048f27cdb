"""What a planner writes, told to LangChain's callbacks as a chat model's output.

So a host that streams the graph with ``stream_mode="messages"`` gets the text token by token, and its tracers see each draft as a
call of a model, whichever planner wrote it.
"""

from __future__ import annotations

from types import TracebackType

from langchain_core.callbacks import CallbackManager, CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langchain_core.runnables import RunnableConfig

from duogen.document import Document

ROLES: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


class Telling:
    """One draft, from its beginning to its end; called with each piece of text."""

    def __init__(self, config: RunnableConfig, document: Document) -> None:
        self.manager = CallbackManager.configure(
            inheritable_callbacks=config.get("callbacks"), inheritable_metadata=config.get("metadata")
        )
        self.document = document
        self.said: list[str] = []
        self.run: CallbackManagerForLLMRun | None = None

    def __enter__(self) -> Telling:
        if self.manager.handlers:
            # Pictures aren't copied into the messages: who wants them has the graph's state.
            messages = [ROLES[message.role](message.text) for message in self.document.messages]
            (self.run,) = self.manager.on_chat_model_start({"name": "duogen planner"}, [messages])
        return self

    def __call__(self, text: str) -> None:
        if self.run is None:
            return
        self.said.append(text)
        chunk = AIMessageChunk(content=text, id=f"run-{self.run.run_id}")
        self.run.on_llm_new_token(text, chunk=ChatGenerationChunk(message=chunk))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.run is None:
            return
        answer = AIMessage(content="".join(self.said), id=f"run-{self.run.run_id}")
        self.run.on_llm_end(LLMResult(generations=[[ChatGeneration(message=answer)]]))
