"""`duogen serve`, `mcp` and `ui`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from duogen.agent.cli import Backend, Device, Memory, Model
from duogen.errors import DuoGenError, InputError, needed

if TYPE_CHECKING:
    from duogen.agent.worker import Worker

Host = Annotated[
    str, typer.Option(envvar="DUOGEN_HOST", help="The address to listen on; other than loopback, set a token.")
]
Port = Annotated[int, typer.Option(envvar="DUOGEN_PORT", min=0, max=65535, help="The port; 0 takes a free one.")]
Token = Annotated[
    str | None, typer.Option(envvar="DUOGEN_TOKEN", help="What clients must send as Authorization: Bearer TOKEN.")
]
Waiting = Annotated[int, typer.Option(min=1, max=10_000, help="More requests than these at a time are turned away.")]
MaxBody = Annotated[int, typer.Option(min=1, max=4096, help="Largest request in MiB.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    waiting: Waiting = 64,
    max_body: MaxBody = 32,
    root: Annotated[
        Path | None, typer.Option(help="An existing folder to keep every plan in; without it, nothing is kept.")
    ] = None,
    model: Model = None,
    device: Device = None,
    backend: Backend = "torch",
    memory: Memory = "",
) -> None:
    """Serve OpenAI's chat and images protocol over HTTP: /v1/chat/completions, /v1/images/generations and /v1/images/edits.

    Requests are done in the order in which they come. Pictures are data: URLs; nothing is ever fetched.
    """
    needed("serve", "fastapi", "uvicorn", "prometheus_client", "multipart")
    from duogen.serving.guard import Rules
    from duogen.serving.http import make_app

    _warn(host, token)
    rules = Rules(token, _hosts(host), max_body * 2**20)
    worker = _worker(model, device, backend, memory, waiting)
    _listen(make_app(worker, rules, root=_existing(root)), host, port, "/v1", worker)


def mcp(
    root: Annotated[
        Path, typer.Option(help="The folder that pictures and plans are kept in; nothing outside is touched.")
    ],
    http: Annotated[
        bool, typer.Option("--http", help="Streamable HTTP at /mcp instead of standard input and output.")
    ] = False,
    host: Host = "127.0.0.1",
    port: Port = 8001,
    token: Token = None,
    waiting: Waiting = 64,
    model: Model = None,
    device: Device = None,
    backend: Backend = "torch",
    memory: Memory = "",
) -> None:
    """Be an MCP server, with the tools plan, draw, edit and look."""
    needed("mcp", "mcp")
    from duogen.serving.mcp import mcp_server

    root.mkdir(parents=True, exist_ok=True)
    worker = _worker(model, device, backend, memory, waiting)
    server = mcp_server(worker, root)
    if not http:
        server.run("stdio")
        worker.close()
        return
    from prometheus_client import CollectorRegistry

    from duogen.serving.guard import Guard, Rules

    _warn(host, token)
    hosts = _hosts(host)
    app = server.streamable_http_app(host=host)
    _listen(Guard(app, Rules(token, hosts), CollectorRegistry()), host, port, "/mcp", worker)


def ui(
    host: Host = "127.0.0.1",
    port: Port = 7860,
    root: Annotated[Path, typer.Option(help="The folder that plans are kept in.")] = Path("plans"),
    waiting: Waiting = 64,
    model: Model = None,
    device: Device = None,
    backend: Backend = "torch",
    memory: Memory = "",
) -> None:
    """Open a page to make plans in: ask, watch, repaint, edit, follow up, download."""
    needed("ui", "gradio")
    from duogen.serving.ui import launch

    root.mkdir(parents=True, exist_ok=True)
    launch(_worker(model, device, backend, memory, waiting), root, host, port)


def _worker(model: Path | None, device: str | None, backend: str, memory: str, waiting: int) -> Worker:
    from duogen.agent.worker import Worker
    from duogen.loading import load

    worker = Worker(lambda: load(model, device, backend, memory=memory), waiting)  # type: ignore[arg-type]
    # What is wrong with the model is said here, and not to the first client.
    worker.call(lambda agent, emit: None)
    return worker


def _listen(app: Any, host: str, port: int, path: str, worker: Worker) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=65536,
    )
    try:
        socket = _bound(host, port)
    except OSError as error:
        worker.close()
        raise DuoGenError(
            f"can't listen on {host}:{port} ({error.strerror or error}); choose another with --port"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    print(f"duogen: listening on http://{shown}:{socket.getsockname()[1]}{path}", file=sys.stderr, flush=True)
    try:
        uvicorn.Server(config).run(sockets=[socket])
    finally:
        worker.close()


def _bound(host: str, port: int) -> Any:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(2048)  # from here on, who connects waits for an answer
    return made


def _hosts(host: str) -> tuple[str, ...] | None:
    from duogen.serving.guard import LOOPBACK

    return LOOPBACK if host in LOOPBACK else None


def _warn(host: str, token: str | None) -> None:
    if _hosts(host) is None and token is None:
        print(f"duogen: whoever reaches {host} can use this server; --token asks who it is", file=sys.stderr)


def _existing(root: Path | None) -> Path | None:
    if root is not None and not root.is_dir():
        raise InputError(f"{root}: no such folder")
    return root
