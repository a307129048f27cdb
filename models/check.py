"""The question that a model is asked about its own pictures, and in whose words it was taught to answer.

The answer says what is new in the picture before it judges: what has been put into words can be laid beside the words of
the step. A verdict given at once was learned by no model of the default one's size (docs/LOG.md).
"""

from __future__ import annotations

from PIL import Image

from duogen.models.pipeline import DuoGenPipeline
from duogen.models.session import DecodeSettings, Session

QUESTION = "What is new in the last picture, and does it show this: yes or no? {step}"
YES, NO = "yes", "no"
"""The verdicts, which stand behind a colon."""
LONGEST = 120
"""Most tokens of what is said before the verdict."""


def chance_that_it_shows(pipeline: DuoGenPipeline, step: str, before: Image.Image | None, after: Image.Image) -> float:
    """How likely the MLLM holds it, from 0 to 1, that a picture shows what a step says.

    A model that says nothing in front of a colon is taken at its first word.

    Args:
        before: the picture that the step begins from, if there is one.
    """
    shown = [after] if before is None else [before, after]
    session = Session(pipeline, [("user", [*shown, QUESTION.format(step=step)])])
    at_once = session.chances((YES.capitalize(), NO.capitalize()))
    for text in session.decode(DecodeSettings(max_tokens=LONGEST)):
        if text.endswith(":"):
            return session.chances((f" {YES}", f" {NO}"))[0]
    return at_once[0]
