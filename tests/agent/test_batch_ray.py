from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import psutil
import pytest

from duogen.cli import run

LINES = [
    f"Draw a {colour} {shape}." for colour in ("red", "blue", "green", "pink") for shape in ("ball", "cube", "star")
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    rows = [{"custom_id": f"id-{number}", "request": line, "steps": 2} for number, line in enumerate(LINES)]
    rows.append({"custom_id": "doomed", "request": "Teach me to draw a cat.", "steps": 12})
    (tmp_path / "r.jsonl").write_text("\n".join([*map(json.dumps, rows), "{"]))
    return tmp_path


class Killer(threading.Thread):
    """Kills the worker that is at work in a folder, so many times."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.times, self.killed, self.over = folder, times, 0, threading.Event()

    def run(self) -> None:
        while self.killed < self.times and not self.over.is_set():
            for process in psutil.Process().children(recursive=True):
                try:
                    if any(Path(file.path).is_relative_to(self.folder) for file in process.open_files()):
                        process.kill()
                        process.wait(10)
                        self.killed += 1
                        break
                except psutil.Error:
                    continue
            time.sleep(0.02)


@pytest.mark.parametrize(("kills", "done"), [(1, 13), (3, 12)])
def test_two_workers_that_die_lose_nothing_and_double_nothing(
    home: Path, kills: int, done: int, capsys: pytest.CaptureFixture[str]
) -> None:
    killer = Killer(home / "out" / "doomed", kills)
    killer.start()
    command = ["batch", "r.jsonl", "-o", "out", "--engine", "ray", "--workers", "2", "--at-once", "3"]
    assert run(command) == 3
    killer.over.set()
    assert killer.killed == kills
    made = json.loads((home / "out" / "manifest.json").read_text())
    assert [item["custom_id"] for item in made["items"]] == [
        *(f"id-{number}" for number in range(12)),
        "doomed",
        "line-00014",
    ]
    journal = [json.loads(line)["custom_id"] for line in (home / "out" / "journal.jsonl").read_text().splitlines()]
    assert sorted(journal) == sorted(item["custom_id"] for item in made["items"])
    assert made["done"] == done
    assert all(
        (home / "out" / item["custom_id"] / "plan.html").exists() for item in made["items"] if item["status"] == "done"
    )
    if kills == 3:
        assert made["items"][12]["error"] == "its process died each of the 3 times that it was tried"
    assert not list((home / "out").glob(".journal*"))
    capsys.readouterr()
    assert run([*command, "--resume"]) == 3 and "0 worked on" in capsys.readouterr().err


def test_a_model_that_is_none_is_said_in_a_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["batch", "r.jsonl", "-o", "out", "--engine", "ray", "--model", str(home / "none")]) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == f"duogen: {home / 'none'}: not a DuoGen model folder (no model_index.json in it)"
    )
    assert run(["batch", "r.jsonl", "-o", "out", "--engine", "dask"]) == 2
