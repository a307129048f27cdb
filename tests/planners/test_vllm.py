"""The planner on scripted writers and on a scripted server; and, marked ``vllm``, on vLLM itself (``bash .ci/vllm``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from loopback import Quiet, served

from duogen.agent.agent import Agent
from duogen.agent.plan import Plan
from duogen.document import Picture
from duogen.errors import DuoGenError
from duogen.loading import planner_named
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV, IM_END, IMAGE_PAD
from duogen.models.sampler import PaintSettings
from duogen.models.served import save_served
from duogen.models.session import DecodeSettings
from duogen.planners.vllm import Prompt, VllmPlanner, VllmServer, Writer

from .chat_server import wait_until_up

QUICK = PaintSettings(steps=2)
REQUEST = "How do I build a small house with a red roof?"


class Scripted:
    """A writer that says what it is told to."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.asked = agent, list[tuple[list[int], int]]()
        self.plans: list[list[int]] = []

    def tokens(self, prompt: Prompt, settings: DecodeSettings) -> Iterator[int]:
        pad = self.agent.pipeline.processor.id(IMAGE_PAD)
        assert prompt.ids.count(pad) == len(prompt.images)
        assert [token for token in prompt.whole if token != pad] == [token for token in prompt.ids if token != pad]
        self.asked.append((prompt.whole, len(prompt.images)))
        yield from self.plans.pop(0)


def with_writer(pipeline: DuoGenPipeline, writer: Writer) -> Agent:
    return Agent(pipeline, lambda sessions, latent_of, decode: VllmPlanner(sessions, latent_of, writer, decode))


def as_tokens(pipeline: DuoGenPipeline, plan: Plan) -> list[list[int]]:
    """What a plan's text is as a model writes it."""
    processor, pieces = pipeline.processor, []
    content = plan.document.messages[-1].content
    for index, part in enumerate(content):
        if part.type == "text":
            last = index + 1 == len(content)
            pieces.append([*processor.encode(part.text), processor.id(IM_END if last else BOV)])
    if content[-1].type == "image":
        pieces.append([processor.id(IM_END)])
    return pieces


def test_what_is_written_elsewhere_is_painted_here(default_agent: Agent) -> None:
    native = default_agent.plan(REQUEST, settings=QUICK)
    writer = Scripted(default_agent)
    writer.plans = as_tokens(default_agent.pipeline, native)
    plan = with_writer(default_agent.pipeline, writer).plan(REQUEST, settings=QUICK)
    assert plan.text == native.text and plan.tokens == native.tokens and plan.reason == "end"
    assert [images for _, images in writer.asked] == [0, 1, 2, 3, 4]
    for ours, theirs in zip(plan.pictures, native.pictures, strict=True):
        apart = [abs(a - b) for a, b in zip(ours.image().tobytes(), theirs.image().tobytes(), strict=True)]
        assert max(apart) < 12 and sum(apart) / len(apart) < 0.05, "the same picture, up to rounding"


