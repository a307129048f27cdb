"""A page for people: ask, watch text and pictures arrive, stop, paint a step again or change it, follow up, download."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported: the page works offline

import gradio as gr

from duogen.agent.agent import Agent
from duogen.agent.events import DenoisingStep, Event, OnEvent, PictureDone, TextDelta
from duogen.agent.plan import Plan, before_picture
from duogen.agent.worker import Worker
from duogen.document import Document, Picture, TextPart
from duogen.errors import DuoGenError
from duogen.models.sampler import PaintSettings
from duogen.tools.look import due

OFTEN = 0.1
"""Seconds between two updates of the page while text arrives."""
CSS = """
.gradio-container { max-width: 60rem !important; margin: auto; }
#talk img { max-width: min(100%, 24rem); height: auto; border-radius: 8px; }
#talk button[title="Share"], #talk button[aria-label="Share"] { display: none; }
#status { min-height: 1.5rem; }
"""

Job = Callable[[Agent, OnEvent], Plan]


class Page:
    """What the page does; everything that it shows comes from a plan's folder.

    Args:
        root: an existing folder that plans are kept in, one folder each.
    """

    def __init__(self, worker: Worker, root: Path) -> None:
        self.worker, self.root = worker, root.resolve()
        self._stops: dict[str, threading.Event] = {}

    async def ask(
        self, request: str, files: list[str] | None, folder: str | None, seed: float, check: bool, session: str
    ) -> AsyncIterator[dict[str, Any]]:
        """A new plan, or a follow-up on the one in `folder`."""
        try:
            images = [Picture.from_file(file) for file in files or []]
            settings = PaintSettings(seed=int(seed or 0))
            place = self.root / uuid.uuid4().hex[:12] if folder is None else Path(folder)
            before = None if folder is None else Document.load(place)
            shown = Document() if before is None else before.branch()
            shown.add_request(request, images)
        except (DuoGenError, ValueError) as error:
            yield {"status": str(error)}
            return
        shown.add_message("assistant")

        def job(agent: Agent, emit: OnEvent) -> Plan:
            return agent.plan(
                request, images, on_event=emit, settings=settings, self_check=2 if check else 0,
                stopping=self._stopping(session), folder=place, after=before,
            )  # fmt: skip

        async for change in self._follow(job, shown, place, session):
            yield change

    async def revise(
        self, number: int | None, text: str | None, folder: str | None, attempt: int, session: str
    ) -> AsyncIterator[dict[str, Any]]:
        """A picture of the last answer once more, and all that comes behind it; with another text, where there is one."""
        if folder is None or number is None:
            yield {"status": "There is no picture to change yet."}
            return
        try:
            shown = before_picture(Document.load(folder), number, text)
        except DuoGenError as error:
            yield {"status": str(error)}
            return

        def job(agent: Agent, emit: OnEvent) -> Plan:
            return agent.revise(folder, number, text, attempt=attempt, on_event=emit, stopping=self._stopping(session))

        async for change in self._follow(job, shown, Path(folder), session):
            yield change

    def stop(self, session: str) -> None:
        """Ends what this session's page is waiting for, within a step."""
        if session in self._stops:
            self._stops[session].set()

    def _stopping(self, session: str) -> Callable[[], bool]:
        return self._stops[session].is_set

    async def _follow(self, job: Job, shown: Document, place: Path, session: str) -> AsyncIterator[dict[str, Any]]:
        """Shows a run as it goes; `shown` is what the page has before it."""
        self._stops[session] = threading.Event()
        yield {
            "document": shown,
            "place": place,
            "status": "Waiting …" if self.worker.jobs else "Writing …",
            "busy": True,
        }
        latest = 0.0
        try:
            async for event in self.worker.follow(job):
                if isinstance(event, Plan):
                    ended = {"stopped": "Stopped.", "end": "Done."}.get(event.reason, f"Ended: {event.reason}.")
                    yield {"document": event.document, "place": place, "status": ended, "done": True}
                    return
                status = self._take(event, shown)
                now = time.monotonic()
                begun = (
                    isinstance(event, DenoisingStep) and event.step == 1
                )  # small models paint in less time than OFTEN
                if now - latest > OFTEN or begun or isinstance(event, PictureDone):
                    latest = now
                    yield {"document": shown, "place": place, "status": status}
        except DuoGenError as error:
            yield {"status": str(error), "done": True}
        finally:
            self._stops.pop(session, None)

    @staticmethod
    def _take(event: Event, shown: Document) -> str:
        if isinstance(event, TextDelta):
            shown.add_text(event.text)
        elif isinstance(event, PictureDone):
            shown.add_picture(event.picture, event.part.alt)
        elif isinstance(event, DenoisingStep):
            return f"Painting picture {event.index}: step {event.step} of {event.steps} …"
        return "Writing …"


def bubbles(document: Document, place: Path) -> list[dict[str, Any]]:
    """A document as a chat; its pictures are the files of its folder, each with what it shows as its alternative text."""
    shown = []
    for message in document.messages:
        content: list[Any] = []
        for part in message.content:
            if isinstance(part, TextPart):
                content.append(part.text)
            else:
                content.append(_image(place / part.image, part.alt))
        if content:
            shown.append({"role": message.role, "content": content})
    return shown


def _image(path: Path, alt: str) -> gr.Image:
    return gr.Image(
        str(path), alt_text=alt or "picture", type="filepath", format="png", show_label=False, interactive=False, buttons=[]
    )  # fmt: skip


def steps(document: Document) -> list[str]:
    """What each picture of the last answer shows, in words."""
    said, so_far = [], document.branch()
    content = so_far.messages[-1].content
    for part in list(content)[::-1]:
        content.pop()
        if part.type == "image":
            said.append(due(so_far))
    return said[::-1]


