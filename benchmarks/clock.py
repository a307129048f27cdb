"""Where the time goes: calls of a running model, timed and counted by part, without a line in the product's own code."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from duogen.models import strict
from duogen.models.backend import TorchBackend
from duogen.models.denoiser import Denoiser
from duogen.models.dit import CosmosDiT, DiT
from duogen.models.pipeline import DuoGenPipeline

PARTS = ("text", "connector", "condition", "denoising", "codec")
"""`condition`: keys and values of text and of earlier pictures. `codec`: to latents and back. The rest is `else`."""


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Floating-point operations of attention, of shapes."""
    return sdpa_flop_count(query, key, value)


# torch's own counter knows attention on GPUs alone.
_ALSO_COUNTED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}


class Clock:
    """Seconds, calls and tokens by part, and each call's floating-point operations on demand, whose counting takes time.

    What runs within a part is timed with it, and its tokens are counted where the part's own aren't.
    """

    def __init__(self, flops: bool = False) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, list[float]] = defaultdict(list)
        self.tokens: Counter[str] = Counter()
        self.flops: defaultdict[str, list[int]] = defaultdict(list)
        self._counter = FlopCounterMode(display=False, custom_mapping=_ALSO_COUNTED) if flops else nullcontext()
        self._within = self._counted = False

    @contextmanager
    def watching(self, pipeline: DuoGenPipeline) -> Iterator[None]:
        """Times all that is done with a pipeline meanwhile, whoever does it."""
        language, dit = pipeline.language, pipeline.painter

        def _seen(latents: torch.Tensor) -> int:
            return len(latents) * dit.tokens_of(latents)

        with ExitStack() as stack:
            put = lambda *args: stack.enter_context(self._wrapped(*args))  # noqa: E731
            put(language, "extend", "text", lambda chunks: sum(len(chunk.ids) for chunk in chunks))
            put(strict, "prefill", "text", lambda _, __, ___, length: length)
            put(pipeline.mllm, "generate", "text", None)
            # Within `generate` the forward passes are counted, and timed with it.
            put(pipeline.mllm, "forward", "text", lambda input_ids, **_: input_ids.shape[1])
            put(pipeline.connector, "forward", "connector", None)
            if not isinstance(pipeline.backend, TorchBackend):  # its connector is one with what follows
                put(pipeline.backend, "condition", "condition", None)
            put(dit, "context", "condition", None)
            put(pipeline.transformer, "forward", "denoising", lambda shown, *_, **__: _tokens(dit, shown))
            put(
                CosmosDiT,
                "__call__",
                _part_of_frames,
                lambda _, frames, *__, **___: sum(map(_frame_tokens(dit), frames)),
            )
            put(Denoiser, "__init__", "condition", None)
            put(Denoiser, "keep", "condition", lambda it, latents: it.branches * _seen(latents))
            put(
                Denoiser,
                "__call__",
                "denoising",
                lambda it, latents, _, guided: (it.branches if guided else 1) * _seen(latents),
            )
            put(pipeline, "encode_picture", "codec", None)
            put(pipeline, "decode_picture", "codec", None)
            yield

    @contextmanager
    def _wrapped(
        self, owner: Any, name: str, part: str | Callable[..., str], count: Callable[..., int] | None
    ) -> Iterator[None]:
        inner = getattr(owner, name)

        @wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            key = part if isinstance(part, str) else part(*args, **kwargs)
            if count is not None and not self._counted:
                self.tokens[key] += count(*args, **kwargs)
            if self._within:
                return inner(*args, **kwargs)
            self._within, self._counted, began = True, count is not None, now()
            try:
                with self._counter as counter:
                    return inner(*args, **kwargs)
            finally:
                took = now() - began
                self.seconds[key] += took
                self.calls[key].append(took)
                self._within = self._counted = False
                if counter is not None:
                    self.flops[key].append(counter.get_total_flops())

        own = name in vars(owner)
        setattr(owner, name, timed)
        try:
            yield
        finally:
            if own:
                setattr(owner, name, inner)
            else:
                delattr(owner, name)


def now() -> float:
    """The time in seconds, with nothing left to do on a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _part_of_frames(_: CosmosDiT, frames: Any, *__: Any, **___: Any) -> str:
    return "condition" if all(frame.condition for frame in frames) else "denoising"


def _frame_tokens(dit: DiT) -> Callable[[Any], int]:
    return lambda frame: len(frame.sigma) * dit.tokens_of(frame.latent)


def _tokens(dit: DiT, shown: torch.Tensor) -> int:
    return len(shown) * shown.shape[2] * dit.tokens_of(shown)
