"""Web pages to dialogues (paper, section 5: the web engine).

read -> extract -> text -> pictures -> duplicates | across pages | rewrite -> describe -> place -> dialogue -> validate
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from duogen.training.engine.answers import Model
from duogen.training.engine.config import EngineConfig
from duogen.training.engine.describe import Describe
from duogen.training.engine.dialogue import Dialogue, Validate
from duogen.training.engine.duplicates import Distinct
from duogen.training.engine.extract import extract
from duogen.training.engine.fetch import Fetched, Fetcher
from duogen.training.engine.item import Draft, Dropped, Loss, Step, Store, identity
from duogen.training.engine.pictures import PickPictures
from duogen.training.engine.place import Place
from duogen.training.engine.rewrite import Rewrite
from duogen.training.engine.run import Job, Record, dropped, through
from duogen.training.engine.sources import Entry, entries, read, resources
from duogen.training.engine.text import Repair

STEPS = (
    "read",
    "extract",
    "text",
    "pictures",
    "duplicates",
    "across",
    "rewrite",
    "describe",
    "place",
    "dialogue",
    "validate",
)


@dataclass(frozen=True)
class BeginPage:
    """From a page to a draft whose text and pictures are worth keeping.

    Args:
        pictures: the folder of the store.
        fetch: whether pictures that aren't beside the page, and pages that are given by their addresses, are fetched.
    """

    pictures: Path
    config: EngineConfig
    fetch: bool = False

    def __call__(self, job: Job) -> Record:
        entry = Entry(job["number"], job["kind"], Path(job["root"]), Path(job["path"]), job["offset"], job["url"])
        draft = Draft(number=entry.number, id=identity(entry.kind, entry.url), source=entry.path.name, url=entry.url)
        fetcher = Fetcher.of(self.config.fetch) if self.fetch else None
        at = "read"
        try:
            if entry.kind == "address":
                assert fetcher is not None
                page = fetcher.page(entry.url)
            else:
                page = read(entry)
            draft = draft.counted(at)
            at = "extract"
            draft = extract(entry, page).model_copy(update={"counts": draft.counts}).counted(at)
        except Dropped as why:
            return dropped(draft, at, str(why))
        store = Store(self.pictures)
        near = resources(entry)
        steps: list[Step] = [
            Repair(self.config.text),
            PickPictures(near if fetcher is None else Fetched(near, fetcher, entry.url), store, self.config.pictures),
            Distinct(self.config.pictures, self.config.documents),
        ]
        return through(draft, steps)


def finishing(config: EngineConfig, pictures: Path, writer: Model | None, viewer: Model | None) -> list[Step]:
    """The steps of the second half.

    Args:
        writer: words passages and requests, and places pictures. viewer: describes pictures. Rules stand in where one is None.
    """
    return [
        Rewrite(writer), Describe(Store(pictures), viewer), Place(writer), Dialogue(config.documents, config.seed, writer),
        Validate(config.documents),
    ]  # fmt: skip


def jobs(inputs: list[Path], addresses: list[str], index: Path, lost: list[Loss]) -> Iterator[Job]:
    """All pages, numbered; what of the sources can't be read is added to `lost`."""
    number = 0
    for entry in entries(inputs, index):
        if isinstance(entry, Loss):
            lost.append(entry)
            continue
        number = entry.number + 1
        yield {
            "number": entry.number, "kind": entry.kind, "root": str(entry.root), "path": str(entry.path),
            "offset": entry.offset, "url": entry.url,
        }  # fmt: skip
    for place, address in enumerate(addresses, number):
        yield {"number": place, "kind": "address", "root": ".", "path": "", "offset": 0, "url": address}
