"""Where a run keeps its pictures and their latents: by content, beside the checkpoints and never in them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from duogen.document import Document, ImagePart, Picture, write_atomically

HIDDEN = ".duogen"


class Store(Protocol):
    """Pictures and packed latents by the picture's SHA-256."""

    def put(self, picture: Picture, latent: bytes | None = None) -> None: ...

    def picture(self, part: ImagePart) -> Picture: ...

    def latent(self, sha256: str) -> bytes | None: ...


class MemoryStore:
    """A store that ends with the process."""

    def __init__(self) -> None:
        self._pictures: dict[str, Picture] = {}
        self._latents: dict[str, bytes] = {}

    def put(self, picture: Picture, latent: bytes | None = None) -> None:
        self._pictures[picture.sha256] = picture
        if latent is not None:
            self._latents[picture.sha256] = latent

    def picture(self, part: ImagePart) -> Picture:
        return self._pictures[part.sha256]

    def latent(self, sha256: str) -> bytes | None:
        return self._latents.get(sha256)


class FolderStore:
    """A plan's folder: pictures where the finished document looks for them, latents in a hidden folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, picture: Picture, latent: bytes | None = None) -> None:
        # The latent first: a picture that is there always has its latent, whatever stops the process between the two.
        if latent is not None:
            write_atomically(self._latent_path(picture.sha256), latent)
        path = self.folder / picture.path
        if not path.exists():
            write_atomically(path, picture.data)

    def picture(self, part: ImagePart) -> Picture:
        return Picture.from_file(self.folder / part.image)

    def latent(self, sha256: str) -> bytes | None:
        path = self._latent_path(sha256)
        return path.read_bytes() if path.exists() else None

    def _latent_path(self, sha256: str) -> Path:
        return self.folder / HIDDEN / "latents" / f"{sha256[:16]}.safetensors"


def attach_all(document: Document, store: Store) -> Document:
    """`document` with the pictures that its messages name."""
    document.attach([store.picture(part) for part in document.images])
    return document
