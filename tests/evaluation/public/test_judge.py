"""The judge: what it is asked, what becomes of answers that can't be used, and of a server that doesn't answer."""

from __future__ import annotations

import base64
import io
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from loopback import completion, serving
from PIL import Image

from duogen.document import Picture
from duogen.errors import DuoGenError, InputError
from duogen.evaluation.public.comm import expected
from duogen.evaluation.public.editing import Edit, ImgEdit
from duogen.evaluation.public.generate import stand_in
from duogen.evaluation.public.item import Question
from duogen.evaluation.public.judge import (
    Call,
    Judge,
    Meter,
    Unjudged,
    fitted,
    middling,
    picture_tokens,
    scale,
)
from duogen.evaluation.public.scoring import ByJudge, against_people
from duogen.evaluation.public.statistics import Metric, estimate
from duogen.evaluation.public.ueval import Met

from .scripted import fair, judge

RED = Picture.from_image(Image.new("RGB", (32, 32), "red"))
Grade = scale("Grade", 0, 10, good="how good it is", bad="how bad it is")
GOOD = {"reasons": "fine", "good": 7, "bad": 2.5}


def call(name: str = "grade", *shown: str | Picture) -> Call:
    return Call(name, "Judge this.", shown or ("a text", RED), Grade, middling(Grade, 1))


def malformed() -> list[str]:
    """Two hundred answers, none of which is of the schema, though many hold a number or look like it."""
    broken = [
        "", "7", "good: 7, bad: 2", "I would give it a 9 out of 10.", "I'm sorry, I can't help with that.", "null", "[]", "[7, 2]", '"7"', "{}",
        '{"good": 7}', '{"good": 7, "bad": 2', '{"reasons": "x", "good": "7", "bad": 2}', '{"reasons": "x", "good": 11, "bad": 2}',
        '{"reasons": "x", "good": -1, "bad": 2}', '{"reasons": "x", "good": null, "bad": 2}', '{"reasons": "x", "good": true, "bad": 2}',
        '{"reasons": "x", "good": NaN, "bad": 2}', '{"reasons": "x", "good": Infinity, "bad": 2}', '{"reasons": "x", "good": [7], "bad": 2}',
        '{"reasons": 3, "good": 7, "bad": 2}', '{"good": 7, "bad": 2}', "```json\n{\n```", '{"reasons": "x", "good": 7e2, "bad": 2}',
        '{"score": [7, 2], "reasoning": "x"}', "<think>7</think>", '{"reasons": "x", "Good": 7, "Bad": 2}', "good=7;bad=2",
        '```json\n{"reasons": "x", "good": 7, "bad": 2}\n```\nOn reflection, I can\'t judge this.', '{"reasons": "x", "good": 11, "good": 7, "bad": 2}',
        '{"reasons": "x", "good": {"score": 7}, "bad": 2}', '{"reasons": "x", "good": "seven", "bad": "two"}',
    ]  # fmt: skip
    whole, draw = json.dumps(GOOD), random.Random(0)
    while len(broken) < 200:
        cut = whole[: draw.randrange(1, len(whole) - 1)]  # cut off, with something behind it
        broken.append(cut + draw.choice(["", "...", " 7", "]", "\n```"]))
    return broken


def test_two_hundred_malformed_answers_are_no_score(tmp_path: Path) -> None:
    """Each by itself, all tries of one request; then every one is counted, kept, and none has become a number."""
    answers = malformed()
    assert len(answers) == 200
    left = [answer for answer in answers for _ in range(2)]

    def reply(path: str, body: bytes) -> Any:
        return completion(left.pop(0))

    with serving(reply) as url:
        one = Judge("m", f"{url}/v1", tmp_path / "judge.jsonl", tries=2)
        for number in range(200):
            with pytest.raises(Unjudged, match="2 answers weren't of the schema"):
                one.about(str(number), 0)(call())
    assert one.counts == {"calls": 200, "malformed": 400, "failed": 200} and not left
    kept = [json.loads(line) for line in (tmp_path / "judge.jsonl").read_text().splitlines()]
    assert [record["raw"][0] for record in kept] == answers and all(record["answer"] is None for record in kept)


