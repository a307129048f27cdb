"""The chat planner against a real server: ``transformers serve`` with the default model's own MLLM.

That model knows nothing of tools, so that its answers have no pictures. What is tested is the way there and back: the text must be
what the model writes here when it is told the same.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from duogen.agent.agent import Agent
from duogen.document import Document
from duogen.errors import DuoGenError
from duogen.models.layout import turns_of
from duogen.models.processor import BOV
from duogen.models.served import save_served
from duogen.models.session import DecodeSettings, Session
from duogen.planners.chat import PROMPT, ChatPlanner

from .chat_server import wait_until_up

TRANSFORMERS = shutil.which("transformers", path=str(Path(sys.executable).parent))
pytestmark = pytest.mark.skipif(
    TRANSFORMERS is None or find_spec("requests") is None, reason="transformers can't serve here"
)


@pytest.fixture(scope="module")
def served(default_agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The server's URL, and the model's name there."""
    home = tmp_path_factory.mktemp("served")
    folder = save_served(default_agent.pipeline, home / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "cache").mkdir()
    process = subprocess.Popen(
        [str(TRANSFORMERS), "serve", str(folder), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until_up(process, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("request_", ["How do I build a small house with a red roof?", "How do I file my taxes?"])
def test_the_text_is_what_the_model_writes_here(served: tuple[str, str], default_agent: Agent, request_: str) -> None:
    url, model = served
    planner = ChatPlanner(model, url, retries=0, options={"stop": [BOV]})
    streamed: list[str] = []
    plan = Agent(default_agent.pipeline, planner).plan(
        request_, on_event=lambda event: streamed.append(getattr(event, "text", ""))
    )
    told = Document()
    told.add_message("system")
    told.add_text(PROMPT)
    told.add_request(request_)
    session = Session(default_agent.pipeline, turns_of(told))
    expected = "".join(session.decode(DecodeSettings()))
    assert plan.text.removesuffix(BOV) == expected and len(expected) > 20
    assert "".join(streamed) == plan.text and len(streamed) > 5 and plan.reason in ("end", "length")


def test_another_model_than_the_server_has(served: tuple[str, str], default_agent: Agent) -> None:
    planner = ChatPlanner("another", served[0], retries=0)
    with pytest.raises(DuoGenError, match=r"another at http://127\.0\.0\.1.* refused") as error:
        Agent(default_agent.pipeline, planner).plan("Draw a cup.")
    assert len(str(error.value).splitlines()) == 1
