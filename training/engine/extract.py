"""A page's main content, text and pictures in the order of the page.

trafilatura decides what is content and what is around it. Before it does, what nobody sees is taken out, and every picture is replaced by
a number: so that pictures which load late, come in several sizes, or carry a caption are found with all that the page says of them.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

import trafilatura
from lxml import html as lxml_html
from lxml.etree import LxmlError

from duogen.training.engine.item import Draft, Dropped, Figure, Loss, Passage, identity
from duogen.training.engine.sources import Entry

HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(\.0+)?\s*(;|$)|font-size\s*:\s*0|text-indent\s*:\s*-\d{3,}|left\s*:\s*-\d{4,}"
)
LATE = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-hi-res-src", "data-url")
LICENCES = re.compile(r"(?:creativecommons\.org/(?:licenses/([a-z-]+)(?:/([\d.]+))?|publicdomain/(zero|mark)))", re.I)
WRAPPERS = ("figure", "picture", "a", "div", "span", "center", "b", "i", "em", "strong")
BLOCKS = ("div", "section", "article", "main", "body", "center", "figure", "dd")
_NUMBERED = "picture-{}.jpg"
_NUMBER = re.compile(r"picture-(\d+)\.jpg$")
_ENTRY = re.compile(r"(?:- |\d{1,2}\. )\S")
_BULLET = re.compile(r"^\s*(?:[-*•·–]|\d{1,2}[.)])\s+")


def extract(entry: Entry, page: bytes) -> Draft:
    """The draft of a page; raises `Dropped` where there is nothing to make one of."""
    text = _decoded(page)
    try:
        tree = lxml_html.document_fromstring(text, parser=lxml_html.HTMLParser(encoding="utf-8", huge_tree=False))
    except (LxmlError, ValueError, AssertionError) as error:
        raise Dropped("no HTML can be made out in it") from error
    draft = Draft(
        number=entry.number, id=identity(entry.kind, entry.url), source=str(entry.path.name), url=entry.url,
        title=_title(tree), licence=_licence(tree),
    )  # fmt: skip
    base = tree.find(".//base")
    root = base.get("href", "") if base is not None else ""
    losses = _take_out_hidden(tree)
    figures = _number_pictures(tree, root)
    _write_out_lists(tree)
    try:
        found: Any = trafilatura.bare_extraction(
            tree, include_images=True, include_tables=True, include_comments=False, with_metadata=False, fast=True
        )
    except (LxmlError, ValueError, RecursionError) as error:
        raise Dropped("its main content can't be made out") from error
    if found is None or found.body is None:
        raise Dropped("it has no main content")
    reader = _Reader(figures)
    reader.read(found.body)
    outside = len(figures) - len(reader.seen)
    if outside:
        losses.append(Loss(step="extract", what=f"{outside} pictures", reason="outside of the main content"))
    if not reader.blocks:
        raise Dropped("it has no main content")
    return draft.model_copy(update={"blocks": reader.blocks, "losses": losses})


class _Reader:
    """Reads trafilatura's tree: ``head``, ``p``, ``list/item``, ``quote``, ``code``, ``table/row/cell``, ``graphic``."""

    def __init__(self, figures: list[Figure]) -> None:
        self.figures, self.blocks, self.seen = figures, list[Passage | Figure](), set[int]()

    def read(self, parent: Any) -> None:
        for child in parent:
            match child.tag:
                case "graphic":
                    self._picture(child)
                case "list":
                    ordered = "ol" in (child.get("rend") or "")
                    for number, item in enumerate(child.iterchildren("item"), 1):
                        self._text(item, "item", f"{number}. " if ordered else "- ")
                case "table":
                    for row in child.iter("row"):
                        self._row(row)
                case "head":
                    self._text(child, "heading")
                case "quote" | "code":
                    self._text(child, child.tag)
                case "p":
                    said = "".join(child.itertext()).lstrip()
                    self._text(child, "item" if _ENTRY.match(said) else "paragraph")
                case _:
                    self.read(child)

    def _text(self, element: Any, kind: Any, mark: str = "") -> None:
        """An element's text; its pictures between what stands before and behind them."""
        pieces: list[str | Any] = []
        self._collect(element, pieces)
        text = ""
        for piece in [*pieces, None]:
            if isinstance(piece, str):
                text += piece
                continue
            self._say(text, kind, mark)
            text, mark = "", ""
            if piece is not None:
                self._picture(piece)

    def _collect(self, element: Any, pieces: list[str | Any]) -> None:
        pieces.append(element.text or "")
        for child in element:
            if child.tag == "graphic":
                pieces.append(child)
            else:
                if child.tag in ("lb", "item", "p", "list"):
                    pieces.append("\n")
                self._collect(child, pieces)
            pieces.append(child.tail or "")

    def _say(self, text: str, kind: Any, mark: str) -> None:
        if kind != "code":
            text = " ".join(text.split()).rstrip("¶ ")
        if text.strip():
            body = _BULLET.sub("", text) if mark else text
            self.blocks.append(Passage(kind=kind, text=f"{mark}{body}"))

    def _row(self, row: Any) -> None:
        cells = []
        for cell in row.iterchildren("cell"):
            pieces: list[str | Any] = []
            self._collect(cell, pieces)
            cells.append(" ".join("".join(piece for piece in pieces if isinstance(piece, str)).split()))
            for piece in pieces:
                if not isinstance(piece, str):
                    self._picture(piece)
        self._say(" | ".join(cell for cell in cells if cell), "table", "")

    def _picture(self, element: Any) -> None:
        match = _NUMBER.search(element.get("src") or "")
        if match and int(match[1]) < len(self.figures):
            number = int(match[1])
            if number not in self.seen:
                self.seen.add(number)
                self.blocks.append(self.figures[number])


