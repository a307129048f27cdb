from __future__ import annotations

import pytest

from duogen.document import Document, Picture
from duogen.errors import InputError
from duogen.tools.booklet import booklet, plain, title_of


def answered(*parts: str | Picture) -> Document:
    document = Document()
    document.add_request("How do I\nbuild it?")
    document.add_message("assistant")
    for part in parts:
        if isinstance(part, str):
            document.add_text(part)
        else:
            document.add_picture(part, alt="shown")
    return document


def test_introduction_steps_and_end(picture: Picture) -> None:
    document = answered("Of course.\nStep 1: Begin.", picture, "Step 2: Go on.\nCarefully.", picture, "That is all.")
    made = booklet(document)
    (section,) = made.sections
    assert made.title == "How do I build it?" and section.asked == []
    assert section.intro == ["Of course."] and section.outro == ["That is all."]
    assert [(step.number, step.lines, len(step.figures)) for step in section.steps] == [
        (1, ["Begin."], 1), (2, ["Go on.", "Carefully."], 1),
    ]  # fmt: skip
    assert len(made.figures) == 2


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("1. Begin.", ["Begin."]), ("1) Begin.", ["Begin."]), ("step 3 - Begin.", ["Begin."]), ("STEP 1: Begin.", ["Begin."]),
        ("2026 was a year.", ["2026 was a year."]), ("3 eggs.", ["3 eggs."]), ("Stepping in.", ["Stepping in."]),
    ],
)  # fmt: skip
def test_numbers_are_the_booklets_own(picture: Picture, text: str, lines: list[str]) -> None:
    (section,) = booklet(answered(text, picture)).sections
    assert section.steps[0].lines == lines


def test_what_is_needed_has_a_list_of_its_own(picture: Picture) -> None:
    text = "Gladly.\nYou will need:\n- 1 pear\n* flour\n• sugar\nLet's go.\n1. Wash it."
    (section,) = booklet(answered(text, picture)).sections
    assert section.needs == ["1 pear", "flour", "sugar"] and section.intro == ["Gladly.", "Let's go."]
    assert section.steps[0].lines == ["Wash it."]


def test_several_pictures_a_step_and_pictures_without_words(picture: Picture) -> None:
    (section,) = booklet(answered("1. Look.", picture, picture)).sections
    assert [len(step.figures) for step in section.steps] == [2]
    (section,) = booklet(answered(picture)).sections
    assert [(step.lines, len(step.figures)) for step in section.steps] == [([], 1)]


def test_a_follow_up_is_a_section_and_text_alone_is_no_step(picture: Picture) -> None:
    document = answered("1. Look.", picture)
    document.add_request("Now again.", [picture])
    document.add_message("assistant")
    document.add_text("I can't.\nSorry.")
    first, second = booklet(document).sections
    assert len(first.steps) == 1 and second.asked == ["Now again."] and len(second.given) == 1
    assert second.intro == ["I can't.", "Sorry."] and second.steps == []


def test_plain() -> None:
    assert plain("a\x00b\x1bc\r\nd\u202ee\tf") == "abc\nde f"
    assert plain("שלום 🙂 é\u200dx") == "שלום 🙂 é\u200dx"
    assert title_of(Document()) == "A plan"


def test_a_missing_picture(picture: Picture) -> None:
    document = answered("1. Look.", picture)
    lost = Document.from_json(document.to_json())
    with pytest.raises(InputError, match="doesn't hold it"):
        booklet(lost)
