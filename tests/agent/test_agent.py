from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from duogen.agent.agent import Agent
from duogen.agent.events import DenoisingStep, Event, Finished, PictureChecked, PictureDone, PictureStarted, TextDelta
from duogen.agent.plan import PlanRequest
from duogen.document import Document, Picture
from duogen.errors import InputError
from duogen.models.sampler import PaintSettings
from duogen.planners.base import Draft
from duogen.planners.native import NativePlanner
from duogen.tools.image import ImageTool
from duogen.tools.look import LookTool

QUICK = PaintSettings(steps=2, width=64, height=64)


class Scripted:
    """A planner that says what it was told to: the graph's behaviour must not depend on a model's mood."""

    script = ("Intro.\nFirst, the base.", "Then the roof.", "Done.")

    def __init__(self, *_: object) -> None:
        pass

    def draft(
        self, run: str, document: Document, on_text: Callable[[str], None], max_tokens: int | None = None
    ) -> Draft:
        said = sum(part.type == "image" for part in document.messages[-1].content)
        on_text(self.script[said])
        return Draft(self.script[said], "picture" if said < len(self.script) - 1 else "end", 1)


@pytest.fixture
def scripted(tiny: object, monkeypatch: pytest.MonkeyPatch) -> Agent:
    monkeypatch.setattr("duogen.agent.agent.NativePlanner", Scripted)
    return Agent(tiny)  # type: ignore[arg-type]


def test_text_and_pictures_alternate(scripted: Agent) -> None:
    events: list[Event] = []
    plan = scripted.plan("Build something.", on_event=events.append, settings=QUICK)
    assert [part.type for part in plan.document.messages[-1].content] == ["text", "image", "text", "image", "text"]
    assert plan.reason == "end" and plan.text == "\n".join(Scripted.script) and len(plan.pictures) == 2
    assert [part.alt for part in plan.document.images] == ["First, the base.", "Then the roof."]
    kinds = [type(event) for event in events]
    assert kinds == [
        TextDelta, PictureStarted, DenoisingStep, DenoisingStep, PictureDone,
        TextDelta, PictureStarted, DenoisingStep, DenoisingStep, PictureDone, TextDelta, Finished,
    ]  # fmt: skip
    assert [event.index for event in events if isinstance(event, PictureDone)] == [1, 2]


def test_a_host_that_streams_the_graph_sees_what_a_listener_is_told(scripted: Agent) -> None:
    told: list[Event] = []
    host = scripted.prepare(PlanRequest("Build.", settings=QUICK, max_pictures=4), on_event=told.append)
    streamed = list(host.graph.stream(host.state, host.config, stream_mode="custom"))
    assert len(streamed) > 8 and streamed == told and isinstance(told[-1], Finished)


def test_every_stream_mode_of_langgraph(scripted: Agent) -> None:
    host = scripted.prepare(PlanRequest("Build.", settings=QUICK))
    modes: dict[str, list[Any]] = {mode: [] for mode in ("values", "updates", "messages", "custom", "debug", "tasks")}
    for mode, chunk in host.graph.stream(host.state, host.config, stream_mode=list(modes)):
        modes[mode].append(chunk)
    assert all(modes.values())
    nodes = [name for update in modes["updates"] for name in update]
    assert nodes == ["draft", "paint", "draft", "paint", "draft", "finish"]
    said = [message.content for message, about in modes["messages"] if about["langgraph_node"] == "draft"]
    assert "".join(said) == "".join(Scripted.script)
    final = host.plan(modes["values"][-1])
    assert final.document == scripted.plan("Build.", settings=QUICK).document and len(final.pictures) == 2


def test_a_plan_is_a_node_of_a_hosts_own_graph_in_asyncio(scripted: Agent) -> None:
    async def host() -> dict[str, Any]:
        prepared = scripted.prepare(PlanRequest("Build.", settings=QUICK), checkpointer=InMemorySaver())
        return await prepared.graph.ainvoke(prepared.state, prepared.config)

    assert asyncio.run(host())["reason"] == "end"


def test_a_budget_ends_a_plan_with_what_there_is(scripted: Agent) -> None:
    assert scripted.plan("Build.", settings=QUICK, max_tokens=2).reason == "max_tokens"
    short = scripted.plan("Build.", settings=QUICK, max_tokens=1)
    assert (short.text, len(short.pictures), short.reason) == (Scripted.script[0], 1, "max_tokens")
    late = scripted.plan("Build.", settings=QUICK, max_seconds=1e-9)
    assert (late.text, len(late.pictures), late.reason) == (Scripted.script[0], 0, "max_seconds")


@pytest.mark.parametrize(
    ("after", "steps", "pictures"), [(1, 0, 0), (3, 1, 0), (4, 2, 0), (5, 2, 1), (9, 4, 1), (10, 4, 2)]
)
def test_asked_to_stop_it_stops_within_a_step(scripted: Agent, after: int, steps: int, pictures: int) -> None:
    events: list[Event] = []
    plan = scripted.plan("Build.", settings=QUICK, on_event=events.append, stopping=lambda: len(events) >= after)
    assert plan.reason == "stopped" and isinstance(events[-1], Finished) and len(events) == after + 1
    assert sum(isinstance(event, DenoisingStep) for event in events) == steps
    assert len(plan.pictures) == pictures and Scripted.script[0] in plan.text
    again = scripted.plan("Build.", settings=QUICK)
    assert [picture.sha256 for picture in plan.pictures] == [p.sha256 for p in again.pictures][:pictures]


def test_the_same_seed_gives_the_same_plan(scripted: Agent) -> None:
    one, two = (scripted.plan("Build.", settings=QUICK).document for _ in range(2))
    other = scripted.plan("Build.", settings=QUICK.model_copy(update={"seed": 1})).document
    assert one == two and one != other