def _decoded(page: bytes) -> str:
    from trafilatura.utils import decode_file

    text = decode_file(page)
    # An XML declaration with an encoding is refused beside text that is decoded already.
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text).replace("\0", "")


def _take_out_hidden(tree: Any) -> list[Loss]:
    lost = []
    for element in list(tree.iter()):
        if not isinstance(element.tag, str) or element.tag in (
            "script",
            "style",
            "noscript",
            "template",
            "iframe",
            "object",
            "svg",
            "canvas",
        ):
            _remove(element)
        elif (
            "hidden" in element.attrib
            or element.get("aria-hidden") == "true"
            or HIDDEN.search((element.get("style") or "").lower())
        ) and element.tag not in ("html", "body"):
            said = " ".join(element.text_content().split())
            if said:
                lost.append(Loss(step="extract", what=said[:120], reason="hidden from readers"))
            _remove(element)
    return lost


def _remove(element: Any) -> None:
    """Takes an element out; the text behind it stays."""
    parent = element.getparent()
    if parent is None:
        return
    tail, before = element.tail or "", element.getprevious()
    if before is not None:
        before.tail = (before.tail or "") + tail
    else:
        parent.text = (parent.text or "") + tail
    parent.remove(element)


def _number_pictures(tree: Any, root: str) -> list[Figure]:
    figures = []
    for image in list(tree.iter("img")):
        url = _address(image)
        if not url:
            _remove(image)
            continue
        figures.append(
            Figure(
                url=urljoin(root, url) if root and not url.startswith("data:") else url,
                alt=" ".join((image.get("alt") or image.get("title") or "").split()), caption=_caption(image),
                around=_around(image), declared=(_pixels(image, "width"), _pixels(image, "height")),
            )
        )  # fmt: skip
        for name in list(image.attrib):
            del image.attrib[name]
        image.set("src", _NUMBERED.format(len(figures) - 1))
        _bare(image)
    return figures


def _write_out_lists(tree: Any) -> None:
    """Makes paragraphs of lists that aren't menus: trafilatura drops some of them, and doesn't read all blocks within entries."""
    for written in list(tree.iter("ol", "ul")):
        if written.find(".//a[@href]") is not None or any(
            each is not written for each in (*written.iter("ol", "ul"), *written.iterancestors("ol", "ul"))
        ):
            continue
        for number, entry in enumerate(written.iterchildren("li"), 1):
            for inner in list(entry.iter("div", "section", "p")):
                inner.text, inner.tail = f" {inner.text or ''}", f" {inner.tail or ''}"
                inner.drop_tag()
            mark = f"{number}. " if written.tag == "ol" else "- "
            # The mark stands before the first words, behind pictures that come before them.
            if (entry.text or "").strip() or not len(entry):
                entry.text = mark + _unmarked(entry.text or "", number)
            else:
                at = next((each for each in entry if each.tag != "img" or (each.tail or "").strip()), entry[-1])
                if at.tag == "img":
                    at.tail = mark + _unmarked(at.tail or "", number)
                else:
                    at.text = mark + (at.text or "")
            entry.tag = "p"
            entry.attrib.clear()
        written.tag = "div"
        written.attrib.clear()


