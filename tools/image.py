"""The conditioned image tool: text and earlier pictures in, one picture out.

The agent calls `paint` where a plan asks for a picture; `draw` and `edit` use the same painter without a plan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from duogen.document import Document, Picture
from duogen.errors import InputError
from duogen.models.sampler import OnStep, PaintSettings
from duogen.models.session import Session
from duogen.models.sessions import LatentOf, SessionPool, pack_latent, unpack_latent

MAX_REQUEST = 20_000
"""Longest request in characters; the models' contexts end long before a megabyte."""


class ImageRequest(BaseModel):
    """Arguments of the tool when it is called by itself."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    instruction: str = Field(min_length=1, max_length=MAX_REQUEST, description="what the picture should show")
    references: list[Picture] = Field(default_factory=list, max_length=32, description="pictures to start from")
    settings: PaintSettings = PaintSettings()


@dataclass(frozen=True)
class ImageCall:
    """What a planner asks for in so many words: an instruction, and the SHA-256s of the pictures to start from."""

    instruction: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """A picture, the packed clean latent behind it, and the seconds it took."""

    picture: Picture
    latent: bytes
    seconds: float


class ImageTool:
    """Paints with the DiT of a pipeline.

    Args:
        sessions: shared with the native planner.
        latent_of: finds the latents of pictures that were painted before a session was lost.
    """

    def __init__(self, sessions: SessionPool, latent_of: LatentOf = lambda _: None) -> None:
        self.sessions, self.latent_of = sessions, latent_of

    def paint(
        self,
        run: str,
        document: Document,
        settings: PaintSettings,
        on_step: OnStep | None = None,
        call: ImageCall | None = None,
    ) -> Drawn:
        """The picture that is due at the end of `document`, conditioned on all text and pictures before.

        It may be painted several times, with other seeds; the dialogue goes on from the one that is handed to `keep`.

        Args:
            call: what the planner wants to see, in so many words; then the picture is conditioned on these and on the pictures
                that they name, and on nothing else.
        """
        if call is not None:
            known = {part.sha256: document.picture(part) for part in document.images}
            references = [known[sha256] for sha256 in call.references]
            return self.call(
                ImageRequest(instruction=call.instruction, references=references, settings=settings), on_step
            )
        session = self.sessions.open(run, document, self.latent_of)
        if not session.asking:
            session.ask()
        return _paint(session, settings, on_step)

    def keep(self, run: str, document: Document, drawn: Drawn) -> None:
        """Puts a painted picture behind the end of `document` in the run's session."""
        session = self.sessions.open(run, document, self.latent_of)
        if not session.asking:
            session.ask()
        session.append(drawn.picture.image(), unpack_latent(drawn.latent, session.device))
        after = document.branch()
        after.add_picture(drawn.picture)
        self.sessions.keep(run, after, session)

    def call(self, request: ImageRequest, on_step: OnStep | None = None) -> Drawn:
        """Draws from text, or edits where there are references.

        Raises:
            InputError: an empty instruction or a size that the model can't paint.
        """
        if not request.instruction.strip():
            raise InputError("the instruction is empty: say what the picture should show")
        config = self.sessions.pipeline.config
        template = config.edit_template if request.references else config.draw_template
        lead = template.split("{")[0].split()[:1]
        asked = request.instruction.strip()
        if not (lead and asked.lower().startswith(lead[0].lower())):
            asked = template.format(instruction=asked)
        images = [picture.image() for picture in request.references]
        session = Session(self.sessions.pipeline, [("user", [*images, asked])])
        session.ask_at_once(config.in_words)
        return _paint(session, request.settings, on_step)


def _paint(session: Session, settings: PaintSettings, on_step: OnStep | None) -> Drawn:
    """Paints what `session` asks for."""
    began = time.monotonic()
    painted = session.paint(settings, on_step)
    return Drawn(Picture.from_image(painted.image), pack_latent(painted.latent), time.monotonic() - began)
