"""The vllm planner: the pipeline's own MLLM, served by vLLM, writes; it stops at `<BOV>`, and its prefix cache does the re-use.

Every call sends the whole dialogue as token ids, one placeholder a picture, so that text can't be taken for a special token. The DiT
is conditioned on the local MLLM, which reads behind what vLLM has written.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from duogen.document import Document, Picture
from duogen.errors import DuoGenError
from duogen.models.layout import Tape, lay_out, turns_of
from duogen.models.processor import BOV, IM_END, IMAGE_PAD
from duogen.models.session import DecodeSettings, repeats
from duogen.models.sessions import LatentOf, SessionPool
from duogen.planners.base import Draft

MAX_PICTURES = 64
"""Of a whole dialogue."""


@dataclass(frozen=True)
class Prompt:
    """A dialogue for vLLM.

    `ids`: tokens with a single placeholder for each of `images`, of which vLLM makes as many as the picture needs; `whole`: with all of
    them. `stops`: tokens that end what is written.
    """

    ids: list[int]
    whole: list[int]
    images: list[Image.Image]
    stops: list[int]


class Writer(Protocol):
    """Where tokens come from."""

    def tokens(self, prompt: Prompt, settings: DecodeSettings) -> Iterator[int]:
        """The tokens behind a dialogue, the stop token included."""


class VllmPlanner:
    """A `Planner` whose text vLLM writes.

    Args:
        sessions: of the image tool; its session reads what was written, and nothing twice.
        latent_of: finds the latents of pictures that were painted before a session was lost.
    """

    def __init__(
        self, sessions: SessionPool, latent_of: LatentOf, writer: Writer, settings: DecodeSettings | None = None
    ) -> None:
        self.sessions, self.latent_of, self.writer = sessions, latent_of, writer
        self.settings = settings or DecodeSettings()

    def draft(
        self, run: str, document: Document, on_text: Callable[[str], None], max_tokens: int | None = None
    ) -> Draft:
        """The text up to the next `<BOV>` or the end; see `Planner`.

        Raises:
            DuoGenError: vLLM can't be reached, refuses, or has read another dialogue than was sent.
        """
        pipeline = self.sessions.pipeline
        processor = pipeline.processor
        turns = turns_of(document, pipeline.config.system_prompt)
        tape, _ = lay_out(turns, processor, open_end=True)
        images = [part for _, parts in turns for part in parts if isinstance(part, Image.Image)]
        limit = self.settings.max_tokens if max_tokens is None else min(max_tokens, self.settings.max_tokens)
        changes = {"seed": self.settings.seed + len(images), "max_tokens": limit}
        bov, end = processor.id(BOV), processor.id(IM_END)
        written: list[int] = []
        text, stop = "", "length"
        source = self.writer.tokens(
            Prompt(with_one_pad(tape), tape.ids, images, [bov, end]), self.settings.model_copy(update=changes)
        )
        for token in source:
            if token in (bov, end):
                stop = "picture" if token == bov else "end"
                break
            written.append(token)
            known, text = text, processor.decode(written)
            # A character of several bytes may still be incomplete.
            if text.endswith("\ufffd"):
                text = known
            elif len(text) > len(known):
                on_text(text[len(known) :])
            if repeats(written):
                stop = "repetition"
                break
        whole = processor.decode(written)
        if len(whole) > len(text):
            on_text(whole[len(text) :])
        if stop == "picture":
            session = self.sessions.open(run, document, self.latent_of)
            session.read(whole)
            after = document.branch()
            after.add_text(whole)
            self.sessions.keep(run, after, session)
        return Draft(whole, stop, len(written))  # type: ignore[arg-type]


def with_one_pad(tape: Tape) -> list[int]:
    """A tape's tokens with a single placeholder for each picture: vLLM makes as many of it as the picture needs."""
    pad = tape.processor.id(IMAGE_PAD)
    return [token for index, token in enumerate(tape.ids) if token != pad or tape.ids[index - 1] != pad]


