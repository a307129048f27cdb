"""What is there twice: pictures within a page, pictures on many pages, and pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasketch import MinHash, MinHashLSH

from duogen.training.engine.config import DocumentLimits, PictureLimits
from duogen.training.engine.item import Draft, Figure
from duogen.training.engine.pictures import apart
from duogen.training.engine.text import words_of

SHINGLE = 5
SCHEME = "affine32"


@dataclass(frozen=True)
class Distinct:
    """Drops pictures that a page has shown before, near-duplicates with them; notes what tells the page from others.

    Two steps of one plan, seen from one place, have nearly the same perceptual hash: what decides is whether they look alike everywhere.
    """

    pictures: PictureLimits
    documents: DocumentLimits
    name = "duplicates"

    def __call__(self, draft: Draft) -> Draft:
        reasons: dict[int, str] = {}
        seen: list[Figure] = []
        for index, block in enumerate(draft.blocks):
            if not isinstance(block, Figure):
                continue
            if any(block.sha256 == each.sha256 for each in seen):
                reasons[index] = "the page has shown it before"
            elif any(self._alike(block, each) for each in seen):
                reasons[index] = "like a picture before it"
            else:
                seen.append(block)
        draft = draft.without(self.name, reasons)
        return draft.model_copy(update={"signature": signature(draft, self.documents.permutations)})

    def _alike(self, first: Figure, second: Figure) -> bool:
        if apart(first.phash, second.phash) > self.pictures.near:
            return False
        one, two = (bytes.fromhex(each.tiles) for each in (first, second))
        return max(abs(a - b) for a, b in zip(one, two, strict=True)) <= self.pictures.alike


def signature(draft: Draft, permutations: int) -> list[int]:
    """The MinHash of a draft's words, five at a time."""
    words = [word for passage in draft.passages for word in words_of(passage.text)]
    pieces = {" ".join(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1))}
    made = MinHash(num_perm=permutations, seed=1, scheme=SCHEME)
    made.update_batch([piece.encode() for piece in sorted(pieces)])
    return [int(value) for value in made.hashvalues]


@dataclass(frozen=True)
class Known:
    """What of all pages is needed to find what they share: a page's number, its MinHash (empty: like none), its pictures' hashes."""

    number: int
    signature: list[int]
    pictures: tuple[str, ...]

    @classmethod
    def of(cls, draft: dict[str, Any]) -> Known:
        """Of a draft as it is kept in journals; the whole of it needn't be built for that."""
        pictures = tuple(block["sha256"] for block in draft["blocks"] if block["type"] == "picture")
        return cls(draft["number"], draft["signature"], pictures)


class Across:
    """What pages have in common, once all of them are known. The first of two pages that are alike stays."""

    def __init__(self, pages: Iterable[Known], pictures: PictureLimits, documents: DocumentLimits) -> None:
        lsh = MinHashLSH(threshold=documents.similar, num_perm=documents.permutations)
        self.twins: dict[int, int] = {}
        counts: defaultdict[str, int] = defaultdict(int)
        kept: dict[int, MinHash] = {}
        for page in sorted(pages, key=lambda page: page.number):
            for sha256 in set(page.pictures):
                counts[sha256] += 1
            if not page.signature:
                continue
            own = MinHash(
                num_perm=documents.permutations,
                seed=1,
                scheme=SCHEME,
                hashvalues=np.array(page.signature, dtype=np.uint64),
            )
            like = sorted(int(key) for key in lsh.query(own))
            twin = next((key for key in like if kept[key].jaccard(own) >= documents.similar), None)
            if twin is not None:
                self.twins[page.number] = twin
            else:
                lsh.insert(str(page.number), own)
                kept[page.number] = own
        self.furniture = {sha256: count for sha256, count in counts.items() if count > pictures.max_pages}

    def without_furniture(self, draft: Draft) -> Draft:
        """A draft without the pictures that belong to a site rather than to a page."""
        reasons = {
            index: f"it is on {self.furniture[block.sha256]} pages"
            for index, block in enumerate(draft.blocks)
            if isinstance(block, Figure) and block.sha256 in self.furniture
        }
        return draft.without("across", reasons)
