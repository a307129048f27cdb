from __future__ import annotations

import pytest

from duogen.document import Document, Picture
from duogen.models.pipeline import DuoGenPipeline
from duogen.tools.look import LookTool, due


@pytest.fixture
def document(picture: Picture) -> Document:
    made = Document()
    made.add_request("Build a house.")
    made.add_message("assistant")
    return made


def test_what_is_due_is_the_text_since_the_last_picture_or_else_the_request(
    document: Document, picture: Picture
) -> None:
    assert due(document) == "Build a house."
    document.add_text("Sure.\nFirst the walls.")
    assert due(document) == "Sure.\nFirst the walls."
    document.add_picture(picture)
    assert due(document) == "Build a house."
    document.add_text("Now the roof.\n")
    assert due(document) == "Now the roof."


def test_a_look_depends_on_the_picture_the_one_before_and_the_text(
    tiny: DuoGenPipeline, document: Document, picture: Picture
) -> None:
    look, dark = LookTool(tiny), Picture.from_image(picture.image().point(lambda value: value // 3))
    document.add_text("First the walls.")
    found = [look.shows(document, picture), look.shows(document, dark)]
    document.add_picture(dark)
    document.add_text("First the walls.")
    found.append(look.shows(document, picture))
    other = document.branch()
    other.add_text(" And the roof.")
    found.append(look.shows(other, picture))
    assert len(set(found)) == 4 and all(0 < chance < 1 for chance in found)