def _unmarked(text: str, number: int) -> str:
    """Without the number that a list's entry writes by itself."""
    return re.sub(rf"^\s*{number}[.):]?\s+", "", text.lstrip())


def _bare(image: Any) -> None:
    """Puts a picture in a paragraph, in place of elements that hold nothing else: trafilatura doesn't look into all of these."""
    while True:
        parent = image.getparent()
        if parent is None or parent.getparent() is None or parent.tag not in WRAPPERS:
            break
        for other in list(parent):
            if other is not image and other.tag in ("source", "figcaption", "br"):
                _remove(other)
        if len(parent) > 1 or (parent.text or "").strip() or (image.tail or "").strip():
            break
        image.tail = parent.tail
        parent.getparent().replace(parent, image)
    if parent is not None and parent.tag in BLOCKS:
        alone = lxml_html.Element("p")
        alone.tail, image.tail = image.tail, None
        parent.replace(image, alone)
        alone.append(image)


def _address(image: Any) -> str:
    """Where the best of a picture's files is."""
    given = [image.get(name) or "" for name in (*LATE, "src")]
    sets = [image.get("data-srcset") or image.get("srcset") or ""]
    if image.getparent() is not None and image.getparent().tag == "picture":
        sets += [source.get("data-srcset") or source.get("srcset") or "" for source in image.getparent().iter("source")]
    plain = [url.strip() for url in given if url.strip() and not url.startswith("data:image/gif")]
    if plain:
        return plain[0]
    best = [_largest(each) for each in sets if each]
    return next((url for url in best if url), "")


def _largest(srcset: str) -> str:
    choices = []
    for each in re.split(r",\s+", srcset.strip()):
        url, _, size = each.strip().partition(" ")
        number = re.match(r"[\d.]+", size.strip())
        choices.append((float(number[0]) if number else 1.0, url))
    return max(choices)[1] if choices else ""


def _caption(image: Any) -> str:
    for parent in image.iterancestors():
        if parent.tag == "figure":
            said = [" ".join(each.text_content().split()) for each in parent.iter("figcaption")]
            return " ".join(said)
        if parent.tag in ("article", "main", "section", "body"):
            break
    return ""


def _around(image: Any) -> str:
    said = []
    for element in [image, *image.iterancestors()][:6]:
        said += [element.get("class") or "", element.get("id") or ""]
        if element.tag == "a":
            said.append("link:" + (element.get("href") or ""))
    return " ".join(" ".join(said).split())[:400]


def _pixels(image: Any, name: str) -> int:
    found = re.match(r"\s*(\d{1,5})", image.get(name) or "")
    styled = re.search(rf"(?:^|;|\s){name}\s*:\s*(\d{{1,5}})px", image.get("style") or "")
    return int(found[1]) if found else int(styled[1]) if styled else 0


def _title(tree: Any) -> str:
    for path in (".//h1", ".//meta[@property='og:title']", ".//title"):
        for element in tree.iterfind(path):
            said = " ".join((element.get("content") or element.text_content() or "").split())
            if said:
                # The name of the site stands behind the title's last bar or dash.
                return (
                    re.split(r"\s+[|–—·»]\s+|\s+-\s+(?=[^-]*$)", said)[0].rstrip("¶# ")
                    if path != ".//h1"
                    else said.rstrip("¶# ")
                )
    return ""


def _licence(tree: Any) -> str:
    for element in tree.iter("a", "link", "meta"):
        address = element.get("href") or element.get("content") or ""
        match = LICENCES.search(address)
        if match:
            if match[3]:
                return "CC0" if match[3].lower() == "zero" else "public domain"
            return " ".join(filter(None, ["CC", match[1].upper(), match[2]]))
        if "license" in (element.get("rel") or "").lower() or "licence" in (element.get("rel") or "").lower():
            return " ".join((element.text_content() or address).split())[:100]
        if (element.get("name") or "").lower() in ("license", "licence", "dc.rights", "copyright", "rights"):
            return address[:100]
    return ""
