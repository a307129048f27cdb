"""Each judged benchmark: its data, its layout, and its figures against values worked out by hand."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from duogen.document import Document, Picture
from duogen.errors import InputError
from duogen.evaluation.public.comm import CoMM, likeness, stepwise
from duogen.evaluation.public.documents import Cooking200, HowTo500
from duogen.evaluation.public.editing import GEdit, ImgEdit, Looks
from duogen.evaluation.public.interleaved import ASPECTS, CRITERIA, InterleavedBench, OpenING
from duogen.evaluation.public.item import Answer, Benchmark, Judged
from duogen.evaluation.public.judge import Call, middling
from duogen.evaluation.public.statistics import Scored, estimate
from duogen.evaluation.public.ueval import UEval

from . import samples
from .scripted import says

RED, BLUE = (Picture.from_image(Image.new("RGB", (32, 32), colour)) for colour in ("red", "blue"))
GUIDE: Answer = ("First.", RED, "Then.", BLUE, "Done.")


def figures(bench: Benchmark, scored: Iterable[Scored], digits: int | None = None) -> dict[str, float | None]:
    return {metric.name: estimate(list(scored), metric, digits) for metric in bench.metrics}


def scored_by(bench: Judged, answers: list[tuple[Answer, list[dict[str, Any]]]], data: Path) -> list[Scored]:
    """The questions of a benchmark, each with an answer and what the judge says of it."""
    questions = list(bench.questions(data))
    assert len(questions) == len(answers)
    return [
        Scored(question.id, 0, question.group, bench.judge(question, answer, says(*said)), question.subsets)
        for question, (answer, said) in zip(questions, answers, strict=True)
    ]


def test_gedit(tmp_path: Path) -> None:
    bench, data = GEdit(tmp_path / "out", "mine"), samples.gedit(tmp_path / "data")
    first = next(bench.questions(data))
    assert (first.id, first.group, first.text, first.subsets) == (
        "en-k1",
        "color_alter",
        "make it red",
        ("en", "en both"),
    )
    bench.write(first, 0, (RED,))
    home = tmp_path / "out/mine/fullset/color_alter/en"
    assert Picture.from_file(home / "k1.png").width == 64, "as large as the source"
    assert Picture.from_file(home / "k1_SRCIMG.png").image().getpixel((0, 0)) == (128, 128, 128)
    (back,) = bench.read(first, 0)
    assert isinstance(back, Picture) and back.height == 48

    def said(a: float, b: float, c: float, d: float) -> list[dict[str, float]]:
        return [{"success": a, "restraint": b}, {"naturalness": c, "flawlessness": d}]

    answers = [((RED,), said(9, 8, 7, 2)), ((RED,), said(4, 6, 9, 9)), ((RED,), said(10, 0, 5, 5))]
    scored = scored_by(bench, answers, data)
    assert scored[0].values == pytest.approx({"G_SC": 8, "G_PQ": 2, "G_O": 4}, abs=1e-9)
    assert scored[1].values == pytest.approx({"G_SC": 4, "G_PQ": 9, "G_O": 6}, abs=1e-9)
    found = figures(bench, scored)
    # color_alter: (4 + 6) / 2 = 5; subject-add: sqrt(0 x 5) = 0; over both 2.5.
    assert found["en G_O"] == pytest.approx(2.5, abs=1e-9)
    assert found["en G_SC"] == pytest.approx((6 + 0) / 2, abs=1e-9) and found["en G_PQ"] == pytest.approx(
        (5.5 + 5) / 2, abs=1e-9
    )
    assert found["en G_O (intersection)"] == pytest.approx((4 + 0) / 2, abs=1e-9) and found["cn G_O"] is None
    everything = list(GEdit(tmp_path, "m", "all").questions(data))
    assert [question.id for question in everything] == ["en-k1", "en-k2", "en-k3", "cn-k4"]
    call = Call("looks", "", [], Looks, middling(Looks, 1))
    made_up = bench.published_answer(first, call)
    assert (
        set(made_up) == {"naturalness", "flawlessness"}
        and made_up == bench.published_answer(first, call)
        and all(0 <= n <= 10 for n in made_up.values())
    )


def test_imgedit(tmp_path: Path) -> None:
    bench, data = ImgEdit(tmp_path / "out", "mine"), samples.imgedit(tmp_path / "data")
    first = next(bench.questions(data))
    assert (first.id, first.group, first.text) == ("1082", "remove", "remove the bird")
    bench.write(first, 0, (RED,))
    assert (tmp_path / "out/1082.png").read_bytes() == RED.data

    def said(a: float, b: float, c: float) -> list[dict[str, float]]:
        return [{"compliance": a, "seamlessness": b, "preservation": c}]

    scored = scored_by(bench, [((RED,), said(2, 5, 4)), ((RED,), said(5, 4, 4)), ((RED,), said(3, 3, 1))], data)
    # 5 and 4 are capped by 2: 2; (5 + 4 + 4) / 3 = 13/3; (3 + 3 + 1) / 3 = 7/3. style: 10/3; over both types 8/3.
    found = figures(bench, scored)
    assert found["overall"] == pytest.approx(8 / 3, abs=1e-9) and found["remove"] == pytest.approx(2, abs=1e-9)
    assert found["style"] == pytest.approx(10 / 3, abs=1e-9)
    # As published: 11/3 -> 3.67; 4.33 and 2.33 -> 3.33; over both 3.5.
    published = [Scored(each.id, 0, each.group, bench.as_published(each.values)) for each in scored]
    assert figures(bench, published, bench.digits)["overall"] == pytest.approx(3.5, abs=1e-9)
    bench.record(list(bench.questions(data)), scored)
    assert (
        json.loads((tmp_path / "out/result.json").read_text())["1082"]
        == "compliance: 2\nseamlessness: 5\npreservation: 4"
    )


def test_guides(tmp_path: Path) -> None:
    data = samples.cooking200(tmp_path / "data")
    by_picture, by_name = (list(Cooking200(tmp_path / "out", "m", way).questions(data)) for way in ("image", "text"))
    assert len(by_picture[0].pictures) == 1 and not by_name[0].pictures and "omelette" in by_name[0].text
    bench, data = HowTo500(tmp_path / "out", "m"), samples.howto500(tmp_path / "data2")
    first = next(bench.questions(data))
    bench.write(first, 0, GUIDE)
    document = Document.load(tmp_path / "out/h1")
    assert [message.role for message in document.messages] == ["user", "assistant"] and bench.read(first, 0) == GUIDE
    five = {
        "text_completeness": 4, "image_completeness": 3, "image_consistency": 5, "image_quality": 2, "image_text_consistency": 1,
    }  # fmt: skip
    scored = scored_by(bench, [(GUIDE, [five]), (("Words alone.",), [{"text_completeness": 3}])], data)
    assert scored[1].values == {"T-Com": 3, "I-Com": 1, "I-Co": 1, "I-Q": 1, "IT-Co": 1}
    assert figures(bench, scored) == pytest.approx(
        {"T-Com": 3.5, "I-Com": 2, "I-Co": 3, "I-Q": 1.5, "IT-Co": 1}, abs=1e-9
    )


def test_interleavedbench(tmp_path: Path) -> None:
    bench, data = InterleavedBench(tmp_path / "out", "m"), samples.interleavedbench(tmp_path / "data")
    first, second = bench.questions(data)
    kinds = [type(part).__name__ for part in first.asked]
    assert kinds == ["str", "Picture", "str"] and "<BEGIN>" not in first.text and len(second.pictures) == 1
    bench.write(first, 0, GUIDE)
    body = json.loads((tmp_path / "out/wiki_1.json").read_text())
    assert body["text"] == "First.Then.Done." and len(body["image"]) == 2 and body["task_name"] == "wikihow_next_step"
    assert bench.read(first, 0) == GUIDE
    five = dict(zip(ASPECTS, (5, 4, 3, 2, 1), strict=True))
    other = dict(zip(ASPECTS, (0, 2, 1, 0, 5), strict=True))
    scored = scored_by(bench, [(GUIDE, [five]), ((RED,), [other])], data)
    # The second is an edit: its text quality and text-image coherence don't count. Means 5, 3, 2, 2, 3: 15 / 5.
    found = figures(bench, scored)
    assert found["average"] == pytest.approx(3, abs=1e-9) and found["text quality"] == 5 and found["helpfulness"] == 3


def test_opening(tmp_path: Path) -> None:
    bench, data = OpenING(tmp_path / "out", "Mine"), samples.opening(tmp_path / "data")
    first, second = bench.questions(data)
    assert (
        (first.id, second.id) == ("0302005", "0302006") and len(first.pictures) == 1 and second.text == "Tell a story."
    )
    bench.write(first, 0, GUIDE)
    body = json.loads((tmp_path / "out/Mine_output/0302005.json").read_text())
    assert body["meta_task_id"] == "3" and body["conversations"][0] == {"input": [{"text": "<BEGIN> Complete the report: <image>", "image": "./images/Report Completion/5-i-1.jpg"}]}  # fmt: skip
    assert body["conversations"][1]["output"] == [
        {"text": "First.", "image": "0302005-o-0.png"}, {"text": "Then.", "image": "0302005-o-1.png"}, {"text": "Done.", "image": None},
    ]  # fmt: skip
    assert bench.read(first, 0) == GUIDE
    one, two = dict(zip(CRITERIA, (1, 2, 3, 4, 5, 6, 7), strict=True)), dict.fromkeys(CRITERIA, 10)
    scored = scored_by(bench, [(GUIDE, [one]), (GUIDE, [two])], data)
    # Means 5.5, 6, 6.5, 7, 7.5, 8, 8.5: 49 / 7 = 7.
    assert figures(bench, scored)["overall"] == pytest.approx(7, abs=1e-9)


def test_ueval(tmp_path: Path) -> None:
    bench, data = UEval(tmp_path / "out", "m"), samples.ueval(tmp_path / "data")
    questions = list(bench.questions(data))
    for question in questions:
        bench.write(question, 0, GUIDE)
    bench.finish(questions)
    outputs = json.loads((tmp_path / "out/outputs.json").read_text())
    assert outputs[0] == {
        "id": 1,
        "text_answer": "First.\nThen.\nDone.",
        "image_answer": ["images/1_1.png", "images/1_2.png"],
    }
    assert bench.read(questions[0], 0) == ("First.\nThen.\nDone.", RED, BLUE)

    def met(*values: Any) -> list[dict[str, Any]]:
        return [{"criteria_met": value} for value in values]

    scored = scored_by(bench, [(GUIDE, met(True, False, "not sure", True)), (GUIDE, met(True, False, False))], data)
    # life: (1/3 + 1) / 2 = 2/3; diagram: (1 + 0) / 2 = 1/2; average 7/12.
    found = figures(bench, scored)
    assert found["average"] == pytest.approx(7 / 12, abs=1e-9) and found["life"] == pytest.approx(2 / 3, abs=1e-9)
    assert found["text"] == pytest.approx((1 / 3 + 1) / 2, abs=1e-9) and found["pictures"] == pytest.approx(
        0.5, abs=1e-9
    )
    assert scored[0].values["score"] == pytest.approx(2 / 3, abs=1e-9)
    elsewhere = UEval(tmp_path / "elsewhere", "m")
    samples.write(
        tmp_path / "elsewhere/outputs.json",
        [{"id": "1", "text_answer": "Here.", "image_answer": [samples.put(tmp_path / "elsewhere", "a.png", "red")]}],
    )
    assert elsewhere.has(questions[0], 0) and not elsewhere.has(questions[1], 0)
    assert elsewhere.read(questions[0], 0)[0] == "Here."
    asks = [says(*met(*[True] * 4)) for _ in questions]
    for question, ask in zip(questions, asks, strict=True):
        bench.judge(question, GUIDE, ask)
    last = [ask.asked[-1].shown for ask in asks]  # type: ignore[attr-defined]
    assert any("First." in str(part) for part in last[0]) and not any("First." in str(part) for part in last[1]), (
        "closed"
    )


def test_comm_tasks_and_layout(tmp_path: Path) -> None:
    data = samples.comm(tmp_path / "data")
    asked = {task: next(CoMM(tmp_path, "m", task).questions(data)) for task in CoMM.choices}
    assert {task: len(question.pictures) for task, question in asked.items()} == {
        "task1": 4,
        "task2": 0,
        "task3": 2,
        "task4": 0,
    }
    assert {task: len(question.facts["truth"]) for task, question in asked.items()} == {
        "task1": 0,
        "task2": 4,
        "task3": 2,
        "task4": 4,
    }
    assert (
        "Paint it green." in asked["task2"].text and "Paint it green." not in asked["task1"].text + asked["task4"].text
    )
    bench = CoMM(tmp_path / "out", "m", "task3")
    bench.write(asked["task3"], 0, GUIDE)
    home = tmp_path / "out/wikihow_7_task3"
    body = json.loads((home / "results.json").read_text())
    assert body["model_output"] == "(1) First. <IMAGE> (2) Then. <IMAGE> (3) Done."
    assert (
        body["model_input"].count("<IMAGE>") == 2 == len(body["input_image_list"]) == len(body["output_gt_image_list"])
    )
    assert (home / "output_1.png").is_file() and (home / "origin/input_2.png").is_file()
    assert bench.read(asked["task3"], 0) == ("(1) First.", RED, "(2) Then.", BLUE, "(3) Done.")
    assert stepwise(("(1) Once.", RED)) == ["(1) Once.", RED], "numbered already"


def test_comm_judges_what_was_made_however_much_was_given(tmp_path: Path) -> None:
    steps = samples.comm_rows(tmp_path)[0]["step_info"] * 6
    samples.write(tmp_path / "comm.json", [{"data_id": "1", "dataset_type": "x", "title": "t", "step_info": steps}])
    bench = CoMM(tmp_path / "out", "m", "task3")
    (question,) = bench.questions(tmp_path)
    ask = says(
        {"style": 1, "entity": 1, "trend": 1, "completeness": 1, "image_quality": 1},
        {"pictures": ["red", "blue"]},
        {"IRS": 7},
    )
    assert len(question.pictures) == 12 and bench.judge(question, GUIDE, ask)["IRS"] == 7
    shown = [part for part in ask.asked[0].shown if isinstance(part, Picture)]  # type: ignore[attr-defined]
    assert len(shown) == 7, "five of the request's, and both of the answer's"


def test_comm_figures(tmp_path: Path) -> None:
    data = samples.comm(tmp_path / "data")
    five = {"style": 8, "entity": 6, "trend": 4, "completeness": 10, "image_quality": 2}
    bench = CoMM(tmp_path, "m")
    scored = scored_by(bench, [(GUIDE, [five, {"pictures": ["red", "blue"]}, {"IRS": 7}]), (("Text.",), [five])], data)
    found = figures(bench, scored)
    assert (found["style"], found["completeness"], found["IRS"], found["fidelity"]) == (8, 10, 3.5, None)
    texts = CoMM(tmp_path, "m", "task1")
    of_texts = scored_by(
        texts, [(GUIDE, [{"completeness": 9, "fidelity": 3}]), (GUIDE, [{"completeness": 5, "fidelity": 4}])], data
    )
    assert figures(texts, of_texts)["completeness"] == 7 and figures(texts, of_texts)["fidelity"] == 3.5

    drawn = CoMM(tmp_path, "m", "task2")
    question = next(drawn.questions(data))
    four = {key: value for key, value in five.items() if key != "completeness"}
    truth: Answer = tuple(question.facts["truth"])
    values = drawn.judge(question, truth, says(four, {"pictures": ["a"] * 4}, {"IRS": 10}))
    assert values["PSNR"] == 60 and values["SSIM"] == pytest.approx(1, abs=1e-6), "aligned with itself"
    # By hand, of flat colours: red against green differs by 1 in red and 128/255 in green, of three channels.
    green = next(part for part in truth if isinstance(part, Picture) and part.image().getpixel((0, 0)) == (0, 128, 0))
    expected = -10 * torch.log10(torch.tensor((1 + (128 / 255) ** 2) / 3))
    assert likeness(truth[0], green)[0] == pytest.approx(float(expected), abs=1e-4)  # type: ignore[arg-type]
    assert drawn.as_published(values)["PSNR"] == values["PSNR of all"] < 30
    asked = says(four, {"pictures": ["a"] * 4}, {"IRS": 10})
    drawn.judge(question, truth, asked)
    zeros = [drawn.published_answer(question, each) for each in asked.asked]  # type: ignore[attr-defined]
    assert zeros == [
        dict.fromkeys(("style", "entity", "trend", "image_quality"), 0),
        {"pictures": ["(none)"] * 4},
        {"IRS": 0},
    ]


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_a_pickle_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = samples.comm_rows(tmp_path)
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(rows))
    assert [question.id for question in CoMM(tmp_path, "m").questions(plain)] == ["wikihow_7", "story_2"]
    as_json = samples.write(tmp_path / "comm.json", rows)
    assert len(list(CoMM(tmp_path, "m").questions(as_json))) == 2
    for name, save in (
        ("old.pkl", lambda path: path.write_bytes(pickle.dumps([Harmful()]))),
        ("new.pt", lambda path: torch.save([Harmful()], path)),
    ):
        save(tmp_path / name)
        with pytest.raises(InputError, match=name):
            list(CoMM(tmp_path, "m").questions(tmp_path / name))
    (tmp_path / "torn.pkl").write_bytes(pickle.dumps(rows)[:50])
    with pytest.raises(InputError, match="can't be read safely"):
        list(CoMM(tmp_path, "m").questions(tmp_path / "torn.pkl"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("kind", "name", "body", "said"),
    [
        (ImgEdit, "basic_edit.json", {"1": {"id": "../x.png", "prompt": "p", "edit_type": "add"}}, "leads out of"),
        (ImgEdit, "basic_edit.json", {"1": {"prompt": "p", "edit_type": "add"}}, "has no id"),
        (ImgEdit, "basic_edit.json", {"../1": {"id": "a.png", "prompt": "p", "edit_type": "add"}}, "can't name a file"),
        (ImgEdit, "basic_edit.json", [1], "not an object"),
        (ImgEdit, "basic_edit.json", 7, "neither a list nor an object"),
        (HowTo500, "other.jsonl", [], "there is no howto500.jsonl"),
        (UEval, "a.jsonl", [{"id": "1", "prompt": "p", "task": "art"}], "has no criteria"),
        (OpenING, "test_data.jsonl", [{"conversations": []}], "have no input"),
        (OpenING, "test_data.jsonl", [{"conversations": [{"input": [{"text": "a"}]}]}], "neither total_uid"),
        (InterleavedBench, "interleaved_bench.json", [{"id": "1", "image": [], "task_name": "t", "conversations": []}], "no turn of a human"),
        (CoMM, "comm.json", [{"data_id": "1", "title": "t", "step_info": [3]}], "isn't of the format"),
        (CoMM, "comm.json", [{"data_id": None, "title": "t", "step_info": []}], "can't name a file"),
        (CoMM, "comm.json", [{"data_id": "1", "title": "t", "step_info": [[{"type": "text", "content": None}]]}], "its text is no text"),
        (OpenING, "test_data.jsonl", [{"conversations": [{"input": [{"text": "a"}]}], "meta_task_id": 1, "subtask_id": 1e999, "data_id": 1}], "neither total_uid"),
        (InterleavedBench, "interleaved_bench.json", [{"id": "1", "image": None, "task_name": "t", "conversations": [{"from": "human", "value": "x"}]}], "no list of images"),
        (InterleavedBench, "interleaved_bench.json", [{"id": "1", "image": [], "task_name": "t", "conversations": [{"from": "human", "value": "<image>"}]}], "1 <image> slots for 0"),
        (UEval, "a.jsonl", [{"id": "1", "prompt": "p", "task": "art", "text_rubrics": [{"weight": 1}]}], "isn't of the format"),
        (UEval, "a.jsonl", [{"id": "1", "prompt": None, "task": "art", "text_rubrics": ["x"]}], "its prompt is no text: None"),
        (GEdit, "g.jsonl", [samples.GEDIT[0] | {"input_image_raw": {"bytes": "aGk="}}], "neither a path nor bytes"),
        (GEdit, "g.jsonl", [samples.GEDIT[0] | {"input_image_raw": "a\0.png"}], "neither a path nor bytes"),
        (GEdit, "g.jsonl", [samples.GEDIT[0] | {"instruction_language": "fr", "input_image_raw": "x"}], "neither en nor cn"),
    ],
)  # fmt: skip
def test_bad_data(tmp_path: Path, kind: type[Benchmark], name: str, body: Any, said: str) -> None:
    samples.put(tmp_path, "a.png", "red")
    samples.write(tmp_path / name, body)
    with pytest.raises(InputError, match=said):
        list(kind(tmp_path / "out", "m").questions(tmp_path))


def test_no_data_and_no_such_subset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data FOLDER with test_data\.jsonl"):
        list(OpenING(tmp_path, "m").questions(None))
    with pytest.raises(InputError, match="no subset 'fr'; there is en, cn, all"):
        GEdit(tmp_path, "m", "fr")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match=r"x\.parquet: can't be read"):
        list(UEval(tmp_path, "m").questions(tmp_path))
