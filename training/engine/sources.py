"""Where web pages come from: HTML files, folders of them, WARC files. Nothing is fetched here.

A page's pictures are looked for beside it: in the folder that it was saved in, or in the same set of WARC files.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, unquote_to_bytes, urljoin, urlsplit

from warcio.archiveiterator import ArchiveIterator

from duogen.errors import InputError
from duogen.training.engine.item import Dropped, Loss

MAX_PAGE = 10_000_000
"""Bytes of HTML: more isn't a page that somebody reads."""
MAX_PICTURE = 30_000_000
HTML = (".html", ".htm", ".xhtml")
WARC = (".warc", ".warc.gz")


@dataclass(frozen=True)
class Entry:
    """A page that hasn't been read yet.

    `root`: the folder, or the index of WARC files, that its pictures are looked for in. `path`, `offset`: where it stands.
    """

    number: int
    kind: str
    root: Path
    path: Path
    offset: int
    url: str


class Resources(Protocol):
    """What a page refers to."""

    def __call__(self, url: str) -> bytes:
        """The bytes at an address, absolute or relative to the page; raises `Dropped` where they can't be had."""


def there(inputs: list[Path]) -> None:
    """Raises `InputError` where one of the inputs isn't there."""
    for given in inputs:
        if not given.exists():
            raise InputError(f"{given}: there is no such file or folder")


def check(inputs: list[Path]) -> None:
    """Raises `InputError` where one of the inputs isn't there, or is a file of another kind."""
    there(inputs)
    for given in inputs:
        if given.is_file() and not given.name.lower().endswith((*HTML, *WARC)):
            raise InputError(f"{given}: neither HTML ({', '.join(HTML)}) nor WARC ({', '.join(WARC)})")


def entries(inputs: list[Path], index: Path) -> Iterator[Entry | Loss]:
    """All pages of some files and folders, in a fixed order; and what of them can't be read.

    Args:
        index: where the index of WARC files is kept; it is made anew.
    """
    number = 0
    archives: list[Path] = []
    for given in inputs:
        files = [given] if given.is_file() else sorted(path for path in given.rglob("*") if path.is_file())
        for path in files:
            name = path.name.lower()
            if name.endswith(WARC):
                archives.append(path)
            elif name.endswith(HTML):
                root = given if given.is_dir() else given.parent
                yield Entry(number, "file", root, path, 0, path.relative_to(root).as_posix())
                number += 1
    if archives:
        for found in _index(archives, index):
            if isinstance(found, Loss):
                yield found
            else:
                path, offset, url = found
                yield Entry(number, "warc", index, path, offset, url)
                number += 1


def _index(archives: list[Path], index: Path) -> Iterator[tuple[Path, int, str] | Loss]:
    """Writes where every record of the archives stands, then gives the pages among them: their pictures may stand behind them."""
    index.parent.mkdir(parents=True, exist_ok=True)
    index.unlink(missing_ok=True)
    with sqlite3.connect(index) as known:
        known.execute("create table records (url text unique, path text, offset integer, page integer)")
        for path in archives:
            fault = _indexed(path, known)
            if fault:
                yield Loss(step="read", what=str(path), reason=fault)
        known.commit()
        for path_, offset, url in known.execute("select path, offset, url from records where page order by rowid"):
            yield Path(path_), offset, url


def _indexed(path: Path, known: sqlite3.Connection) -> str:
    """Notes the records of an archive; returns what is wrong with it, if anything is."""
    last = 0
    try:
        with open(path, "rb") as file:
            records = ArchiveIterator(file)
            for record in records:
                last = records.get_record_offset()
                url = record.rec_headers.get_header("WARC-Target-URI")
                if record.rec_type not in ("response", "resource") or not url:
                    continue
                if record.http_headers and record.http_headers.get_statuscode() != "200":
                    continue
                kind = (record.http_headers or record.rec_headers).get_header("Content-Type") or ""
                row = (url, str(path), last, "html" in kind.lower())
                known.execute("insert or ignore into records values (?, ?, ?, ?)", row)
            # The iterator says nothing of a last record that is cut short.
            file.seek(last)
            record = next(iter(ArchiveIterator(file)))
            if record.length is None or len(record.raw_stream.read()) < record.length:
                known.execute("delete from records where path = ? and offset = ?", (str(path), last))
                return "the archive breaks off in the middle of a record"
    except StopIteration:
        return "there is no record in it; is it an archive?"
    except Exception as error:  # the decompressors' own errors have no common base
        return f"the archive breaks off ({_said(error)})"
    return ""


def read(entry: Entry) -> bytes:
    """The HTML of a page; raises `Dropped` where it is too large or can't be read."""
    if entry.kind == "file":
        try:
            size = entry.path.stat().st_size
            if size > MAX_PAGE:
                raise Dropped(f"the page has {size:,} bytes, more than {MAX_PAGE:,}")
            return entry.path.read_bytes()
        except OSError as error:
            raise Dropped(f"can't be read ({error.strerror or error})") from error
    return _record(entry.path, entry.offset, MAX_PAGE, "page")


def resources(entry: Entry) -> Resources:
    return _Beside(entry) if entry.kind == "file" else _Archived(entry)


@dataclass(frozen=True)
class _Beside:
    """Files in the folder that a page was saved in; nothing outside of it."""

    entry: Entry

    def __call__(self, url: str) -> bytes:
        if url.startswith("data:"):
            return inlined(url)
        parts = urlsplit(url)
        if parts.scheme not in ("", "file") or parts.netloc:
            raise Dropped("not on disk")
        name = unquote(parts.path)
        if not name or "\0" in name:
            raise Dropped("no usable address")
        root = self.entry.root.resolve()
        path = (root / name.lstrip("/") if name.startswith("/") else self.entry.path.parent / name).resolve()
        if not path.is_relative_to(root):
            raise Dropped("outside of the folder")
        try:
            if path.stat().st_size > MAX_PICTURE:
                raise Dropped(f"a file of more than {MAX_PICTURE:,} bytes")
            return path.read_bytes()
        except OSError as error:
            raise Dropped("not on disk") from error


@dataclass(frozen=True)
class _Archived:
    """Records of the same archives."""

    entry: Entry

    def __call__(self, url: str) -> bytes:
        if url.startswith("data:"):
            return inlined(url)
        whole = urljoin(self.entry.url, url)
        with sqlite3.connect(f"file:{self.entry.root}?mode=ro", uri=True) as known:
            row = known.execute("select path, offset from records where url = ?", (whole,)).fetchone()
        if row is None:
            raise Dropped("not in the archive")
        return _record(Path(row[0]), row[1], MAX_PICTURE, "file")


def inlined(url: str) -> bytes:
    """What a ``data:`` address holds."""
    head, comma, body = url[5:].partition(",")
    if not comma or len(body) > MAX_PICTURE:
        raise Dropped("no usable data: address")
    raw = unquote_to_bytes(body)
    if not head.endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=False)
    except binascii.Error as error:
        raise Dropped("no usable data: address") from error


def _record(path: Path, offset: int, limit: int, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            record = next(iter(ArchiveIterator(file)))
            data = record.content_stream().read(limit + 1)
    except StopIteration as error:
        raise Dropped("the archive breaks off") from error
    except Exception as error:  # the decompressors' own errors have no common base
        raise Dropped(f"the archive is damaged ({_said(error)})") from error
    if len(data) > limit:
        raise Dropped(f"the {what} has more than {limit:,} bytes")
    return bytes(data)


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
