from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from duogen.agent.agent import Agent
from duogen.agent.batch import Batch, Local, Outcome
from duogen.agent.lines import read_items
from duogen.cli import run
from duogen.document import Document, Picture
from duogen.errors import InputError

GOOD: list[dict[str, Any]] = [
    {"custom_id": "ball", "request": "Draw a red ball.", "steps": 1},
    {"request": "Draw a blue cup.", "steps": 1, "seed": 3},
    {"custom_id": "shelf", "request": "What is on my shelf?", "images": ["mine.png"]},
]


@pytest.fixture
def home(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.png").write_bytes(picture.data)
    return tmp_path


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def manifest(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "manifest.json").read_text()))


def test_one_folder_an_id_a_manifest_and_an_index(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(home / "r.jsonl", [*GOOD, "", "{", {"request": "x", "custom_id": "a/b"}])
    assert run(["batch", "r.jsonl", "-o", "out", "--to", "pdf"]) == 3
    shown = capsys.readouterr()
    assert shown.out.strip() == "out/manifest.json" and "3 plans, 2 failed, 5 worked on" in shown.err
    assert "line 5: not JSON" in shown.err and "line 6: custom_id" in shown.err
    made = manifest(home / "out")
    assert [item["custom_id"] for item in made["items"]] == ["ball", "line-00002", "shelf", "line-00005", "line-00006"]
    assert [item["status"] for item in made["items"]] == ["done"] * 3 + ["failed"] * 2
    assert [item["pictures"] for item in made["items"]] == [1, 1, 1, 0, 0] and made["requests"] == 5
    assert len(Document.load(home / "out" / "ball").images) == 1 and (home / "out" / "ball" / "plan.pdf").exists()
    page = (home / "out" / "index.html").read_text()
    assert 'href="ball/plan.html"' in page and "line 5: not JSON" in page

    assert run(["batch", "r.jsonl", "-o", "out"]) == 2 and "--resume" in capsys.readouterr().err
    assert run(["batch", "r.jsonl", "-o", "out", "--resume"]) == 3 and "0 worked on" in capsys.readouterr().err


def test_what_failed_can_be_tried_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "mine.png").rename(home / "away.png")
    write(home / "r.jsonl", GOOD)
    assert run(["batch", "r.jsonl", "-o", "out", "-q"]) == 3
    (home / "away.png").rename(home / "mine.png")
    assert run(["batch", "r.jsonl", "-o", "out", "--resume"]) == 3 and "0 worked on" in capsys.readouterr().err
    assert run(["batch", "r.jsonl", "-o", "out", "--retry-failed"]) == 0
    assert "1 worked on" in capsys.readouterr().err and manifest(home / "out")["failed"] == 0


def test_shards_and_limits(home: Path) -> None:
    write(home / "r.txt", [f"Draw a {colour} ball." for colour in ("red", "blue", "green", "pink", "white")])
    for first in (1, 2):
        assert run(["batch", "r.txt", "-o", "out", "--shard", f"{first}/2", "-q"]) == 0
    done = [json.loads((home / "out" / f"manifest-{first}-of-2.json").read_text())["items"] for first in (1, 2)]
    assert [[item["number"] for item in items] for items in done] == [[1, 3, 5], [2, 4]]
    assert run(["batch", "r.txt", "-o", "few", "--limit", "2", "-q"]) == 0
    assert manifest(home / "few")["done"] == 2
    for wrong in ("0/2", "3/2", "1", "a/b"):
        assert run(["batch", "r.txt", "-o", "x", "--shard", wrong]) == 2