def test_nothing_is_read_twice(default_agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    native = default_agent.plan(REQUEST, settings=QUICK)
    writer, read = Scripted(default_agent), list[int]()
    writer.plans = as_tokens(default_agent.pipeline, native)
    extend = default_agent.pipeline.language.extend
    monkeypatch.setattr(
        default_agent.pipeline.language, "extend", lambda chunks: (read.append(len(chunks[0].ids)), extend(chunks))[1]
    )
    plan = with_writer(default_agent.pipeline, writer).plan(REQUEST, settings=QUICK)
    assert sum(read) <= default_agent.count_tokens(plan.document)


def _texts_to(said: list[str]) -> Callable[[object], None]:
    return lambda event: said.append(getattr(event, "text", ""))


def test_limits_repetition_and_half_characters(tiny: DuoGenPipeline) -> None:
    word, heart = tiny.processor.encode("a")[0], tiny.processor.encode("🙂")
    for tokens, text, reason in [
        ([word] * 100, "aaaa", "repetition"), ([word, word + 1], None, "length"), ([*heart, tiny.processor.id(IM_END)], "🙂", "end"),
    ]:  # fmt: skip
        writer = Scripted(Agent(tiny))
        writer.plans = [tokens]
        said: list[str] = []
        plan = with_writer(tiny, writer).plan("Say.", on_event=_texts_to(said))
        assert plan.reason == reason and (text is None or plan.text == text) and "".join(said) == plan.text


@contextmanager
def server(answer: Any) -> Iterator[tuple[str, list[Any]]]:
    """A server whose answer to everything is a status, or lines of an event stream."""
    asked: list[Any] = []

    class Handler(Quiet):
        def do_POST(self) -> None:  # noqa: N802
            asked.append((self.path, json.loads(self.body())))
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            if isinstance(answer, int):
                self.wfile.write(b'{"detail": "no"}')
                return
            for line in answer:
                data = line if isinstance(line, str) else json.dumps(line)
                self.wfile.write(f"data: {data}\n\n".encode())

    with served(Handler) as url:
        yield url, asked


def test_a_server_is_sent_ids_and_pictures(tiny: DuoGenPipeline, picture: Picture) -> None:
    end = tiny.processor.id(IM_END)
    ids = tiny.processor.encode("Yes.")
    lines = [*({"choices": [{"token_ids": [each], "text": "?"}]} for each in [*ids, end]), "[DONE]"]
    with server(lines) as (url, asked):
        plan = with_writer(tiny, VllmServer(f"{url}/v1", "mine")).plan("Is it <BOV>?", [picture])
    assert plan.text == "Yes." and plan.reason == "end"
    ((path, body),) = asked
    assert path == "/inference/v1/generate" and body["model"] == "mine"
    assert body["content_parts"] == [{"type": "image_url", "url": Picture.from_image(picture.image()).data_url}]
    assert body["token_ids"].count(tiny.processor.id(BOV)) == 0, "what a user types is no special token"
    assert body["sampling_params"]["stop_token_ids"] == [tiny.processor.id(BOV), end]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (403, "--enable-scale-out"), (500, "status 500"), (["{"], "can't be used"),
        ([{"error": {"message": "too long"}}], "too long"),
        ([{"choices": [], "usage": {"prompt_tokens": 3}}], "has read 3 tokens where"),
    ],
)  # fmt: skip
def test_servers_that_fail(tiny: DuoGenPipeline, answer: Any, message: str) -> None:
    with server(answer) as (url, _), pytest.raises(DuoGenError, match=message) as error:
        with_writer(tiny, VllmServer(url, "mine")).plan("Draw.")
    assert len(str(error.value).splitlines()) <= 2
    with pytest.raises(DuoGenError, match="can't be used"):
        with_writer(tiny, VllmServer("http://127.0.0.1:9", "mine")).plan("Draw.")


def test_choosing_a_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planner_named("native") is None
    for arguments, message in [
        (("native", "http://x"), "for the planners chat and vllm"), (("chat",), "needs the chat model's name"),
        (("oracle",), "must be native, chat or vllm"),
    ]:  # fmt: skip
        with pytest.raises(DuoGenError, match=message):
            planner_named(*arguments)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_it_says_so(default_agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    agent = Agent(default_agent.pipeline, planner_named("vllm"))
    with pytest.raises(DuoGenError, match="vLLM can't be used here"):
        agent.plan(REQUEST)
    (folder,) = tmp_path.glob("duogen/served/*")
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        p.name for p in folder.iterdir()
    }
    assert json.loads((folder / "processor_config.json").read_text())["video_processor"]


needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM isn't installed; bash .ci/vllm")
REQUESTS = [REQUEST, "How do I file my taxes?", "Can you show me how to make a pear cake?", "Teach me to draw a cat."]


def same_text(native: Agent, other: Agent, given: Picture) -> None:
    for request in REQUESTS:
        ours, theirs = (agent.plan(request, settings=QUICK) for agent in (native, other))
        assert ours.text == theirs.text and ours.reason == theirs.reason and ours.tokens == theirs.tokens
    seen = [agent.plan("What is on my shelf?", [given], settings=QUICK).text for agent in (native, other)]
    assert seen[0] == seen[1]


@pytest.mark.vllm
@needs_vllm
def test_vllm_in_process_writes_what_the_native_planner_writes(
    default_agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shelf = default_agent.draw("a red ball in the centre").picture
    same_text(default_agent, Agent(default_agent.pipeline, planner_named("vllm")), shelf)


@pytest.mark.vllm
@needs_vllm
def test_vllms_server_writes_what_the_native_planner_writes(default_agent: Agent, tmp_path: Path) -> None:
    folder, port = save_served(default_agent.pipeline, tmp_path / "served"), "8177"
    limits = json.dumps({"image": 64, "video": 0})
    process = subprocess.Popen(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--dtype", "float32",
         "--served-model-name", "duogen", "--host", "127.0.0.1", "--port", port, "--enforce-eager", "--max-model-len", "4096",
         "--max-num-seqs", "4", "--block-size", "32", "--limit-mm-per-prompt", limits, "--enable-scale-out",
         "--enable-prompt-tokens-details"],
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(process, url)
        shelf = default_agent.draw("a red ball in the centre").picture
        same_text(default_agent, Agent(default_agent.pipeline, planner_named("vllm", url)), shelf)
    finally:
        process.terminate()
        process.wait(60)
