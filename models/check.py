"""The question that a model is asked about its own pictures, and in whose words it was taught to answer."""

from __future__ import annotations

from PIL import Image

from duogen.models.pipeline import DuoGenPipeline
from duogen.models.session import Session

QUESTION = "Does the last picture show this? Answer yes or no. {step}"
YES, NO = "Yes.", "No."


def chance_that_it_shows(pipeline: DuoGenPipeline, step: str, before: Image.Image | None, after: Image.Image) -> float:
    """How likely the MLLM holds it, from 0 to 1, that a picture shows what a step says.

    Args:
        before: the picture that the step begins from, if there is one.
    """
    shown = [after] if before is None else [before, after]
    session = Session(pipeline, [("user", [*shown, QUESTION.format(step=step)])])
    return session.chances((YES, NO))[0]