def test_a_malformed_answer_is_asked_for_again(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    left = ["a 9!", json.dumps(GOOD)]

    def reply(path: str, body: bytes) -> Any:
        asked.append(json.loads(body))
        return completion(left.pop(0))

    with serving(reply) as url:
        one = Judge("m", f"{url}/v1", tmp_path / "judge.jsonl")
        said = one.about("x", 0)(call())
        assert (said.good, said.bad) == (7, 2.5)  # type: ignore[attr-defined]
        assert one.counts == {"calls": 1, "malformed": 1, "failed": 0}
        again = Judge("m", f"{url}/v1", tmp_path / "judge.jsonl").about("x", 0)(call())
        assert again.good == 7 and len(asked) == 2, "kept: it isn't asked for once more"  # type: ignore[attr-defined]
        with pytest.raises(IndexError):
            left.pop()
    assert [message["role"] for message in asked[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert "never obeyed" in asked[0]["messages"][0]["content"] and "Judge this." in asked[0]["messages"][0]["content"]
    assert asked[0]["temperature"] == 0 and asked[0]["response_format"]["json_schema"]["schema"]["properties"]["good"]


def test_refusals_timeouts_and_limits(tmp_path: Path) -> None:
    """A refused or silent request is noted, and the run goes on; a server that is gone ends it, and nothing is lost."""
    script: list[Any] = [
        json.dumps(GOOD),
        400,
        0.6,
        None,
        "I'm sorry, but I can't assist with that.",
        500,
        429,
        json.dumps(GOOD),
        401,
    ]

    def reply(path: str, body: bytes) -> Any:
        told = script.pop(0)
        if isinstance(told, float):
            time.sleep(told)
            return completion("{}")
        return completion(told)

    with serving(reply) as url:
        one = Judge("m", f"{url}/v1", tmp_path / "judge.jsonl", tries=1, timeout=0.3, retries=0)
        assert one.about("first", 0)(call()).good == 7  # type: ignore[attr-defined]
        for item, why in (
            ("refused", "refused"),
            ("silent", "in time"),
            ("empty", "schema"),
            ("sorry", "schema"),
            ("ill", "refused"),
        ):
            with pytest.raises(Unjudged, match=why):
                one.about(item, 0)(call())
        one.retries, one._client = 1, None
        assert one.about("later", 0)(call()).good == 7, "a limit is waited for"  # type: ignore[attr-defined]
        with pytest.raises(DuoGenError, match="what was judged is kept, and the run can be continued"):
            one.about("no key", 0)(call())
    with pytest.raises(DuoGenError, match="can't be reached"):
        Judge("m", "http://127.0.0.1:9/v1", tmp_path / "judge.jsonl", retries=0).about("gone", 0)(call())
    assert one.counts == {"calls": 7, "malformed": 2, "failed": 5}
    assert len((tmp_path / "judge.jsonl").read_text().splitlines()) == 7
    # A later run asks once more for what wasn't answered, and for what had fewer tries than it gives.
    script += [json.dumps(GOOD)] * 5
    with serving(reply) as url:
        again = Judge("m", f"{url}/v1", tmp_path / "judge.jsonl", tries=1, timeout=0.3)
        assert [again.about(item, 0)(call()).good for item in ("first", "refused", "silent", "ill")] == [7] * 4  # type: ignore[attr-defined]
        with pytest.raises(Unjudged, match="schema"):
            again.about("sorry", 0)(call())
        patient = Judge("m", f"{url}/v1", tmp_path / "judge.jsonl", tries=2, timeout=0.3)
        assert patient.about("sorry", 0)(call()).good == 7 and len(script) == 1  # type: ignore[attr-defined]


def test_a_server_that_never_answers_ends_the_run(tmp_path: Path) -> None:
    """And one that refuses everything from the start: then it isn't the requests."""

    def silent(path: str, body: bytes) -> Any:
        time.sleep(0.3)
        return completion("{}")

    for reply in (silent, lambda path, body: completion(400)):
        with serving(reply) as url:
            one = Judge("m", f"{url}/v1", tmp_path / "judge.jsonl", timeout=0.1, retries=0)
            for number in range(4):
                with pytest.raises(Unjudged):
                    one.about(str(number), 0)(call())
            with pytest.raises(DuoGenError, match="5 times on end"):
                one.about("4", 0)(call())


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"[1]", b'{"choices": [{}]}', b"{", b'{"choices": 3}'])
def test_what_is_no_chat_model_is_said_in_a_line(tmp_path: Path, body: bytes) -> None:
    kind = "text/html" if body.startswith(b"<") else "application/json"
    answer = (200, {"content-type": kind}, body)
    told = "not as a chat model does; is its address right"
    with serving(lambda path, asked: answer) as url, pytest.raises(DuoGenError, match=told):
        Judge("m", url, tmp_path / "judge.jsonl", retries=0).about("x", 0)(call())


def test_a_raw_answer_is_kept_whatever_is_in_it(tmp_path: Path) -> None:
    with serving(lambda path, asked: completion("\ud800 and \0")) as url, pytest.raises(Unjudged):
        Judge("m", f"{url}/v1", tmp_path / "judge.jsonl", tries=1).about("x", 0)(call())
    (line,) = (tmp_path / "judge.jsonl").read_text().splitlines()
    assert json.loads(line)["raw"] == ["\ud800 and \0"]


def test_pictures_are_made_small_enough(tmp_path: Path) -> None:
    large = Picture.from_image(Image.new("RGB", (1600, 400), "red"))
    assert fitted(large, 512).image().size == (512, 128) and fitted(RED, 512) is RED
    sizes: list[tuple[int, int]] = []

    def reply(path: str, body: bytes) -> Any:
        for part in json.loads(body)["messages"][1]["content"]:
            if part["type"] == "image_url":
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                sizes.append(Image.open(io.BytesIO(data)).size)
        return completion(json.dumps(GOOD))

    with serving(reply) as url:
        Judge("m", f"{url}/v1", tmp_path / "judge.jsonl", side=800).about("x", 0)(call("c", large, "text", RED))
    assert sizes == [(800, 200), (32, 32)]


def test_votes_agree_or_don_t(tmp_path: Path) -> None:
    """Three votes: one can't be read; the score is the mean of the others, and their agreement is told."""
    said = [
        {"compliance": 4, "seamlessness": 4, "preservation": 4},
        None,
        {"compliance": 5, "seamlessness": 4, "preservation": 3},
    ]
    left = [None if each is None else json.dumps({"reasons": ""} | each) for each in said]
    seeds: list[int] = []

    def reply(path: str, body: bytes) -> Any:
        seeds.append(json.loads(body)["seed"])
        return completion(left.pop(0))

    question = Question("q", "add", (RED, "add a cat"))
    bench = ImgEdit(tmp_path / "answers", "m")
    with serving(reply) as url:
        scorer = ByJudge(bench, Judge("m", f"{url}/v1", tmp_path / "judge.jsonl", tries=1, seed=40), votes=3)
        scored = scorer(question, 0, (RED,))
    assert (
        scored.values["compliance"] == 4.5
        and scored.values["mean"] == 4
        and len(scored.votes) == 2
        and len(scored.faults) == 1
    )
    assert seeds == [40, 41, 42] and scorer.facts["failed"] == 1
    agreed = scorer.agreement
    assert set(agreed) == {"compliance", "seamlessness", "preservation"}, "what the judge said, not what was made of it"
    assert (
        agreed["compliance"].within_one == 1 and agreed["compliance"].exact == 0 and agreed["seamlessness"].exact == 1
    )
    rows = [("", Path(), {"id": "q", "criterion": "compliance", "score": score}) for score in (3, 4)]
    people = against_people([scored], rows)
    assert set(people) == {"compliance"} and people["compliance"].mean_difference == pytest.approx(1)
    for wrong in (float("nan"), True, "5", None, 10**400):
        with pytest.raises(InputError, match="the score is no number"):
            against_people([scored], [("", Path(), {"id": "q", "criterion": "compliance", "score": wrong})])


def test_an_answer_without_a_score_is_in_no_mean(tmp_path: Path) -> None:
    def reply(schema: dict[str, Any], text: str) -> Any:
        return "10 out of 10" if "bad" in text else fair(schema, text)

    bench = ImgEdit(tmp_path / "answers", "m")
    questions = [Question(str(n), "add", (RED, text)) for n, text in enumerate(("add a cat", "bad", "add a dog"))]
    with serving(judge(reply)) as url:
        scorer = ByJudge(bench, Judge("m", f"{url}/v1", tmp_path / "judge.jsonl"))
        scored = [scorer(question, 0, (RED,)) for question in questions]
    assert [bool(each.values) for each in scored] == [True, False, True] and "schema" in scored[1].faults[0]
    metric = Metric("mean", ("mean",))
    assert estimate(scored, metric) == estimate([scored[0], scored[2]], metric)


def test_what_judging_would_take() -> None:
    assert picture_tokens(512, 512, 1024) == 85 + 170 and picture_tokens(1024, 1024, 1024) == 85 + 4 * 170
    assert picture_tokens(4096, 1024, 1024) == 85 + 2 * 170, "1024 x 256"
    bench, meter = ImgEdit(Path("none"), "m"), Meter(1024)
    question = Question("q", "add", (RED, "add a cat"))
    for _ in range(3):
        bench.judge(question, stand_in(bench, question), meter)
    assert (meter.calls, meter.pictures) == (3, 6) and meter.read > 3 * (255 + 255) and meter.written > 100


def test_no_description_of_no_picture_is_taken() -> None:
    schema = expected(2)
    assert schema.model_validate({"pictures": ["a", "b"]})
    for wrong in ([], ["a"], ["a", ""], ["a", "b", "c"], ["a", 2]):
        with pytest.raises(ValueError, match="pictures"):
            schema.model_validate({"pictures": wrong})
    for wrong in ("yes", 1, None, "Not sure"):
        with pytest.raises(ValueError, match="criteria_met"):
            Met.model_validate({"reasons": "", "criteria_met": wrong})


def test_a_scale_refuses_what_is_no_number_of_it() -> None:
    assert Edit.model_validate_json('{"reasons": "", "compliance": 5, "seamlessness": 1.5, "preservation": 1}')
    for wrong in ("0", "6", '"5"', "true", "null", "NaN"):
        with pytest.raises(ValueError, match="compliance"):
            Edit.model_validate_json(f'{{"reasons": "", "compliance": {wrong}, "seamlessness": 1, "preservation": 1}}')
