from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from duogen.agent.worker import Worker
from duogen.document import Picture
from duogen.errors import InputError
from duogen.serving import desk as module
from duogen.serving.desk import Desk, from_data_url, spoken


def done(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@pytest.mark.parametrize("kept", [True, False])
def test_one_call_goes_on_from_another(worker: Worker, tmp_path: Path, kept: bool) -> None:
    desk = Desk(worker, tmp_path if kept else None)
    plan = done(desk.plan("Put a red ball in the centre.", max_pictures=2))
    (note,) = plan.answer.pictures
    assert plan.answer.reason == "end" and plan.answer.text == plan.artifact.text
    assert [kind for kind, _ in spoken(plan)] == ["text", "text", "image", "text"]
    assert spoken(plan)[1][1] == f"[picture {note.id}]" and plan.answer.plan in spoken(plan)[-1][1]

    more = done(desk.plan("Now add a blue cup in the top left.", plan=plan.answer.plan))
    assert more.answer.plan == plan.answer.plan and len(more.artifact.document.messages) == 4
    edited = done(desk.edit("paint the ball green", [more.answer.pictures[0].id]))
    assert edited.answer.pictures[0].id != more.answer.pictures[0].id
    seen = done(desk.look("What is on my shelf?", [edited.answer.pictures[0].id[:8]]))
    assert "ball" in seen.answer.text and seen.answer.pictures == []
    if kept:
        # A desk that is opened later finds all of it.
        later = Desk(worker, tmp_path)
        for each in (note, edited.answer.pictures[0]):
            assert (tmp_path / each.path).read_bytes() == later.picture(each.id).data
        assert done(later.plan("Take away the cup.", plan=plan.answer.plan)).answer.pictures


def test_pictures_by_path_and_data_url(worker: Worker, picture: Picture, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "mine.png").write_bytes(picture.data)
    (tmp_path / "secret.png").write_bytes(picture.data)
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "secret.png")
    desk = Desk(worker, tmp_path / "root")
    assert desk.picture("mine.png") == desk.picture(picture.data_url) == picture
    for reference in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "a/../../secret.png"):
        with pytest.raises(InputError, match="no path inside the root folder"):
            desk.picture(reference)
    with pytest.raises(InputError, match="can't read the picture"):
        desk.picture("missing.png")


def test_only_so_much_is_remembered(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    desk = Desk(worker)
    ids = [done(desk.draw("a red ball", seed)).answer.pictures[0].id for seed in (1, 2, 3)]
    plans = [done(desk.plan("Is there a cup?", max_pictures=0)).answer.plan for _ in range(3)]
    assert desk.picture(ids[2]) and desk.picture(ids[1])
    with pytest.raises(InputError, match="no picture has this id"):
        desk.picture(ids[0])
    with pytest.raises(InputError, match="no plan has this id"):
        done(desk.plan("More.", plan=plans[0]))


def test_what_names_nothing(worker: Worker, picture: Picture, tmp_path: Path, bomb: bytes) -> None:
    for desk in (Desk(worker), Desk(worker, tmp_path)):
        for reference, message in [
            ("0123456789abcdef", "no picture has this id"), ("data:text/html;base64,AAAA", "must be of the form"),
            ("data:image/png;base64,!!!", "isn't base64"), ("data:image/png;base64,AAAA", "not a readable"),
            ("data:image/png;base64,", "is empty"),
        ]:  # fmt: skip
            with pytest.raises(InputError, match=message):
                desk.picture(reference)
        for plan in ("0123456789ab", "../../etc", ""):
            with pytest.raises(InputError, match="no plan"):
                done(desk.plan("More.", plan=plan))
    with pytest.raises(InputError, match="no such folder"):
        Desk(worker, tmp_path / "missing")
    assert from_data_url(picture.data_url) == picture
