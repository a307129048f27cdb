"""The world's tasks as documents, and documents as JSONL with their pictures beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from duogen.document import Document, Picture, write_atomically
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


def write_documents(documents: Iterable[Document], path: Path) -> int:
    """Writes a JSONL file, and the documents' pictures into folders beside it; returns how many documents it holds."""
    lines = []
    for document in documents:
        document.write_pictures(path.parent)
        lines.append(json.dumps(document.model_dump(), ensure_ascii=False))
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return len(lines)
