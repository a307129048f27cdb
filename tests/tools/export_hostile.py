"""Writes documents that nobody should write in every format, and opens what comes out with other people's readers.

    python tests/tools/export_hostile.py 500

No traceback; nothing of the text takes effect as markup, script or path; and every file opens: Markdown through a parser, HTML in
Chromium, PDF through pdftotext and pdftoppm, DOCX through LibreOffice, EPUB through an XML parser and, every tenth, epubcheck. A
reader that isn't installed is named.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import Counter
from pathlib import Path

from PIL import Image

from duogen.document import Document, Picture
from duogen.errors import DuoGenError
from duogen.tools.export import FORMATS, export

BAD = [
    "<script>document.title='owned'</script>", "<img src=x onerror=\"document.title='owned'\">", "</title><script>document.title='owned'</script>",
    "{{ 7*7 }}{% include '/etc/passwd' %}", "{{ ''.__class__ }}", '#read("/etc/passwd")', "#set page(fill: red)", "$ x^2 $ @ref <label>",
    "](javascript:alert(1))", "![x](file:///etc/passwd)", "[link](http://127.0.0.1/)", "```\n# head\n```", "---\ntitle: x\n---", "| a | b |\n|---|---|",
    "\u202egnp.exe", "שלום עולם, مرحبا بالعالم", "\u2066\u2067x\u2069", "e\u0301\u0323" * 40, "🙂👩‍👩‍👧‍👦" * 20, "\x00\x07\x1b[31m", "\ufffe\uffff",
    "]]>", "<![CDATA[", "&nbsp;&#0;&lt;", "<?xml version='1.0'?>", "../../../../etc/passwd", "C:\\windows\\x", "%s%n", "x" * 3000, "word " * 2000,
    "- a\n- b\n1. c", "You need:\n- <b>x</b>\n- y", "1. 2. 3. Step 4: x", "\\input{x} \\\\ {\\rtf1}", "=cmd|' /C calc'!A0", "\t\t\n\n\n", "Ａ．㍿ ﷽",
]  # fmt: skip


def made(number: int, chance: random.Random) -> tuple[Document, str]:
    """A document, and the kind that it is of."""

    def text() -> str:
        return " ".join(chance.choices(BAD, k=chance.randrange(1, 4))).encode("utf-8", "ignore").decode()

    def picture() -> Picture:
        size = chance.choice([(64, 64), (1, 1), (900, 8), (8, 900), (300, 200)])
        return Picture.from_image(Image.new("RGB", size, chance.choice(["red", "teal", "white"])))

    kind = ("mixed", "mixed", "many steps", "missing picture", "no answer")[number % 5]
    document = Document()
    document.add_request(text() + " x", [picture()] * chance.randrange(2))
    if kind == "no answer":
        return document, kind
    document.add_message("assistant")
    for _ in range(200 if kind == "many steps" and number % 25 == 2 else chance.randrange(1, 6)):
        document.add_text(text())
        for _ in range(chance.randrange(1, 3)):
            document.add_picture(picture(), alt=text()[:200])
    document.add_text(text())
    if kind == "missing picture":
        document = Document.from_json(document.to_json())
    return document, kind


def look_at_markdown(path: Path) -> str | None:
    from markdown_it import MarkdownIt

    kinds = {
        "paragraph",
        "heading",
        "inline",
        "text",
        "image",
        "strong",
        "hardbreak",
        "softbreak",
        "bullet_list",
        "list_item",
        "blockquote",
    }
    for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
        for each in [token, *(token.children or [])]:
            if each.type.removesuffix("_open").removesuffix("_close") not in kinds:
                return f"Markdown has {each.type}"
            if each.type == "image" and not re.fullmatch(
                r"pictures/[0-9a-f]{16}\.(png|jpg|webp)", str(each.attrs["src"])
            ):
                return f"Markdown has a picture {each.attrs['src']}"
    return None


def look_at_pdf(path: Path, folder: Path) -> str | None:
    text = subprocess.run(["pdftotext", path, "-"], capture_output=True)
    drawn = subprocess.run(["pdftoppm", "-r", "20", "-png", "-l", "2", path, folder / "page"], capture_output=True)
    if text.returncode or drawn.returncode or not list(folder.glob("page*.png")):
        return "the PDF can't be read"
    for page in folder.glob("page*.png"):
        red = Image.open(page).convert("RGB").getpixel((1, 1))
        page.unlink()
        if red != (255, 255, 255):
            return "the PDF's page has another colour"
    return "root: is in the PDF" if b"root:" in text.stdout else None


def look_at_epub(path: Path, thoroughly: bool) -> str | None:
    book = zipfile.ZipFile(path)
    for name in book.namelist():
        if name.startswith("/") or ".." in name:
            return f"the EPUB has a file {name}"
        if name.endswith((".xhtml", ".opf", ".xml")):
            root = ElementTree.fromstring(book.read(name).replace(b"<!DOCTYPE html>", b""))
            tags = {element.tag.rpartition("}")[2] for element in root.iter()}
            if "script" in tags or any(
                attribute.startswith("on") for element in root.iter() for attribute in element.attrib
            ):
                return f"the EPUB's {name} has a script"
    jar = shutil.which("epubcheck")
    if thoroughly and jar and shutil.which("java"):
        done = subprocess.run(["java", "-jar", jar, "-e", path], capture_output=True, text=True)
        if done.returncode:
            return f"epubcheck: {(done.stdout + done.stderr).strip()[-300:]}"
    return None


def look_at_pages(paths: list[Path], browser: str) -> dict[Path, str]:
    """HTML in Chromium: no script has run, nothing was asked for, and the title is text."""
    from playwright.sync_api import sync_playwright

    wrong = {}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        for path in paths:
            asked.clear()
            tab.goto(path.as_uri())
            elsewhere = [url for url in asked if not url.startswith(("data:", path.as_uri()))]
            if tab.title() == "owned" or tab.locator("script").count() or elsewhere:
                wrong[path] = f"the page is owned, or asks for {elsewhere[:1]}"
        chromium.close()
    return wrong


def look_at_word(paths: list[Path], folder: Path) -> dict[Path, str]:
    """DOCX through LibreOffice, many at a time: each becomes a PDF."""
    for start in range(0, len(paths), 50):
        command = ["soffice", "--headless", f"-env:UserInstallation=file://{folder}/office", "--convert-to", "pdf"]
        subprocess.run(
            [*command, "--outdir", str(folder / "word"), *map(str, paths[start : start + 50])], capture_output=True
        )
    missing = [path for path in paths if not (folder / "word" / path.with_suffix(".pdf").name).exists()]
    return dict.fromkeys(missing, "LibreOffice can't read the DOCX")


def main(count: int) -> int:
    """Returns how many documents went wrong."""
    chance, kinds, wrong = random.Random(11), Counter[str](), dict[str, str]()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    readers = {
        "Chromium": browser,
        "pdftoppm": shutil.which("pdftoppm"),
        "LibreOffice": shutil.which("soffice"),
        "epubcheck": shutil.which("epubcheck"),
    }
    with tempfile.TemporaryDirectory() as home:
        root = Path(home)
        out, before = root / "out", {path: path.stat().st_mtime_ns for path in Path("/etc").glob("pass*")}
        for number in range(count):
            document, kind = made(number, chance)
            name = f"d{number:04}"
            try:
                paths = dict(zip(FORMATS, export(document, list(FORMATS), out, name), strict=True))
            except DuoGenError as error:
                kinds[f"{kind}: refused"] += 1
                if kind != "missing picture" or len(str(error).splitlines()) > 2:
                    wrong[name] = f"refused: {error}"
                continue
            kinds[f"{kind}: written"] += 1
            found = look_at_markdown(paths["md"]) or look_at_epub(paths["epub"], number % 10 == 0)
            if not found and readers["pdftoppm"]:
                found = look_at_pdf(paths["pdf"], root)
            if found:
                wrong[name] = found
        if browser:
            wrong |= {path.stem: why for path, why in look_at_pages(sorted(out.glob("*.html")), browser).items()}
        if readers["LibreOffice"]:
            wrong |= {path.stem: why for path, why in look_at_word(sorted(out.glob("*.docx")), root).items()}
        stray = [
            path
            for path in out.rglob("*")
            if path.is_file()
            and not re.fullmatch(r"(pictures/[0-9a-f]{16}\.png|d\d{4}\.\w+)", str(path.relative_to(out)))
        ]
        if stray or before != {path: path.stat().st_mtime_ns for path in Path("/etc").glob("pass*")}:
            wrong["files"] = f"written elsewhere: {stray[:3]}"
    for name, why in list(wrong.items())[:10]:
        print(f"{name}: {why}")
    print(", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items())))
    absent = [name for name, path in readers.items() if not path]
    print(f"not opened with {', '.join(absent)}: not installed" if absent else "opened with all readers")
    print(f"{count} documents, {len(wrong)} wrong")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])) != 0)
