from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image

from duogen.models.check import QUESTION, chance_that_it_shows
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.session import Session

BLACK, WHITE = (Image.new("RGB", (64, 64), colour) for colour in ("black", "white"))


def scripted(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Has sessions write these words, whatever the model would."""

    def decode(session: Session, _: object) -> Iterator[str]:
        for token in session.pipeline.processor.encode(words):
            session.tape.add_ids([token])
            session.feed()
            yield session.pipeline.processor.decode([token])

    monkeypatch.setattr(Session, "decode", decode)


def test_the_verdict_is_what_stands_behind_the_colon(tiny: DuoGenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, "A black block: yes. And: no.")
    chance = chance_that_it_shows(tiny, "Lay a block.", WHITE, BLACK)
    session = Session(tiny, [("user", [WHITE, BLACK, QUESTION.format(step="Lay a block.")])])
    session.tape.add_ids(tiny.processor.encode("A black block:"))
    session.feed()
    yes, no = session.chances((" yes", " no"))
    assert yes + no == pytest.approx(1) and chance == pytest.approx(yes, abs=1e-5)


@pytest.mark.parametrize("words", ["", "Yes, it does."])
def test_a_model_that_judges_at_once_is_taken_at_its_first_word(
    tiny: DuoGenPipeline, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    scripted(monkeypatch, words)
    session = Session(tiny, [("user", [BLACK, QUESTION.format(step="Lay a block.")])])
    expected = session.chances(("Yes", "No"))[0]
    assert chance_that_it_shows(tiny, "Lay a block.", None, BLACK) == pytest.approx(expected, abs=1e-5)
