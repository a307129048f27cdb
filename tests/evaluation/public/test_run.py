"""All nine benchmarks from the command line: generate, score, report; resumed, killed, compared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback import serving

from duogen.cli import run

from . import samples
from .scripted import fair, judge
from .tiny import tiny_detectors

QUICK = ["--steps", "1", "--width", "64", "--height", "64", "--max-pictures", "2"]
JUDGED = [name for name in samples.MAKERS if name != "geneval"]


@pytest.fixture(scope="module")
def model(debug_run: Path) -> str:
    return str(debug_run / "model")


@pytest.fixture(scope="module")
def judge_url() -> Iterator[str]:
    with serving(judge(fair)) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_detectors(tmp_path_factory.mktemp("detectors"))


def asked(name: str, out: Path, data: Path, model: str) -> list[str]:
    return ["eval", name, "-o", str(out), "--data", str(data), "-m", model, *QUICK]


def judged_by(url: str) -> list[str]:
    return ["--judge", "scripted", "--judge-url", url]


def report_of(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return made


@pytest.mark.parametrize("name", JUDGED)
def test_generate_score_report(
    tmp_path: Path, model: str, judge_url: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(samples.MAKERS[name](tmp_path / "data"))
    out = tmp_path / "out"
    first = ["eval", name, "-o", str(out), "--data", data, "-m", model, *QUICK]
    scored = [*first, *judged_by(judge_url), "--votes", "2"]
    assert (
        run([*scored, "--step", "score"]) == 2 and "answers are missing; generate them first" in capsys.readouterr().err
    )
    assert run([*first, "--dry-run", "--price", "1", "4"]) == 0
    assert (
        "something of the usual size stood in" in (estimate := capsys.readouterr().out)
        and "At these prices" in estimate
    )
    assert run([*first, "--step", "generate"]) == 0
    times = {path: path.stat().st_mtime_ns for path in (out / "answers").rglob("*.*")}
    assert run(scored) == 0, "goes on, and makes nothing anew"
    assert all(path.stat().st_mtime_ns == when for path, when in times.items() if path.name != "outputs.json")
    report, said = report_of(out), capsys.readouterr().out
    assert report["benchmark"] == name and report["answers"]["unjudged"] == report["answers"]["missing"] == 0
    assert report["answers"]["scored"] == len(report["items"]) >= 2 and report["scoring"]["votes"] == 2
    head = report["metrics"][0]
    assert 0 <= head["value"] <= head["of"] and (head["low"] is None or head["low"] <= head["value"] <= head["high"])
    assert f"{head['value']:.3f}" in said and said.endswith((out / "report.md").read_text() + "\n")
    assert report["self_consistency"] and all(each["exact"] == 1 for each in report["self_consistency"].values())
    assert report["published"] and "arXiv" in report["source"]
    page = (out / "report.html").read_text()
    assert page.count("<section>") == len(report["items"]) and f"{head['value']:.3f}" in page
    assert "data:image/webp" in page or name in ("howto500", "comm", "ueval"), (
        "what is asked has pictures, or what is drawn"
    )


def test_plans_of_the_default_model_have_pictures(tmp_path: Path, judge_url: str) -> None:
    rows = [{"id": "house", "prompt": "How do I build a small house with a red roof?", "subcategory": "building"}]
    data, out = samples.write(tmp_path / "howto500.jsonl", rows), tmp_path / "out"
    assert run(["eval", "howto500", "-o", str(out), "--data", str(data), *judged_by(judge_url)]) == 0
    assert len(list((out / "answers/house/pictures").iterdir())) >= 3
    report = report_of(out)
    assert report["model"] == "duogen-default" and set(report["items"][0]["values"]) == {
        "T-Com",
        "I-Com",
        "I-Co",
        "I-Q",
        "IT-Co",
    }
    assert report["metrics"][0]["low"] is None, "one question has no interval"
    assert (out / "report.html").read_text().count("data:image/webp") >= 3


def test_geneval_from_prompts_to_report(
    tmp_path: Path, model: str, detectors: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = samples.geneval(tmp_path / "data"), tmp_path / "out"
    given = asked("geneval", out, data, model)
    assert run([*given, "--step", "score"]) == 2 and "--detector FOLDER" in capsys.readouterr().err
    own = ["--detector", str(detectors[0]), "--clip", str(detectors[1])]
    assert run([*given, *own]) == 0
    report = report_of(out)
    assert len(report["items"]) == 8 and report["scoring"]["detector"] == "mask2former (transformers, Mask2Former)"
    assert [row["name"] for row in report["metrics"]] == ["overall", "single_object", "counting"]
    assert (
        "instead of mmdet" in report["remarks"][0]
        and len((out / "answers/results.jsonl").read_text().splitlines()) == 8
    )
    seen = (out / "detector.jsonl").read_text()
    assert run([*given, *own]) == 0 and (out / "detector.jsonl").read_text() == seen, "each picture is looked at once"
    assert run([*given, "--step", "score", "--detector", str(detectors[1]), "--clip", str(detectors[1])]) == 2
    assert run([*given, "--step", "score", "--detector", "nowhere", "--clip", "nowhere"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_detector_and_colours_look_at_the_picture(detectors: tuple[Path, Path]) -> None:
    from PIL import Image

    from duogen.evaluation.public.detectors import Clip, Mask2Former
    from duogen.evaluation.public.geneval import COLOURS, object_names

    image = Image.radial_gradient("L").resize((90, 60)).convert("RGB")
    found = Mask2Former(detectors[0])(image)
    assert found and set(found) <= set(object_names())
    unsure = Mask2Former(detectors[0])
    torch.nn.init.zeros_(unsure.model.class_predictor.weight)
    torch.nn.init.zeros_(unsure.model.class_predictor.bias)
    assert unsure(image) == {}, "nothing is found where nothing is sure"
    for each in (one for all_of in found.values() for one in all_of):
        left, top, right, bottom = each.box
        assert (
            each.mask.shape == (60, 90)
            and each.mask[round(top) : round(bottom), round(left) : round(right)].sum() == each.mask.sum()
        )
        assert each.score > 0.3
    some = next(iter(found.values()))
    colours = Clip(detectors[1])(image, some, "dog")
    assert len(colours) == len(some) and set(colours) <= set(COLOURS)


def killed(command: list[str], done: Callable[[], int]) -> bool:
    """Runs a command and kills it as soon as there is one thing more than before; whether it was still at work."""
    before = done()
    process = subprocess.Popen(
        [sys.executable, "-m", "duogen.cli", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and done() == before:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_killed_ten_times_the_report_is_the_same(tmp_path: Path, model: str) -> None:
    """Three times while answers are made, seven times while a judge looks at them, each after one more of them."""
    rows = [{"id": f"h{n}", "prompt": "How do I " + "go on " * n, "subcategory": "x"} for n in range(8)]
    data = samples.write(tmp_path / "howto500.jsonl", rows)

    def slow(schema: dict[str, Any], text: str) -> Any:
        time.sleep(0.05)
        return "4 of 5" if text.count("go on") % 3 == 1 else fair(schema, text)  # some can't be read, every time

    def arguments(folder: str, *more: str) -> list[str]:
        return ["eval", "howto500", "-o", str(tmp_path / folder), "--data", str(data), "-m", model, *QUICK, *more]

    def answers() -> int:
        return len(list((tmp_path / "torn/answers").glob("*/plan.json")))

    def judged() -> int:
        path = tmp_path / "torn/judge.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    with serving(judge(slow)) as url:
        own = [*judged_by(f"{url}/v1"), "--votes", "2", "--workers", "1", "--step", "score"]
        assert run(arguments("whole", "--step", "generate")) == 0 and run(arguments("whole", *own)) == 0
        assert all(killed(arguments("torn", "--step", "generate"), answers) for _ in range(3))
        assert 3 <= answers() < 8 and run(arguments("torn", "--step", "generate")) == 0
        assert all(killed(arguments("torn", *own), judged) for _ in range(7))
        assert 7 <= judged() < 16 and run(arguments("torn", *own)) == 0
    one, two = ((tmp_path / name / "report.json").read_bytes() for name in ("whole", "torn"))
    assert one == two and report_of(tmp_path / "torn")["answers"]["unjudged"] == 3
    assert (tmp_path / "whole/report.html").read_bytes() == (tmp_path / "torn/report.html").read_bytes()


def test_two_runs_are_compared(tmp_path: Path, model: str, judge_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = samples.imgedit(tmp_path / "data")
    given = [
        "eval",
        "imgedit",
        "--data",
        str(data),
        "-m",
        model,
        *QUICK,
        *judged_by(judge_url),
    ]
    assert run([*given, "-o", str(tmp_path / "a")]) == 0
    assert run([*given, "-o", str(tmp_path / "b"), "--seed", "1"]) == 0
    capsys.readouterr()
    assert run(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b/report.json")]) == 0
    said = capsys.readouterr().out
    assert "overall" in said and "+0.000" in said and "may be chance" in said, "the script doesn't look at pictures"
    report = report_of(tmp_path / "b")
    for item in report["items"]:
        item["values"] = {key: value + 1 for key, value in item["values"].items()}
    (tmp_path / "better.json").write_text(json.dumps(report))
    assert run(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "better.json")]) == 0
    assert "+1.000" in capsys.readouterr().out
    (tmp_path / "other.json").write_text(json.dumps(report | {"benchmark": "gedit"}))
    assert run(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "other.json")]) == 2
    assert "only one benchmark can be compared" in capsys.readouterr().err
    report["items"] = [item | {"id": f"other {item['id']}"} for item in report["items"]]
    (tmp_path / "apart.json").write_text(json.dumps(report))
    assert run(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "apart.json")]) == 2
    assert "no question in common" in capsys.readouterr().err
    (tmp_path / "stricter.json").write_text(json.dumps(report_of(tmp_path / "b") | {"scoring": {"judge": "another"}}))
    assert run(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "stricter.json")]) == 0
    assert "scored otherwise: judge: scripted in A, another in B" in capsys.readouterr().out
    for wrong in ({"benchmark": "new"}, {"items": [{"id": "x"}]}, {"items": None}):
        (tmp_path / "wrong.json").write_text(json.dumps(report_of(tmp_path / "b") | wrong))
        assert run(["eval", "compare", str(tmp_path / "wrong.json"), str(tmp_path / "wrong.json")]) == 2
    assert run(["eval", "compare", str(tmp_path / "a"), str(data / "basic_edit.json")]) == 2


def test_as_published_partial_labels_and_rewriting(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = samples.gedit(tmp_path / "data"), tmp_path / "out"

    def reply(schema: dict[str, Any], text: str) -> Any:
        return "no idea" if "blue" in text and "prompt" not in schema["properties"] else fair(schema, text)

    with serving(judge(reply)) as url:
        given = [*asked("gedit", out, data, model), *judged_by(f"{url}/v1")]
        assert run([*given, "--step", "generate", "--rewriter", "scripted", "--rewriter-url", f"{url}/v1"]) == 0
        assert run([*given, "--step", "generate"]) == 2 and "begun with generation" in capsys.readouterr().err
        labels = samples.write(tmp_path / "people.jsonl", [{"id": "en-k1", "criterion": "G_SC", "score": 5}])
        assert run([*given, "--step", "score", "--labels", str(labels)]) == 0
        honest = report_of(out)
        assert (
            honest["answers"] == {"scored": 2, "unjudged": 1, "missing": 0}
            and honest["against_people"]["G_SC"]["items"] == 1
        )
        assert (
            honest["generation"]["prompt_rewriting"] == "scripted"
            and "a detailed photo" in (out / "rewritten.jsonl").read_text()
        )
        assert "have no score" in (said := capsys.readouterr().out) and "rewritten by scripted" in said
        assert run([*given, "--step", "score", "--as-published"]) == 0
        published = report_of(out)
        assert (
            published["answers"] == {"scored": 3, "unjudged": 0, "missing": 0}
            and "with the defects" in capsys.readouterr().out
        )
        (out / "answers/model/fullset/color_alter/en/k1.png").unlink()
        assert run([*given, "--step", "score"]) == 2 and "1 of 3 answers are missing" in capsys.readouterr().err
        assert run([*given, "--step", "score", "--partial"]) == 0 and report_of(out)["answers"]["missing"] == 1
        nobody = samples.write(tmp_path / "nobody.jsonl", [{"id": "x", "criterion": "G_SC", "score": 5}])
        assert run([*given, "--step", "score", "--partial", "--labels", str(nobody)]) == 2
        samples.write(nobody, [{"id": "en-k2", "criterion": "G_SC", "score": "5"}])
        assert run([*given, "--step", "score", "--partial", "--labels", str(nobody)]) == 2
        assert "the score is no number: '5'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--step", "generate", "--shard", "4/4"], "--shard must be like 0/4"),
        (["--step", "draw"], "--step must be generate, score or both"),
        (["--step", "score"], "is scored by a judge: --judge NAME"),
        (["--rewriter", "x"], "--rewriter is for single pictures"),
        (["--data", "nowhere"], "nowhere"),
        (["--subset", "fr"], "no subset 'fr'"),
        (["--samples", "2"], "has a place for one answer to each question"),
        (["--shard", "0/2"], "--shard shares generating"),
    ],
)
def test_bad_options(
    tmp_path: Path, model: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = samples.howto500(tmp_path / "data")
    given = ["eval", "howto500", "-o", str(tmp_path / "out"), "--data", str(data), "-m", model, *QUICK]
    if options == ["--step", "score"]:
        assert run([*given, "--step", "generate"]) == 0
    assert run([*given, *options]) == 2
    message = capsys.readouterr().err.strip()
    assert said in message and len(message.splitlines()[-1]) < 300


def test_a_folder_has_one_benchmark_subset_and_model(
    tmp_path: Path, model: str, judge_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = samples.cooking200(tmp_path / "data"), tmp_path / "out"
    given = [
        "eval",
        "cooking200",
        "-o",
        str(out),
        "--data",
        str(data),
        *QUICK,
        *judged_by(judge_url),
    ]
    assert run([*given, "-m", model, "--step", "generate", "--subset", "text"]) == 0
    capsys.readouterr()
    assert run([*given, "-m", model, "--step", "score"]) == 2
    assert "holds answers to cooking200 text of model" in capsys.readouterr().err
    assert run([*given, "--step", "score", "--subset", "text"]) == 0 and report_of(out)["model"] == "model"
    note = (out / "run.json").read_text()
    (out / "run.json").write_text(note.replace('"weights": "', '"weights": "other'))
    assert run([*given, "-m", model, "--step", "generate", "--subset", "text"]) == 2
    assert "begun with generation" in capsys.readouterr().err, "of a model of that name with other weights"
    for broken in ("[]", "{}", "{"):
        (out / "run.json").write_text(broken)
        assert run([*given, "--step", "score", "--subset", "text"]) == 2 and "run.json" in capsys.readouterr().err
    (out / "run.json").unlink()
    assert run([*given, "-m", model, "--step", "generate", "--subset", "text"]) == 2
    assert "there is something else in it" in capsys.readouterr().err
    (tmp_path / "new").mkdir()
    (tmp_path / "new/.run.json.12-34.tmp").write_text(note)  # what a process leaves that was killed as it began
    assert run([*given[:3], str(tmp_path / "new"), *given[4:], "-m", model, "--step", "generate"]) == 0
    assert run([*given[:3], str(data / "cooking200.jsonl"), *given[4:], "-m", model]) == 2


def test_shards_share_the_work_and_limit_takes_evenly(tmp_path: Path, model: str) -> None:
    out = tmp_path / "out"
    given = [
        "eval",
        "geneval",
        "-o",
        str(out),
        "-m",
        model,
        *QUICK,
        "--limit",
        "6",
        "--samples",
        "1",
        "--step",
        "generate",
    ]
    assert run([*given, "--shard", "1/2"]) == 0
    half = sorted(path.name for path in (out / "answers").iterdir())
    assert half == ["00092", "00276", "00460"]
    assert run([*given, "--shard", "0/2"]) == 0
    assert len(list((out / "answers").iterdir())) == 6
    first = (out / "answers/00092/samples/0000.png").read_bytes()
    other = tmp_path / "other"
    assert run([*given[:3], str(other), *given[4:]]) == 0
    assert (other / "answers/00092/samples/0000.png").read_bytes() == first, "alike in any order"
