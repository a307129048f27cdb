"""Live sessions by run: the one thing that can't be saved, and needn't be, since a prefill brings it back."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from safetensors.torch import load, save
from torch import Tensor

from duogen.document import Document, TextPart
from duogen.models.layout import turns_of
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.session import Session

LatentOf = Callable[[str], bytes | None]
"""The packed clean latent of the picture with a SHA-256, or None where it isn't known."""


def pack_latent(latent: Tensor) -> bytes:
    """A clean latent as safetensors bytes."""
    return save({"latent": latent.cpu().contiguous()})


def unpack_latent(packed: bytes, device: torch.device) -> Tensor:
    """What `pack_latent` packed."""
    return load(packed)["latent"].to(device)


class SessionPool:
    """Sessions of one pipeline, found again by run and content; runs may come from several threads.

    Args:
        limit: how many are kept; the one that was used longest ago goes first.
    """

    replay = True
    """Whether a lost session comes back to the last bit (`Session`)."""

    def __init__(self, pipeline: DuoGenPipeline, limit: int = 4) -> None:
        self.pipeline, self.limit = pipeline, limit
        self._live: OrderedDict[str, tuple[str, Session]] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, run: str, document: Document, latent_of: LatentOf) -> Session:
        """The run's session if it stands exactly where `document` does, else a new one, prefilled."""
        mark, session = self._live.get(run, ("", None))
        if session is None or mark != fingerprint(document):
            latents = {}
            for index, part in enumerate(document.images):
                packed = latent_of(part.sha256)
                if packed is not None:
                    latents[index] = unpack_latent(packed, self.pipeline.work_device)
            session = Session(
                self.pipeline, turns_of(document, self.pipeline.config.system_prompt), latents, self.replay
            )
        self.keep(run, document, session)
        return session

    def keep(self, run: str, document: Document, session: Session) -> None:
        """Notes that a run's session now stands where `document` does."""
        with self._lock:
            self._live[run] = (fingerprint(document), session)
            self._live.move_to_end(run)
            while len(self._live) > self.limit:
                self._live.popitem(last=False)

    def close(self, run: str) -> None:
        """Forgets a run's session."""
        with self._lock:
            self._live.pop(run, None)


def fingerprint(document: Document) -> str:
    """A hash of everything in a document that a model sees."""
    seen = [
        (message.role, [part.text if isinstance(part, TextPart) else part.sha256 for part in message.content])
        for message in document.messages
    ]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()
