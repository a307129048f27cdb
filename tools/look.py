"""The tool that looks: has the picture become what the text says?"""

from __future__ import annotations

from duogen.document import Document, Picture, TextPart
from duogen.models.check import chance_that_it_shows
from duogen.models.pipeline import DuoGenPipeline


class LookTool:
    """Asks a pipeline's MLLM about pictures, beside the dialogue that they belong to."""

    def __init__(self, pipeline: DuoGenPipeline) -> None:
        self.pipeline = pipeline

    def shows(self, document: Document, picture: Picture, step: str | None = None) -> float:
        """How likely it is, to the MLLM, that a picture shows a step, from 0 to 1.

        Args:
            step: what the end of `document` asks for, where it is None: the answer's text since its last picture; where there is
                none, the request.
        """
        earlier = document.images
        before = document.picture(earlier[-1]).image() if earlier else None
        return chance_that_it_shows(self.pipeline, due(document) if step is None else step, before, picture.image())


def due(document: Document) -> str:
    """In words, what the next picture of a document is to show."""
    said = ""
    for part in document.messages[-1].content:
        said = said + part.text if isinstance(part, TextPart) else ""
    if said.strip():
        return said.strip()
    asked = [message.text for message in document.messages if message.role == "user"]
    return asked[-1] if asked else ""