def test_max_pictures(scripted: Agent) -> None:
    plan = scripted.plan("Build.", settings=QUICK, max_pictures=1)
    assert len(plan.pictures) == 1 and plan.reason == "max_pictures"
    assert scripted.plan("Build.", settings=QUICK, max_pictures=0).pictures == []


def test_a_self_check_paints_again_and_keeps_the_likeliest(scripted: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    thought = iter([0.9, 0.2, 0.4, 0.3])
    monkeypatch.setattr(LookTool, "shows", lambda *_: next(thought))
    events: list[Event] = []
    plan = scripted.plan("Build.", settings=QUICK, self_check=2, on_event=events.append)
    checks = [event for event in events if isinstance(event, PictureChecked)]
    assert [(event.index, event.attempt, event.accepted) for event in checks] == [
        (1, 0, True), (2, 0, False), (2, 1, False), (2, 2, False),
    ]  # fmt: skip
    assert len({event.picture.sha256 for event in checks}) == 4
    assert [picture.sha256 for picture in plan.pictures] == [checks[0].picture.sha256, checks[2].picture.sha256]
    # A picture that is accepted at once is the one that is painted without a check.
    assert plan.pictures[0].data == scripted.plan("Build.", settings=QUICK).pictures[0].data


def test_a_picture_comes_with_the_request(scripted: Agent, picture: Picture, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    path.write_bytes(picture.data)
    with_path = scripted.plan("Edit it.", [path], settings=QUICK)
    assert with_path.document.images[0].sha256 == picture.sha256 and len(with_path.pictures) == 2
    without = scripted.plan("Edit it.", settings=QUICK)
    assert with_path.pictures[0].data != without.pictures[0].data, "the picture is a condition"


def test_texts_and_pictures_of_a_request_keep_their_order(scripted: Agent, picture: Picture) -> None:
    other = Picture.from_image(picture.image().rotate(180))
    plan = scripted.plan(["Here is one:", picture, "and this is two:", other, "Swap them."], settings=QUICK)
    asked = plan.document.messages[0].content
    assert [part.text if part.type == "text" else part.sha256 for part in asked] == [
        "Here is one:", picture.sha256, "and this is two:", other.sha256, "Swap them.",
    ]  # fmt: skip
    before = scripted.plan("Here is one: and this is two: Swap them.", [picture, other], settings=QUICK)
    assert len(plan.pictures) == 2 and plan.pictures[0].data != before.pictures[0].data, "their places are a condition"


def test_saved_plans_and_follow_ups(scripted: Agent, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    plan = scripted.plan("Build.", folder=folder, settings=QUICK)
    assert Document.load(folder) == plan.document
    assert {path.name for path in folder.iterdir()} == {"plan.json", "plan.md", "plan.html", "pictures", ".duogen"}
    followed = scripted.resume(folder, "Now paint it.", settings=QUICK)
    assert [message.role for message in followed.document.messages] == ["user", "assistant"] * 2
    assert followed.document.messages[:2] == plan.document.messages
    with pytest.raises(InputError, match="add a request"):
        scripted.resume(folder)


def test_the_native_planner_and_the_tool_share_one_session(tiny: object) -> None:
    """After a picture, the planner goes on from the tool's session instead of prefilling again."""
    agent, prefills = Agent(tiny), []  # type: ignore[arg-type]
    language = agent.pipeline.language
    extend = language.extend

    def counted(chunks):  # type: ignore[no-untyped-def]
        prefills.extend(chunk.cache.get_seq_length() == 0 for chunk in chunks)
        return extend(chunks)

    language.extend = counted  # type: ignore[method-assign]
    planner = NativePlanner(agent.sessions, lambda _: None)
    document = Document()
    document.add_request("Draw a cup.")
    document.add_message("assistant")
    tool = ImageTool(agent.sessions)
    drawn = tool.paint("r", document, QUICK)
    tool.keep("r", document, drawn)
    document.add_picture(drawn.picture, alt="a cup")
    planner.draft("r", document, lambda _: None)
    assert prefills.count(True) == 1


def test_bad_input(scripted: Agent, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep me")
    (tmp_path / "file").write_text("")
    for arguments, message in [
        (("  ",), "empty"),
        (("x" * 1_000_000,), "1,000,000 characters"),
        ((["  ", ""],), "empty"),
        ((["x" * 20_000, "y"],), "20,001 characters"),
        (("Edit.", [tmp_path / "missing.png"]), "can't read the picture"),
    ]:
        with pytest.raises(InputError, match=message):
            scripted.plan(*arguments, folder=tmp_path / "new", settings=QUICK)
        assert not (tmp_path / "new").exists(), "nothing half-written"
    with pytest.raises(InputError, match="isn't empty"):
        scripted.plan("Build.", folder=taken, settings=QUICK)
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="can't write"):
        scripted.plan("Build.", folder=tmp_path / "file" / "plan", settings=QUICK)
    with pytest.raises(InputError, match="multiples of 32"):
        scripted.plan("Build.", settings=PaintSettings(width=100))
    with pytest.raises(InputError, match="no plan in this folder"):
        scripted.resume(tmp_path / "nowhere")


def test_draw_and_edit_without_a_plan(scripted: Agent, picture: Picture) -> None:
    drawn = scripted.draw("a red ball", QUICK)
    assert (drawn.picture.width, drawn.picture.height) == (64, 64)
    assert drawn.picture.data == scripted.draw("Draw a red ball", QUICK).picture.data, "the template is added once"
    assert scripted.edit("make it blue", [picture], QUICK).picture.data != drawn.picture.data
    with pytest.raises(InputError, match="empty"):
        scripted.draw("   ", QUICK)