class VllmEngine:
    """vLLM in this process.

    Args:
        folder: of `duogen.models.served`.
        dtype: of the weights, as torch calls it; left to itself, vLLM computes float32 weights in 16 bits.
        options: further arguments of ``vllm.LLM``.
    """

    def __init__(self, folder: Path, dtype: str = "auto", **options: Any) -> None:
        # vLLM reads these when it is imported. In processes of its own it would start all over again for every run.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        try:
            from vllm import LLM
        except ImportError as error:
            raise DuoGenError(f"vLLM can't be used here ({error}); pip install vllm, or give a server's URL") from error
        limits = {"image": MAX_PICTURES, "video": 0}
        # Blocks of 32 tokens are the smallest that the CPU's attention has: a short dialogue is to be found again, too.
        chosen = {"enforce_eager": True, "limit_mm_per_prompt": limits, "block_size": 32, "max_num_seqs": 8, **options}
        self.llm = LLM(model=str(folder), dtype=dtype, **chosen)
        self._calls, self._lock = 0, threading.Lock()

    def tokens(self, prompt: Prompt, settings: DecodeSettings) -> Iterator[int]:
        # The engine belongs to one caller at a time; plans that run together take turns.
        with self._lock:
            yield from self._write(prompt, settings)

    def _write(self, prompt: Prompt, settings: DecodeSettings) -> Iterator[int]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._calls += 1
        name, engine = str(self._calls), self.llm.llm_engine
        given: dict[str, Any] = {"prompt_token_ids": prompt.ids}
        if prompt.images:
            given["multi_modal_data"] = {"image": prompt.images}
        sampling = SamplingParams(**_sampling(prompt.stops, settings), output_kind=RequestOutputKind.DELTA)
        engine.add_request(name, given, sampling)
        try:
            while engine.has_unfinished_requests():
                for output in engine.step():
                    if output.request_id == name:
                        _same(output.prompt_token_ids, prompt.whole)
                        yield from output.outputs[0].token_ids
        finally:
            engine.abort_request([name])


class VllmServer:
    """vLLM's server, started with ``--enable-scale-out``, which lets it take token ids together with pictures.

    Args:
        url: of the server, without ``/v1``.
        model: its name there.
        timeout: seconds to wait for the server to go on.
    """

    def __init__(self, url: str, model: str, timeout: float = 120.0) -> None:
        self.url, self.model, self.timeout = url.rstrip("/").removesuffix("/v1"), model, timeout

    def tokens(self, prompt: Prompt, settings: DecodeSettings) -> Iterator[int]:
        parts = [{"type": "image_url", "url": Picture.from_image(image).data_url} for image in prompt.images]
        body = {
            "model": self.model, "token_ids": prompt.ids, "content_parts": parts or None, "stream": True,
            "sampling_params": _sampling(prompt.stops, settings), "stream_options": {"include_usage": True},
        }  # fmt: skip
        request = urllib.request.Request(
            f"{self.url}/inference/v1/generate", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                for line in answer:
                    data = line.removeprefix(b"data:").strip()
                    if data in (b"", b"[DONE]"):
                        continue
                    chunk = json.loads(data)
                    if chunk.get("error"):
                        raise DuoGenError(f"{self.url} refused: {str(chunk['error'])[:300]}")
                    read = (chunk.get("usage") or {}).get("prompt_tokens")
                    if read not in (None, len(prompt.whole)):
                        raise DuoGenError(f"{self.url} has read {read} tokens where {len(prompt.whole)} were meant")
                    for choice in chunk.get("choices") or []:
                        yield from choice.get("token_ids") or []
        except urllib.error.HTTPError as error:
            hint = "; start it with --enable-scale-out" if error.code in (403, 404) else ""
            said = error.read().decode(errors="replace")[:300]
            raise DuoGenError(f"{self.url} refused with status {error.code}{hint}: {said}") from error
        except (OSError, ValueError) as error:
            raise DuoGenError(f"vLLM at {self.url} can't be used ({error}); the run can be continued") from error


def _sampling(stops: list[int], settings: DecodeSettings) -> dict[str, Any]:
    return {
        "temperature": settings.temperature, "top_p": settings.top_p, "max_tokens": settings.max_tokens, "seed": settings.seed,
        "stop_token_ids": stops, "include_stop_str_in_output": True, "skip_special_tokens": False,
    }  # fmt: skip


def _same(read: list[int] | None, meant: list[int]) -> None:
    """Placeholders and pictures that don't match are read without a word, as something else."""
    if read and read != meant:
        raise DuoGenError("vLLM has read another dialogue than was sent: its placeholders don't match the pictures")
