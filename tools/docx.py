"""A document as a Word file: headings, page numbers, alternative texts, and steps that stay on one page."""

from __future__ import annotations

import io
from typing import Any

from duogen.document import Document
from duogen.errors import not_installed
from duogen.tools.booklet import Figure, Step, booklet

WIDEST = 11.0
"""Of a picture, in centimetres; none is taller than 15."""


def to_docx(document: Document) -> bytes:
    """The Word file.

    Raises:
        DuoGenError: python-docx isn't installed.
    """
    try:
        import docx
    except ImportError as error:
        raise not_installed("python-docx", "export") from error
    made = booklet(document)
    page = docx.Document()
    page.core_properties.title = made.title[:255]
    page.core_properties.author = "DuoGen"
    page.core_properties.comments = "Text and pictures are generated and may be wrong."
    _number_pages(page)
    page.add_heading(made.title, level=0)
    for section in made.sections:
        for line in section.asked:
            page.add_heading(line, level=1)
        for figure in section.given:
            _add_picture(page, figure)
        for line in section.intro:
            page.add_paragraph(line)
        if section.needs:
            page.add_heading("What you need", level=2)
            for need in section.needs:
                page.add_paragraph(need, style="List Bullet")
        for step in section.steps:
            _add_step(page, step)
        for line in section.outro:
            page.add_paragraph(line)
    file = io.BytesIO()
    page.save(file)
    return file.getvalue()


def _add_step(page: Any, step: Step) -> None:
    paragraphs = [page.add_paragraph() for _ in step.lines or [""]]
    number = paragraphs[0].add_run(f"{step.number}.  ")
    number.bold = True
    for paragraph, line in zip(paragraphs, step.lines, strict=False):
        paragraph.add_run(line)
    paragraphs += [_add_picture(page, figure) for figure in step.figures]
    for index, paragraph in enumerate(paragraphs):
        paragraph.paragraph_format.keep_together = True
        paragraph.paragraph_format.keep_with_next = index + 1 < len(paragraphs)


def _add_picture(page: Any, figure: Figure) -> Any:
    from docx.shared import Cm

    picture = figure.picture
    width = min(WIDEST, 15 * picture.width / picture.height, picture.width / 96 * 2.54 * 1.5)
    file = io.BytesIO()
    picture.image().save(file, "PNG")  # Word knows no WebP
    paragraph = page.add_paragraph()
    shape = paragraph.add_run().add_picture(file, width=Cm(max(width, 0.5)))
    shape._inline.docPr.set("descr", figure.alt)
    return paragraph


def _number_pages(page: Any) -> None:
    """A footer with the page's number, which Word fills in."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    paragraph = page.sections[0].footer.paragraphs[0]
    paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
    field = OxmlElement("w:fldSimple")
    field.set(qn("w:instr"), "PAGE")
    paragraph._p.append(field)
