from __future__ import annotations

import re
import zipfile
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest

from duogen.document import Document, Picture
from duogen.errors import DuoGenError, InputError
from duogen.tools.booklet import title_of
from duogen.tools.export import FORMATS, export, to_html, to_markdown, write_plan

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
    assert (
        lines.index("Step 2: End.")
        > lines.index(f"![Step 1: Begin.]({document.images[0].image})")
        > lines.index("**1.** Begin.")
    )


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
    assert parser.tags == {
        "html", "head", "meta", "title", "style", "body", "h1", "ol", "li", "span", "div", "p", "figure", "img", "footer",
    }  # fmt: skip
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


def test_every_format_holds_text_pictures_and_metadata(document: Document, tmp_path: Path) -> None:
    import docx

    written = export(document, list(FORMATS), tmp_path / "out", "how-to")
    assert [path.name for path in written] == [f"how-to.{each}" for each in FORMATS]
    pdf = written[2].read_bytes()
    assert pdf.startswith(b"%PDF-") and pdf.count(b"/Subtype /Image") + pdf.count(b"/Subtype/Image") >= 1
    word = docx.Document(str(written[3]))
    assert word.core_properties.title == "How do I build it?" and len(word.inline_shapes) == 2
    said = [paragraph.text for paragraph in word.paragraphs]
    assert "1.  Begin." in said and "Now again." in said
    assert word.inline_shapes[0]._inline.docPr.get("descr") == "Step 1: Begin."
    first = next(paragraph for paragraph in word.paragraphs if paragraph.text == "1.  Begin.")
    assert first.paragraph_format.keep_with_next, "a step stays on one page"
    book = zipfile.ZipFile(BytesIO(written[4].read_bytes()))
    assert book.namelist()[0] == "mimetype" and book.infolist()[0].compress_type == zipfile.ZIP_STORED
    assert 'alt="Step 1: Begin."' in book.read("book/plan.xhtml").decode()
    assert document.images[0].image in {name.removeprefix("book/") for name in book.namelist()}


def test_the_same_document_gives_the_same_files(document: Document, tmp_path: Path) -> None:
    kinds = ["md", "html", "pdf", "epub"]  # Word's own library writes down when
    one, two = (export(document, kinds, tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_own_templates(document: Document, tmp_path: Path) -> None:
    page = tmp_path / "mine.html.j2"
    page.write_text("<title>{{ booklet.title }}</title>{% include 'body.html.j2' %}")
    (written,) = export(document, ["html"], tmp_path, "html", page)
    assert (
        written.read_text().startswith("<title>How do I build it?</title>") and "data:image/png" in written.read_text()
    )
    sheet = tmp_path / "mine.typ"
    sheet.write_text('#let book = json("booklet.json")\n#text(book.title)')
    (written,) = export(document, ["pdf"], tmp_path, "pdf", sheet)
    assert written.read_bytes().startswith(b"%PDF-")
    for name, content, formats, message in [
        ("a.html.j2", "{% for %}", ["html"], "can't be used"), ("a.html.j2", "{{ ''.__class__.__mro__ }}", ["html"], "can't be used"),
        ("a.html.j2", "x", ["pdf"], "needs its format"), ("a.txt", "x", ["html"], "is called"), ("b.typ", "#", ["pdf"], "can't be made"),
        ("c.typ", '#read("/etc/passwd")', ["pdf"], "can't be made"),
    ]:  # fmt: skip
        (tmp_path / name).write_text(content)
        with pytest.raises(DuoGenError, match=message):
            export(document, formats, tmp_path, "bad", tmp_path / name)
        assert not list(tmp_path.glob("bad.*")), "nothing half-written"


def test_formats_that_are_not_there(document: Document, tmp_path: Path) -> None:
    for formats in ([], ["doc"], ["html", "exe"]):
        with pytest.raises(InputError, match="there are md, html, pdf, docx, epub"):
            export(document, formats, tmp_path)
