from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from duogen.agent.agent import Agent
from duogen.agent.runs import RunFolder, find_run, known_runs
from duogen.cli import run
from duogen.document import Document
from duogen.errors import InputError
from duogen.models.sampler import PaintSettings

QUICK = PaintSettings(steps=1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_are_listed_shown_exported_and_deleted(
    default_agent: Agent, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs"]) == 0 and "no runs yet" in capsys.readouterr().err
    first = default_agent.plan("Draw a red ball.", folder=home / "one", settings=QUICK)
    second = default_agent.plan("Draw a blue cup.", folder=home / "two", settings=QUICK)
    (home / "two" / "mine.txt").write_text("keep me")
    assert first.run != second.run

    assert run(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [second.run, first.run]
    assert "finished" in lines[0] and lines[0].endswith("Draw a blue cup.")

    assert run(["runs", "show", first.run[:6]]) == 0
    shown = capsys.readouterr().out
    assert str(home / "one") in shown and first.run in shown
    assert run(["runs", "show", first.run, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["status"], summary["pictures"], summary["reason"]) == ("finished", 1, "end")

    assert run(["runs", "export", first.run, "-o", "copy"]) == 0
    assert {path.name for path in (home / "copy").iterdir()} == {"plan.json", "plan.md", "plan.html", "pictures"}
    assert Document.load(home / "copy") == first.document
    assert run(["runs", "export", first.run, "-o", "copy"]) == 2 and "exists already" in capsys.readouterr().err

    assert run(["runs", "delete", "-y", first.run, second.run]) == 0
    assert not (home / "one").exists() and [path.name for path in (home / "two").iterdir()] == ["mine.txt"]
    assert known_runs() == []


def test_a_follow_up_belongs_to_its_run(default_agent: Agent, home: Path) -> None:
    plan = default_agent.plan("Put a red ball in the centre.", folder=home / "one", settings=QUICK)
    more = default_agent.resume(home / "one", "Now add a blue cup in the top left.", settings=QUICK)
    assert more.run == plan.run and [note.id for note, _ in known_runs()] == [plan.run]
    assert run(["runs", "resume", plan.run, "Take away the red ball.", "-q"]) == 0
    assert len(Document.load(home / "one").messages) == 6


def test_an_interrupted_run_is_resumed_by_its_id(
    default_agent: Agent, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        default_agent.plan("Teach me to draw a cat.", folder=home / "cat", settings=QUICK, on_event=crash)
    assert run(["runs"]) == 0
    line = capsys.readouterr().out
    assert "interrupted" in line
    assert run(["runs", "export", line.split()[0], "-o", "copy"]) == 2
    assert "isn't finished" in capsys.readouterr().err
    assert run(["runs", "resume", line.split()[0], "-q"]) == 0
    assert len(Document.load(home / "cat").images) > 3


def test_two_processes_never_work_on_one_plan(
    default_agent: Agent, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default_agent.plan("Draw a red ball.", folder=home / "one", settings=QUICK)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from duogen.agent.runs import RunFolder\n"
         "with RunFolder(sys.argv[1]).locked():\n print('locked', flush=True); sys.stdin.read()", str(home / "one")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == b"locked\n"
    ((note, _),) = known_runs()
    with pytest.raises(InputError, match="another process is working"):
        default_agent.resume(home / "one", "Now a cup.", settings=QUICK)
    assert run(["runs", "delete", "-y", note.id]) == 2 and "another process" in capsys.readouterr().err
    holder.kill()  # a killed process leaves no lock behind
    holder.wait()
    assert default_agent.resume(home / "one", "Now a cup.", settings=QUICK).reason == "end"


def test_folders_that_moved_or_went_are_not_listed(default_agent: Agent, home: Path) -> None:
    default_agent.plan("Draw a red ball.", folder=home / "one", settings=QUICK)
    (home / "one").rename(home / "elsewhere")
    assert known_runs() == []
    assert default_agent.resume(home / "elsewhere", "Now a cup.", settings=QUICK).reason == "end"
    assert len(known_runs()) == 1, "used again, it is found again"


def test_what_is_not_a_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("", "abc", "../etc"):
        with pytest.raises(InputError, match="no run has"):
            find_run(name)
    damaged = home / "plan" / ".duogen"
    damaged.mkdir(parents=True)
    (damaged / "run.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        RunFolder(home / "plan").note()
    assert run(["plan", "-c", "plan"]) == 2 and "damaged" in capsys.readouterr().err


def test_a_home_that_cannot_be_written_costs_no_plan(
    default_agent: Agent, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "file"))
    assert default_agent.plan("Draw a red ball.", folder=home / "one", settings=QUICK).reason == "end"


def test_a_plan_as_a_booklet(default_agent: Agent, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = default_agent.plan("Draw a red ball.", folder=home / "one", settings=QUICK)
    assert run(["export", plan.run, "--to", "html,pdf,docx,epub,md", "-o", "shelf"]) == 0
    written = capsys.readouterr().out.split()
    assert written == [f"shelf/draw-a-red-ball.{each}" for each in ("html", "pdf", "docx", "epub", "md")]
    assert run(["export", "one", "--to", "html", "-o", "shelf"]) == 2 and "exists already" in capsys.readouterr().err
    assert run(["export", "one", "--to", "html", "-o", "shelf", "--name", "other"]) == 0
    for name in ("../up", "/etc/x", ".hidden", ""):
        assert run(["export", "one", "--name", name, "-o", "again"]) == (2 if name else 0), "an empty name is none"
    assert run(["export", "nothing"]) == 2 and run(["export", "one", "--to", "exe"]) == 2
    assert {path.name for path in home.iterdir()} >= {"one", "shelf"} and not (home / "up.html").exists()
