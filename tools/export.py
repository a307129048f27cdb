"""How a document leaves: as a booklet, in Markdown, HTML, PDF, DOCX and EPUB.

Markdown and HTML come from Jinja templates, PDF from a Typst one; own templates can take their places. What a document says goes
into them as data: text can't become markup, and files are named by their pictures' content, never by what a document says.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, DictLoader, FileSystemLoader, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from duogen.document import Document, Picture, write_atomically
from duogen.errors import DuoGenError, InputError, not_installed
from duogen.tools.booklet import Booklet, Figure, booklet

TEMPLATES = Path(__file__).parent / "templates"
FORMATS = ("md", "html", "pdf", "docx", "epub")

Source = Callable[[Picture], str]


def to_markdown(document: Document, template: str | None = None) -> str:
    """Markdown whose pictures are the files that `Document.save` writes."""
    page = _render("booklet.md.j2", template, booklet(document), lambda picture: picture.path)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def to_html(document: Document, template: str | None = None) -> str:
    """One page with its pictures inside.

    Args:
        template: a Jinja template of your own; it is given ``booklet`` and ``source(picture)``, a picture's ``data:`` URL.
    """
    return _render("booklet.html.j2", template, booklet(document), lambda picture: picture.data_url)


def to_pdf(document: Document, template: str | None = None) -> bytes:
    """A4 pages with numbers, tagged, with alternative texts; no step is split unless it is longer than a page.

    Args:
        template: Typst of your own; it finds the booklet in ``booklet.json``.

    Raises:
        DuoGenError: typst isn't installed, or can't read the template.
    """
    try:
        import typst
    except ImportError as error:
        raise not_installed("typst", "export") from error
    made = booklet(document)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for figure in made.figures:
            # Typst reads what is in the file, whatever its name says; these names are ours.
            write_atomically(root / figure.picture.path, figure.picture.data)
        (root / "booklet.json").write_text(json.dumps(_as_data(made)), encoding="utf-8")
        page = (TEMPLATES / "booklet.typ").read_text(encoding="utf-8") if template is None else template
        (root / "main.typ").write_text(page, encoding="utf-8")
        try:
            return bytes(typst.compile(str(root / "main.typ"), root=folder))
        except typst.TypstError as error:
            raise DuoGenError(f"the PDF can't be made: {str(error).splitlines()[0]}") from error


def write_plan(document: Document, folder: Path) -> Path:
    """Writes ``plan.md``, ``plan.html``, the pictures and, last, ``plan.json``; returns the folder."""
    document.write_pictures(folder)
    write_atomically(folder / "plan.md", to_markdown(document).encode())
    write_atomically(folder / "plan.html", to_html(document).encode())
    document.save(folder)
    return folder


def export(
    document: Document, formats: list[str], folder: Path, name: str = "plan", template: Path | None = None
) -> list[Path]:
    """Writes a document in some formats; returns the files.

    Args:
        formats: of `FORMATS`. Markdown's pictures lie beside it.
        name: of the files, without suffix.
        template: Jinja for ``md`` or ``html`` (by the suffix before ``.j2``), Typst for ``pdf``.

    Raises:
        InputError: an unknown format, or a template that none of them uses.
        DuoGenError: a format's package isn't installed, or the template is wrong.
    """
    if not formats:
        raise InputError(f"nothing can't be written; there are {', '.join(FORMATS)}")
    _check(formats)
    own = _own_template(template, formats)
    written = []
    for each in formats:
        path = folder / f"{name}.{each}"
        if each == "md":
            document.write_pictures(folder)
            data = to_markdown(document, own.get("md")).encode()
        elif each == "html":
            data = to_html(document, own.get("html")).encode()
        elif each == "pdf":
            data = to_pdf(document, own.get("pdf"))
        elif each == "docx":
            from duogen.tools.docx import to_docx

            data = to_docx(document)
        else:
            from duogen.tools.epub import to_epub

            data = to_epub(document)
        write_atomically(path, data)
        written.append(path)
    return written


def formats_of(text: str) -> list[str]:
    """The formats that a text names, with commas between; raises `InputError` where one is unknown."""
    formats = [each for each in text.replace(" ", "").lower().split(",") if each]
    _check(formats)
    return formats


def _check(formats: list[str]) -> None:
    if unknown := [each for each in formats if each not in FORMATS]:
        raise InputError(f"{', '.join(unknown)} can't be written; there are {', '.join(FORMATS)}")


def render(name: str, **values: Any) -> str:
    """A page from one of this package's own templates."""
    return _environment().get_template(name).render(**values)


def render_body(made: Booklet, source: Source) -> str:
    """A booklet's body as well-formed XHTML."""
    return _render("body.html.j2", None, made, source)


def _own_template(path: Path | None, formats: list[str]) -> dict[str, str]:
    if path is None:
        return {}
    kinds = {".md.j2": "md", ".html.j2": "html", ".typ": "pdf"}
    kind = next((kind for suffix, kind in kinds.items() if path.name.endswith(suffix)), None)
    if kind not in formats:
        raise InputError(f"{path}: a template is called *.md.j2, *.html.j2 or *.typ, and needs its format among --to")
    try:
        return {str(kind): path.read_text(encoding="utf-8")}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't read the template ({error})") from error


def _render(name: str, own: str | None, made: Booklet, source: Source) -> str:
    environment = _environment()
    try:
        if own is None:
            template = environment.get_template(name)
        else:
            template = environment.overlay(loader=_beside(DictLoader({name: own}))).get_template(name)
        return template.render(booklet=made, source=source)
    except TemplateError as error:
        raise DuoGenError(f"the template can't be used: {str(error).splitlines()[0]}") from error


def _beside(loader: BaseLoader) -> BaseLoader:
    """Own templates may include those that come along."""
    return ChoiceLoader([loader, FileSystemLoader(TEMPLATES)])


@cache
def _environment() -> SandboxedEnvironment:
    made = SandboxedEnvironment(
        loader=FileSystemLoader(TEMPLATES), trim_blocks=True, lstrip_blocks=True,
        autoescape=lambda name: name is None or not name.endswith(".md.j2"),
    )  # fmt: skip
    made.filters["markdown"] = escape_markdown
    return made


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands."""
    text = re.sub(r"([\\`*_{}\[\]<>#|~!&])", r"\\\1", text)
    # What would begin a list or another block doesn't.
    text = re.sub(r"^(\s*)([-+=])", r"\1\\\2", text)
    return re.sub(r"^(\s*\d{1,9})([.)])", r"\1\\\2", text)


def _as_data(made: Booklet) -> dict[str, Any]:
    def figure(each: Figure) -> dict[str, Any]:
        picture = each.picture
        return {"path": picture.path, "alt": each.alt, "width": picture.width, "height": picture.height}

    sections = []
    for section in made.sections:
        data = {name: getattr(section, name) for name in ("asked", "intro", "needs", "outro")}
        steps = [
            {"number": step.number, "lines": step.lines, "figures": [figure(each) for each in step.figures]}
            for step in section.steps
        ]
        sections.append(data | {"given": [figure(each) for each in section.given], "steps": steps})
    return {"title": made.title, "sections": sections}
