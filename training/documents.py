"""The world's tasks as documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PIL import Image

from duogen.document import Document, Picture
from duogen.models.layout import Turn
from duogen.training.data import turns_of_task
from duogen.training.world.task import Task


def document_of_task(task: Task) -> Document:
    """A task of the world as a training document, pictures and all."""
    return document_of(turns_of_task(task))


def document_of(turns: Iterable[Turn]) -> Document:
    """A dialogue as a document."""
    document = Document()
    for role, parts in turns:
        known: Any = role
        document.add_message(known)
        for part in parts:
            if isinstance(part, str):
                document.add_text(part)
            elif isinstance(part, Image.Image):
                document.add_picture(Picture.from_image(part))
    return document
