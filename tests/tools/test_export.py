from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from duogen.document import Document, Picture
from duogen.tools.export import title_of, to_html, to_markdown, write_plan

HOSTILE = '<script>alert(1)</script> [x](javascript:alert(1)) `code` *bold* # head & "quotes" \' ]( ![](http://x/y.png)'


@pytest.fixture
def document(picture: Picture) -> Document:
    made = Document()
    made.add_request("How do I\nbuild it?")
    made.add_message("assistant")
    made.add_text("Here is how.\nStep 1: Begin.")
    made.add_picture(picture, alt="Step 1: Begin.")
    made.add_text("Step 2: End.")
    made.add_request("Now again.", [picture])
    made.add_message("assistant")
    made.add_text("Sure.")
    return made


def test_markdown(document: Document) -> None:
    lines = to_markdown(document).splitlines()
    assert lines[0] == "# How do I build it?"
    assert f"![Step 1: Begin.]({document.images[0].image})" in lines
    assert "> Now again." in lines
    assert lines.index("Step 2: End.") > lines.index(f"![Step 1: Begin.]({document.images[0].image})")


def test_html_holds_everything_itself(document: Document) -> None:
    page = to_html(document)
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert title_of(document) in page


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_text_never_becomes_markup(picture: Picture) -> None:
    document = Document()
    document.add_request(HOSTILE)
    document.add_message("assistant")
    document.add_text(HOSTILE)
    document.add_picture(picture, alt=HOSTILE + '" onload="alert(1)')
    parser = _Tags()
    parser.feed(to_html(document))
    assert parser.tags == {"html", "head", "meta", "title", "style", "body", "h1", "p", "figure", "img", "footer"}
    assert parser.attributes <= {"lang", "charset", "name", "content", "class", "src", "alt", "width", "height"}
    assert HOSTILE in parser.text
    markdown = to_markdown(document)
    assert "<script>" not in markdown and not re.search(r"(?<!\\)\[x(?<!\\)\]", markdown)
    assert len(re.findall(r"(?<!\\)!\[", markdown)) == 1, "the one real picture"


def test_write_plan(document: Document, tmp_path: Path) -> None:
    folder = write_plan(document, tmp_path / "out")
    for path in re.findall(r"!\[.*?\]\((.*?)\)", (folder / "plan.md").read_text()):
        assert Picture.from_file(folder / path).sha256 == document.images[0].sha256
    assert Document.load(folder) == document
    assert not list(folder.rglob("*.tmp"))
