"""A service on a free port of loopback, on the default model."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from duogen.agent.agent import Agent
from duogen.agent.worker import Worker


@pytest.fixture
def worker(default_agent: Agent) -> Iterator[Worker]:
    made = Worker(default_agent)
    yield made
    made.close()


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serves an app; gives its address."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def listen() -> Callable[[Any], Any]:
    return listening
