"""The native planner: the model's own MLLM writes, and its own `<BOV>` decides when to draw."""

from __future__ import annotations

from collections.abc import Callable

from duogen.document import Document
from duogen.models.session import DecodeSettings
from duogen.models.sessions import LatentOf, SessionPool
from duogen.planners.base import Draft


class NativePlanner:
    """A `Planner` on the MLLM of a pipeline.

    Args:
        sessions: shared with the image tool, so that text and pictures use one cache.
        latent_of: finds the latents of pictures that were painted before a session was lost.
    """

    def __init__(self, sessions: SessionPool, latent_of: LatentOf, settings: DecodeSettings | None = None) -> None:
        self.sessions, self.latent_of, self.settings = sessions, latent_of, settings or DecodeSettings()

    def draft(
        self, run: str, document: Document, on_text: Callable[[str], None], max_tokens: int | None = None
    ) -> Draft:
        session = self.sessions.open(run, document, self.latent_of)
        # While it writes, the session stands nowhere: whatever ends this call early must not leave it behind.
        self.sessions.close(run)
        pieces = []
        # Every piece of an answer has a seed of its own, so that a resumed run writes what it would have written.
        limit = self.settings.max_tokens if max_tokens is None else min(max_tokens, self.settings.max_tokens)
        changes = {"seed": self.settings.seed + len(document.images), "max_tokens": limit}
        for piece in session.decode(self.settings.model_copy(update=changes)):
            pieces.append(piece)
            on_text(piece)
        text = "".join(pieces)
        after = document.branch()
        after.add_text(text)
        # A model may write a text in other tokens than the tokenizer would. Then the session is made anew from the document,
        # here as after a crash, so that both go on alike.
        if self.sessions.pipeline.processor.encode(text) == session.written:
            self.sessions.keep(run, after, session)
        return Draft(text, session.stopped, len(session.written))
