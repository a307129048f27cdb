from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from duogen.agent.agent import Agent
from duogen.agent.plan import Plan
from duogen.agent.review import Decision
from duogen.document import Picture
from duogen.errors import DuoGenError
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.planners.chat import ChatPlanner

from .chat_server import Script, call, chat_server

QUICK = PaintSettings(steps=1, width=64, height=64)
BALL, BLUE = {"instruction": "a red ball"}, {"instruction": "paint it blue", "references": [1]}
DONE = [{"content": "Done."}]


def says(text: str, *calls: dict[str, Any]) -> list[dict[str, Any]]:
    return [*({"content": piece} for piece in text.split("|")), *calls]


def planned(pipeline: DuoGenPipeline, script: Script, images: list[Picture] | None = None, **options: Any) -> Plan:
    settings = {key: options.pop(key) for key in ("timeout", "retries", "show") if key in options}
    with chat_server(script) as url:
        planner = ChatPlanner("m", url, **settings)
        return Agent(pipeline, planner).plan("Two balls.", images or [], settings=QUICK, **options)


def contents(plan: Plan) -> list[str]:
    return [part.text if part.type == "text" else f"<{part.alt}>" for part in plan.document.messages[-1].content]


def test_a_model_draws_and_edits_by_number(tiny: DuoGenPipeline) -> None:
    script = Script(says("First,| a ball.", call("draw", BALL)), says("Now blue.", call("edit", BLUE)), [*DONE])
    plan = planned(tiny, script)
    assert contents(plan) == ["First, a ball.", "<a red ball>", "Now blue.", "<paint it blue>", "Done."]
    assert plan.reason == "end" and plan.tokens == 6
    agent = Agent(tiny)
    drawn = agent.draw("a red ball", QUICK.for_picture(0)).picture
    assert plan.pictures == [drawn, agent.edit("paint it blue", [drawn], QUICK.for_picture(1)).picture]

    last = script.asked[-1]
    assert [tool["function"]["name"] for tool in last["tools"]] == ["draw", "edit"] and last["stream"]
    roles = [message["role"] for message in last["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user", "assistant", "tool", "user"]
    edit = last["messages"][5]["tool_calls"][0]["function"]
    assert edit["name"] == "edit" and json.loads(edit["arguments"]) == BLUE
    shown = last["messages"][4]["content"]
    assert shown[0]["text"] == "[picture 1]" and shown[1]["image_url"]["url"] == drawn.data_url
    assert "picture 2" in last["messages"][6]["content"]


def test_calls_of_one_turn_are_painted_one_after_the_other(tiny: DuoGenPipeline, picture: Picture) -> None:
    both = says("Both.", call("edit", {"instruction": "green", "references": [1]}), call("draw", BALL, 1))
    plan = planned(tiny, Script(both, [*DONE]), [picture])
    assert contents(plan) == ["Both.", "<green>", "<a red ball>", "Done."]
    assert plan.pictures[0] == Agent(tiny).edit("green", [picture], QUICK.for_picture(1)).picture


def test_a_model_that_sees_no_pictures_reads_of_them(tiny: DuoGenPipeline, picture: Picture) -> None:
    script = Script(says("", call("draw", BALL)), [*DONE])
    planned(tiny, script, [picture], show=False)
    assert "image_url" not in json.dumps(script.asked) and "[picture 1]" in json.dumps(script.asked[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (call("draw", "{not json"), "Invalid JSON"),
        (call("draw", ""), "instruction: Field required"),
        (call("draw", {"instruction": ""}), "at least 1 character"),
        (call("draw", {"instruction": " "}), "it is empty"),
        (call("draw", {"instruction": "x", "size": 3}), "Extra inputs"),
        (call("edit", {"instruction": "x"}), "references: Field required"),
        (call("edit", {"instruction": "x", "references": [7]}), "there is no picture 7; there is none yet"),
        (call("edit", {"instruction": "x", "references": ["a"]}), "valid integer"),
        (call("paint", {"instruction": "x"}), "there is no tool 'paint'"),
    ],
)
def test_wrong_calls_are_told_to_the_model(tiny: DuoGenPipeline, wrong: dict[str, Any], message: str) -> None:
    script = Script(says("A ball.", wrong), says(" Sorry.", call("draw", BALL)), [*DONE])
    plan = planned(tiny, script)
    assert contents(plan) == ["A ball. Sorry.", "<a red ball>", "Done."]
    told = script.asked[1]["messages"][-1]
    assert told["role"] == "tool" and message in told["content"]


def test_a_model_that_never_learns(tiny: DuoGenPipeline, tmp_path: Path) -> None:
    script = Script(*(says("Again.", call("edit", BLUE)) for _ in range(3)))
    with pytest.raises(DuoGenError, match=r"3 times in a way that can't be used: there is no picture 1"):
        planned(tiny, script, folder=tmp_path / "plan")


def test_a_refusal_is_the_answer(tiny: DuoGenPipeline) -> None:
    plan = planned(tiny, Script([{"refusal": "I can't"}, {"refusal": " do that."}]))
    assert contents(plan) == ["I can't do that."] and plan.reason == "end"


def test_cut_off_at_the_servers_limit(tiny: DuoGenPipeline) -> None:
    long = [{"content": "And so"}, {"content": " on", "reason": "length"}]
    assert planned(tiny, Script(long)).reason == "length"
    half = [{"content": "See"}, {**call("draw", '{"instruction": "a'), "reason": "length"}]
    assert contents(planned(tiny, Script(half))) == ["See"]
    script = Script(says("One| two", call("draw", BALL)), [{"content": "x", "reason": "length"}])
    assert planned(tiny, script, max_tokens=4).reason == "max_tokens"
    assert [asked["max_tokens"] for asked in script.asked] == [4, 1]


def test_busy_and_broken_servers_are_asked_again(tiny: DuoGenPipeline) -> None:
    plan = planned(tiny, Script(429, 503, says("A ball.", call("draw", BALL)), 500, [*DONE]))
    assert contents(plan) == ["A ball.", "<a red ball>", "Done."]
    assert planned(tiny, Script(0.6, [*DONE]), timeout=0.3).text == "Done."


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([429] * 2, "takes no more requests for now"), ([500] * 2, "refused: "), ([401], "refused: "),
        ([0.6, 0.6], "didn't answer in time"), ([[{"content": "A"}, "cut"]], "broke off"),
    ],
)  # fmt: skip
def test_what_does_not_mend_ends_the_run_and_it_can_be_continued(
    tiny: DuoGenPipeline, turns: list[Any], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "plan"
    script = Script(says("A ball.", call("draw", BALL)), *turns)
    with chat_server(script) as url:
        # Where no server is silent, a busy machine's pause mustn't be taken for silence.
        agent = Agent(tiny, ChatPlanner("m", url, retries=1, timeout=0.3 if 0.6 in turns else 30))
        with pytest.raises(DuoGenError, match=message) as error:
            agent.plan("Two balls.", folder=folder, settings=QUICK)
        assert len(str(error.value).splitlines()) == 1 and url in str(error.value)
        script.turns = [says("Now blue.", call("edit", BLUE)), [*DONE]]
        plan = agent.resume(folder)
    assert contents(plan) == ["A ball.", "<a red ball>", "Now blue.", "<paint it blue>", "Done."]


def test_nobody_there_and_no_key(tiny: DuoGenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DuoGenError, match="can't be reached"):
        Agent(tiny, ChatPlanner("m", "http://127.0.0.1:9/v1", retries=0)).plan("Two balls.", settings=QUICK)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(DuoGenError, match="can't be used"):
        ChatPlanner("m")


def test_calls_are_reviewed_too(tiny: DuoGenPipeline) -> None:
    script = Script(says("Both.", call("draw", BALL), call("draw", {"instruction": "a cup"}, 1)), [*DONE])
    asked: list[tuple[str, str]] = []
    made = iter([Decision(action="edit", text="a green ball"), Decision(), Decision(action="delete"), Decision()])

    def review(proposal: Any) -> Decision:
        asked.append((proposal.when, proposal.text))
        return next(made)

    plan = planned(tiny, script, review=review)
    assert asked == [("before", "a red ball"), ("after", "a green ball"), ("before", "a cup")]
    assert contents(plan) == ["Both.", "<a green ball>", "Done."]