def test_csv_and_text(home: Path) -> None:
    with open(home / "r.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["custom_id", "request", "images", "steps", "temperature"])
        table.writerow(["a", 'Draw a "red", ball\non two lines.', "", "1", "0.5"])
        table.writerow(["b", "What is it?", "mine.png; mine.png", "", ""])
        table.writerow(["c", "x", "", "many", ""])
        table.writerow(["d", "x", "", "1", "0", "more"])
    a, b, c, d = read_items(home / "r.csv")
    assert a.line is not None and (a.line.steps, a.line.temperature) == (1, 0.5) and "\n" in a.line.request
    assert b.line is not None and b.line.images == ["mine.png", "mine.png"] and b.line.steps is None
    assert "steps" in c.error and "6 columns where the header has 5" in d.error
    lines = read_items(write(home / "r.txt", ["Draw a ball.", "", '{"request": "no JSON here"}']))
    assert [item.number for item in lines] == [1, 3] and lines[1].line is not None


def test_an_interrupted_run_goes_on_where_it_was(default_agent: Agent, home: Path) -> None:
    write(home / "r.jsonl", [{"custom_id": "cat", "request": "Teach me to draw a cat.", "steps": 1}])

    def crash(event: object) -> None:
        if type(event).__name__ == "PictureDone":
            raise KeyboardInterrupt

    from duogen.models.sampler import PaintSettings

    with pytest.raises(KeyboardInterrupt):
        default_agent.plan(
            "Teach me to draw a cat.", folder=home / "out" / "cat", settings=PaintSettings(steps=1), on_event=crash
        )
    before = {path.name for path in (home / "out" / "cat" / "pictures").glob("*.png")}
    done: list[Outcome] = []
    Batch(home / "out", home).run(Local(default_agent, 4, []), read_items(home / "r.jsonl"), done.append)
    assert [outcome.status for outcome in done] == ["done"] and len(before) == 1
    assert before < {path.name for path in (home / "out" / "cat" / "pictures").glob("*.png")}


def test_a_journal_that_ends_in_the_middle(default_agent: Agent, home: Path) -> None:
    write(home / "r.jsonl", GOOD[:2])
    batch = Batch(home / "out", home)
    batch.run(Local(default_agent, 4, []), read_items(home / "r.jsonl")[:1], lambda _: None)
    with open(batch.journal, "ab") as journal:
        journal.write(b'{"custom_id": "line-0')
    assert set(batch.outcomes()) == {"ball"}
    batch.run(Local(default_agent, 4, []), read_items(home / "r.jsonl")[1:], lambda _: None)
    assert set(batch.outcomes()) == {"ball", "line-00002"}


def test_what_nobody_foresaw_harms_no_other(default_agent: Agent, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "r.jsonl", GOOD[:2])
    plan = default_agent.plan

    def odd(request: str, *arguments: Any, **options: Any) -> Any:
        if "cup" in request:
            raise RuntimeError("odd\nindeed")
        return plan(request, *arguments, **options)

    monkeypatch.setattr(default_agent, "plan", odd)
    batch, done = Batch(home / "out", home), list[Outcome]()
    batch.run(Local(default_agent, 4, []), read_items(home / "r.jsonl"), done.append)
    assert {outcome.custom_id: outcome.status for outcome in done} == {"ball": "done", "line-00002": "failed"}
    assert done[-1].error == "unexpected RuntimeError: odd"


def test_ctrl_c_ends_it_cleanly(home: Path) -> None:
    write(home / "r.txt", ["Teach me to draw a cat."] * 40)
    process = subprocess.Popen(
        [sys.executable, "-m", "duogen.cli", "batch", "r.txt", "-o", "out", "--at-once", "2"],
        stderr=subprocess.PIPE,
        text=True,
        # What a shell runs in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    journal = home / "out" / "journal.jsonl"
    while not journal.exists() or b"\n" not in journal.read_bytes():  # it is there a moment before its first line is
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in said and "Traceback" not in said
    assert 0 < manifest(home / "out")["done"] < 40
    assert not list((home / "out").rglob("*.tmp"))


def test_files_that_hold_no_requests(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "empty.jsonl").write_text("\n\n")
    for name, message in (("missing.jsonl", "can't read"), ("empty.jsonl", "no request")):
        with pytest.raises(InputError, match=message):
            read_items(home / name)
    write(home / "r.jsonl", GOOD)
    assert run(["batch", "r.jsonl", "-o", "out", "--to", "exe"]) == 2 and "can't be written" in capsys.readouterr().err


def test_many_lines_some_poisoned_killed_and_resumed() -> None:
    script = Path(__file__).parent / "many_lines.py"
    done = subprocess.run([sys.executable, str(script), "60", "24", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "2 kills while it ran, then resumed: the same manifest"
