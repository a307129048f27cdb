"""A document as an EPUB 3 book of one chapter."""

from __future__ import annotations

import hashlib
import io
import zipfile
from html import escape

from duogen.document import Document, Picture
from duogen.tools.booklet import Booklet, booklet
from duogen.tools.export import render_body

STYLE = (
    "body { line-height: 1.5; } figure { margin: .5em 0; } img { max-width: 100%; max-height: 60vh; height: auto; } ol { list-style: none; padding: 0; } "
    ".step { break-inside: avoid; page-break-inside: avoid; margin-bottom: 1.5em; } .number { font-weight: bold; }"
)
CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""When every file in the archive was made: the same document gives the same bytes."""


def to_epub(document: Document) -> bytes:
    """The book."""
    made = booklet(document)
    pictures = {figure.picture.path: figure.picture for figure in made.figures}
    body = render_body(made, lambda picture: picture.path)
    files: dict[str, str | bytes] = {
        "META-INF/container.xml": CONTAINER,
        "book/package.opf": _package(made, pictures),
        "book/nav.xhtml": _page(
            made.title, f'<nav epub:type="toc"><ol><li><a href="plan.xhtml">{escape(made.title)}</a></li></ol></nav>'
        ),
        "book/plan.xhtml": _page(made.title, f"<h1>{escape(made.title)}</h1>\n{body}"),
        "book/style.css": STYLE,
        **{f"book/{path}": picture.data for path, picture in pictures.items()},
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as book:
        # The first file says what the archive is, and isn't packed.
        book.writestr(zipfile.ZipInfo("mimetype", LONG_AGO), "application/epub+zip", zipfile.ZIP_STORED)
        for name, content in files.items():
            book.writestr(zipfile.ZipInfo(name, LONG_AGO), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _package(made: Booklet, pictures: dict[str, Picture]) -> str:
    title = escape(made.title)
    known = hashlib.sha256(repr(([made.title], sorted(pictures))).encode()).hexdigest()[:32]
    items = "".join(
        f'<item id="p{number}" href="{path}" media-type="{picture.mime_type}"/>'
        for number, (path, picture) in enumerate(pictures.items())
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">urn:duogen:{known}</dc:identifier>'
        f"<dc:title>{title}</dc:title><dc:language>en</dc:language><dc:creator>DuoGen</dc:creator>"
        '<meta property="dcterms:modified">1980-01-01T00:00:00Z</meta></metadata><manifest>'
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        '<item id="plan" href="plan.xhtml" media-type="application/xhtml+xml"/>'
        f'<item id="style" href="style.css" media-type="text/css"/>{items}</manifest>'
        '<spine><itemref idref="plan"/></spine></package>'
    )


def _page(title: str, body: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html>'
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en"><head>'
        f'<title>{escape(title)}</title><link rel="stylesheet" type="text/css" href="style.css"/></head><body>{body}</body></html>'
    )
