"""Who is timed: the stock composition, our strict path, our fast path, and the fast path with one of its parts away."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, NamedTuple
from unittest.mock import patch
from weakref import WeakKeyDictionary

import torch
from langgraph.graph.state import CompiledStateGraph
from PIL import Image
from torch import Tensor
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from duogen.agent.agent import Agent
from duogen.benchmarks.stock import Stock
from duogen.benchmarks.work import Script, Work, as_pictures, scripted
from duogen.models import sessions, strict
from duogen.models.decoding import Chunk, MLLMOutput
from duogen.models.layout import lay_out
from duogen.models.mllm import QwenVL
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.models.session import Session

FEW = {"steps": 2, "first_steps": 4}
"""Denoising steps of the rivals that take few: those that the default model has where nobody says otherwise."""

Run = Callable[[Agent, Work, PaintSettings], list[Image.Image]]
"""Does some work and returns its pictures."""


class Rival(NamedTuple):
    """Who is timed: what it does, what its networks run on, whether it takes few denoising steps, and not as many as everybody; how its
    weights are kept."""

    run: Run
    backend: Literal["torch", "onnx"] = "torch"
    few: bool = False
    memory: str = ""

    def settings(self, common: PaintSettings) -> PaintSettings:
        """Its own, given those of all."""
        return common.model_copy(update=FEW) if self.few else common


def stock(agent: Agent, work: Work, settings: PaintSettings) -> list[Image.Image]:
    rival = Stock(agent.pipeline, [Script(work, agent.pipeline.processor)])
    answer = rival.plan(work.request, work.given, settings)
    return [part for part in answer if isinstance(part, Image.Image)]


def strict_path(agent: Agent, work: Work, settings: PaintSettings) -> list[Image.Image]:
    """`duogen.models.strict`, picture by picture; text is written with one prefill a token there, which is left out here."""
    pipeline, painted, latents = agent.pipeline, [], [agent.pipeline.encode_picture(image) for image in work.given]
    parts: list[str | Image.Image] = []
    for number, step in enumerate(work.steps):
        parts.append(step)
        tape, pixels = lay_out([("user", [*work.given, work.request]), ("assistant", parts)], pipeline.processor, True)
        seeded = settings.for_picture(len(work.given) + number)
        latents.append(strict.paint(pipeline, tape, pixels, latents, len(tape.ids), seeded))
        painted.append(pipeline.decode_picture(latents[-1]))
        parts.append(painted[-1])
    return painted


def fast(agent: Agent, work: Work, settings: PaintSettings) -> list[Image.Image]:
    with scripted(Script(work, agent.pipeline.processor)):
        plan = agent.plan(work.request, as_pictures(work.given), settings=settings)
    return [picture.image() for picture in plan.pictures]


def _without(away: Callable[[], AbstractContextManager[object]]) -> Rival:
    def run(agent: Agent, work: Work, settings: PaintSettings) -> list[Image.Image]:
        with away():
            return fast(agent, work, settings)

    return Rival(run)


@contextmanager
def _no_sessions() -> Iterator[None]:
    """A new session for every piece of text and every picture: the dialogue is prefilled again."""
    with (
        patch.object(sessions, "fingerprint", lambda _: uuid.uuid4().hex),
        patch.object(sessions.SessionPool, "replay", False),
    ):
        yield


@contextmanager
def _no_context() -> Iterator[None]:
    """Connector, and cross-attention's keys and values, of all text, again for every picture."""
    inner = Session.condition
    states: WeakKeyDictionary[Session, list[Tensor]] = WeakKeyDictionary()

    def again(session: Session, length: int) -> object:
        every = states.setdefault(session, [])
        every += session._states
        session._states, session._context = list(every), None
        return inner(session, length)

    with patch.object(Session, "condition", again):
        yield


@contextmanager
def _no_frames() -> Iterator[None]:
    """Keys and values of all earlier pictures, again for every picture."""
    inner = Session._keep_frames

    def again(session: Session) -> object:
        session._kept, session._frames = 0, None
        return inner(session)

    with patch.object(Session, "_keep_frames", again), patch.object(Session, "noted"):
        yield


@contextmanager
def _no_denoiser() -> Iterator[None]:
    """The whole transformer at every step, modulations, norms and rotary angles with it."""
    with patch.object(DuoGenPipeline, "stepping", lambda _: None):
        yield


@contextmanager
def _no_packed_text() -> Iterator[None]:
    """Upstream's forward and cache for the text."""

    def new_cache(language: QwenVL, *_: object) -> DynamicCache:
        language._decoder = lambda chunks: [upstream(language.model, chunk) for chunk in chunks]
        return DynamicCache(config=language.model.config.get_text_config())

    with patch.object(QwenVL, "new_cache", new_cache):
        yield


def upstream(model: Qwen2_5_VLForConditionalGeneration, chunk: Chunk) -> MLLMOutput:
    """A chunk through transformers' own forward."""
    length, count = chunk.cache.get_seq_length(), len(chunk.ids)
    out = model(
        input_ids=chunk.ids[None], past_key_values=chunk.cache, pixel_values=chunk.pixels,
        position_ids=torch.cat([torch.arange(length, length + count)[None], chunk.positions]).unsqueeze(1),
        attention_mask=torch.ones(1, length + count, dtype=torch.long), image_grid_thw=chunk.grids,
        output_hidden_states=True, use_cache=True, logits_to_keep=1,
    )  # fmt: skip
    return MLLMOutput(out.logits[0, -1], torch.stack(out.hidden_states[1:], dim=2)[0])


@contextmanager
def _streamed() -> Iterator[None]:
    """The graph's nodes in threads of LangGraph's, as where its events are streamed."""

    def streamed(graph: CompiledStateGraph, state: object, config: object, **options: object) -> object:
        values: object = None
        for mode, chunk in graph.stream(state, config, stream_mode=["custom", "values"], **options):
            values = chunk if mode == "values" else values
        return values

    with patch.object(CompiledStateGraph, "invoke", streamed):
        yield


@contextmanager
def _no_latents() -> Iterator[None]:
    """Pictures go through the VAE again."""
    inner = Session.append

    def again(session: Session, image: Image.Image, _: Tensor) -> None:
        inner(session, image, session.pipeline.encode_picture(image))

    with patch.object(Session, "append", again):
        yield


RIVALS: dict[str, Rival] = {
    "stock": Rival(stock),
    "strict": Rival(strict_path),
    "fast": Rival(fast),
    "onnx": Rival(fast, "onnx"),
    "few steps": Rival(fast, few=True),
    "onnx, few steps": Rival(fast, "onnx", True),
    "onnx, few steps, int8": Rival(fast, "onnx", True, "int8"),
    "- sessions": _without(_no_sessions),
    "- context K/V": _without(_no_context),
    "- frame K/V": _without(_no_frames),
    "- latents": _without(_no_latents),
    "- denoiser": _without(_no_denoiser),
    "- packed text": _without(_no_packed_text),
    "- one thread": _without(_streamed),
}
