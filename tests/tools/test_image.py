from __future__ import annotations

import pytest
from pydantic import ValidationError

from duogen.document import Document, Picture
from duogen.errors import InputError
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.models.sessions import SessionPool
from duogen.tools.image import ImageRequest, ImageTool

QUICK = PaintSettings(steps=2, width=64, height=64)


def test_a_lost_session_paints_the_same_picture(tiny: DuoGenPipeline) -> None:
    """The second picture, painted after a crash from the kept latent, equals the undisturbed one."""
    latents: dict[str, bytes] = {}
    document = Document()
    document.add_request("Draw two cups.")
    document.add_message("assistant")
    document.add_text("One.")
    tool = ImageTool(SessionPool(tiny), latents.get)
    first = tool.paint("run", document, QUICK)
    tool.keep("run", document, first)
    latents[first.picture.sha256] = first.latent
    document.add_picture(first.picture)
    live = tool.paint("run", document.branch(), QUICK)
    rebuilt = ImageTool(SessionPool(tiny), latents.get).paint("run", document.branch(), QUICK)
    assert live.picture.data == rebuilt.picture.data
    forgotten = ImageTool(SessionPool(tiny), lambda _: None).paint("run", document.branch(), QUICK)
    assert forgotten.picture.data != live.picture.data, "without the latent the condition frame is only close"


def test_a_picture_may_be_painted_again_before_one_is_kept(tiny: DuoGenPipeline) -> None:
    document = Document()
    document.add_request("Draw two cups.")
    document.add_message("assistant")
    tool = ImageTool(SessionPool(tiny))
    one, two, again = (tool.paint("run", document, QUICK.for_attempt(attempt)) for attempt in (0, 1, 0))
    assert one.picture.data == again.picture.data != two.picture.data
    tool.keep("run", document, two)
    after = document.branch()
    after.add_picture(two.picture)
    fresh = ImageTool(SessionPool(tiny), {two.picture.sha256: two.latent}.get)
    assert tool.paint("run", after, QUICK).picture.data == fresh.paint("run", after, QUICK).picture.data


@pytest.mark.parametrize("edits", [False, True])
def test_a_picture_may_be_said_before_it_is_painted(tiny: DuoGenPipeline, picture: Picture, edits: bool) -> None:
    request = ImageRequest(instruction="a cup", references=[picture] * edits, settings=QUICK)
    tool = ImageTool(SessionPool(tiny))
    tiny.register_to_config(in_words=False)
    at_once = tool.call(request).picture.data
    tiny.register_to_config(in_words=True)
    said = tool.call(request).picture.data
    tiny.register_to_config(in_words=False)
    assert said != at_once == tool.call(request).picture.data


def test_references_are_seen(tiny: DuoGenPipeline, picture: Picture) -> None:
    tool = ImageTool(SessionPool(tiny))
    drawn = tool.call(ImageRequest(instruction="a cup", settings=QUICK))
    edited = tool.call(ImageRequest(instruction="a cup", references=[picture], settings=QUICK))
    both = tool.call(ImageRequest(instruction="a cup", references=[picture, drawn.picture], settings=QUICK))
    assert len({drawn.picture.data, edited.picture.data, both.picture.data}) == 3


def test_bad_requests(tiny: DuoGenPipeline) -> None:
    tool = ImageTool(SessionPool(tiny))
    with pytest.raises(InputError, match="empty"):
        tool.call(ImageRequest(instruction=" "))
    with pytest.raises(ValidationError):
        ImageRequest(instruction="")
    with pytest.raises(ValidationError):
        ImageRequest(instruction="x" * 1_000_000)
    with pytest.raises(ValidationError):
        ImageRequest(instruction="a cup", colour="red")  # type: ignore[call-arg]
    with pytest.raises(InputError, match="multiples"):
        tool.call(ImageRequest(instruction="a cup", settings=PaintSettings(width=50)))