def build(worker: Worker, root: Path) -> gr.Blocks:
    """The page."""
    page = Page(worker, root)
    with gr.Blocks(title="DuoGen", analytics_enabled=False) as blocks:
        folder, attempts = gr.State(None), gr.State(0)
        gr.Markdown("# DuoGen\nAsk for a plan, an explanation or a drawing. Text and pictures appear as they are made.")
        talk = gr.Chatbot(
            label="Plan",
            elem_id="talk",
            height=560,
            buttons=[],
            render_markdown=False,
            autoscroll=True,
            show_label=False,
        )
        status = gr.Textbox(label="Status", elem_id="status", interactive=False, max_lines=2)
        request = gr.Textbox(
            label="Request", elem_id="request", placeholder="How do I build a small house with a red roof?", max_length=20_000,
            lines=1, autofocus=True,
        )  # fmt: skip
        with gr.Row():
            go = gr.Button("Make it", variant="primary", elem_id="go", min_width=110)
            stop = gr.Button("Stop", elem_id="stop", interactive=False, min_width=110)
            new = gr.Button("New plan", elem_id="new", min_width=110)
            download = gr.DownloadButton("Download", elem_id="download", interactive=False, min_width=110)
        with gr.Accordion("Pictures to start from, and options", open=False):
            files = gr.File(
                label="Pictures",
                file_count="multiple",
                file_types=["image"],
                type="filepath",
                elem_id="files",
                height=120,
            )
            with gr.Row():
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                check = gr.Checkbox(False, label="Let the model look at its pictures, and paint wrong ones again")
        with gr.Group():
            with gr.Row():
                which = gr.Dropdown([], label="Picture", elem_id="which", scale=1)
                text = gr.Textbox(label="Its step", elem_id="step", scale=4)
            with gr.Row():
                repaint = gr.Button("Paint it again", elem_id="repaint", interactive=False)
                change = gr.Button("Change the step", elem_id="change", interactive=False)

        outputs = [talk, status, folder, go, stop, download, which, repaint, change, request, files]

        def updates(made: dict[str, Any]) -> list[Any]:
            """What changes on the page; all that isn't named stays."""
            changes: dict[Any, Any] = {status: made["status"]}
            if "document" in made:
                changes[talk], changes[folder] = bubbles(made["document"], made["place"]), str(made["place"])
            if made.get("busy"):
                changes |= {button: gr.update(interactive=False) for button in (go, download, repaint, change)}
                changes |= {stop: gr.update(interactive=True), request: "", files: None}
            if made.get("done"):
                changes |= {go: gr.update(interactive=True), stop: gr.update(interactive=False)}
                if "document" in made:
                    known = steps(made["document"])
                    choices = [(f"{number}", number) for number, _ in enumerate(known, 1)]
                    changes[which] = gr.update(choices=choices, value=len(known) or None)
                    changes |= {button: gr.update(interactive=bool(known)) for button in (repaint, change)}
                    page_file = made["place"] / "plan.html"
                    if page_file.exists():
                        changes[download] = gr.update(value=str(page_file), interactive=True)
            return [changes.get(output, gr.skip()) for output in outputs]

        async def ask(words: str, given: Any, place: Any, number: float, look: bool, request: gr.Request) -> Any:
            async for made in page.ask(words, given, place, number, look, str(request.session_hash)):
                yield updates(made)

        async def again(number: Any, place: Any, tried: int, request: gr.Request) -> Any:
            async for made in page.revise(number, None, place, tried + 1, str(request.session_hash)):
                yield [*updates(made), tried + 1]

        async def changed(number: Any, words: str, place: Any, request: gr.Request) -> Any:
            async for made in page.revise(number, words, place, 0, str(request.session_hash)):
                yield updates(made)

        def chosen(number: Any, place: Any) -> str:
            known = steps(Document.load(place)) if place else []
            return known[number - 1] if number and number <= len(known) else ""

        def fresh() -> list[Any]:
            blank: dict[Any, Any] = {talk: [], status: "", folder: None, request: "", files: None}
            blank |= {which: gr.update(choices=[], value=None), download: gr.update(value=None, interactive=False)}
            blank |= {button: gr.update(interactive=False) for button in (repaint, change, stop)}
            return [blank.get(output, gr.update(interactive=True)) for output in outputs]

        def stopped(request: gr.Request) -> None:
            page.stop(str(request.session_hash))

        busy: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None}
        gr.on([go.click, request.submit], ask, [request, files, folder, seed, check], outputs, **busy)
        repaint.click(again, [which, folder, attempts], [*outputs, attempts], **busy)
        change.click(changed, [which, text, folder], outputs, **busy)
        which.change(chosen, [which, folder], text, show_progress="hidden")
        stop.click(stopped, None, None, queue=False)
        gr.on([new.click, talk.clear], stopped, None, None, queue=False).then(fresh, None, outputs)
    return blocks


def launch(worker: Worker, root: Path, host: str, port: int, wait: bool = True) -> gr.Blocks:
    """Serves the page; with `wait`, until it is interrupted.

    Raises:
        DuoGenError: the port is taken.
    """
    blocks = build(worker, root)
    try:
        blocks.queue().launch(
            server_name=host, server_port=port, prevent_thread_lock=not wait, quiet=False, share=False, inbrowser=False,
            footer_links=[], allowed_paths=[str(root.resolve())], show_error=True, ssr_mode=False, enable_monitoring=False,
            mcp_server=False, max_file_size="20mb", theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]), css=CSS,
        )  # fmt: skip
    except OSError as error:
        raise DuoGenError(f"can't listen on {host}:{port}; choose another with --port") from error
    return blocks
