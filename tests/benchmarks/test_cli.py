"""`duogen bench`, on the shortest of works: what it prints and writes, never how long anything takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from duogen.benchmarks import batch
from duogen.benchmarks.machine import begin_peak, matrix_peak, peak_memory
from duogen.benchmarks.racer import Racer
from duogen.cli import run
from duogen.errors import DuoGenError


def test_a_work_and_a_batch_leave_a_table_and_a_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "REQUESTS", 4)
    path = tmp_path / "figures.json"
    chosen = ["--work", "plan of 2", "--work", "batch", "--at-once", "4"]
    chosen += ["--rival", "stock", "--rival", "fast", "--rival", "few steps"]
    assert run(["bench", *chosen, "--repeats", "1", "--steps", "1", "-o", str(path)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(path.read_text())
    rows = report["works"]["plan of 2"]
    assert set(rows) == {"stock", "fast", "few steps"} and report["steps"] == 1 and report["peak_flops"] > 1e9
    assert rows["stock"]["ratio"] == 1 and rows["fast"]["tokens"]["text"] < rows["stock"]["tokens"]["text"]
    assert len(rows["fast"]["step_seconds"]) == 2 and min(rows["fast"]["step_seconds"]) > 0
    assert rows["fast"]["step_flops"][1] > rows["fast"]["step_flops"][0] > 0
    # Four steps for the first picture and two for the second, where the others take one for each.
    assert rows["few steps"]["tokens"]["denoising"] == 3 * rows["fast"]["tokens"]["denoising"]
    assert len(rows["few steps"]["step_flops"]) == 2 and min(rows["few steps"]["step_flops"]) > 0
    for row in rows.values():
        assert sum(row["parts"].values()) == pytest.approx(row["seconds"], rel=0.01)
        assert row["flops"]["denoising"] > 0 and 0 < row["share_of_peak"] < 1.5
    assert set(report["batches"]["batch"]) == {"one by one", "4 at once"}
    assert len({row["pictures"] for row in report["batches"]["batch"].values()}) == 1
    for said in (
        "**plan of 2**",
        "| stock | 1.00 |",
        "**batch**",
        "A denoising step of `fast`, in ms, by picture",
        "in GFLOP:",
    ):
        assert said in printed


def test_a_rival_that_fails_is_heard(tmp_path: Path) -> None:
    with pytest.raises(DuoGenError, match=r"a rival failed: fast: .*not a DuoGen model folder"):
        Racer("fast", str(tmp_path), None)


@pytest.mark.parametrize("option", [["--work", "plan of 3"], ["--rival", "fastest"]])
def test_unknown_names_are_refused_with_the_known_ones(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *option]) == 2
    error = capsys.readouterr().err
    assert option[1] in error and ("plan of 2" in error or "stock" in error) and len(error.splitlines()) <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak from a point on")
def test_memory_is_measured_from_one_point_on() -> None:
    begin_peak()
    before = peak_memory()
    assert before is not None
    block = bytearray(200 * 2**20)
    block[::4096] = b"1" * len(block[::4096])
    assert (peak_memory() or 0) > before + 150 * 2**20
    del block
    begin_peak()
    assert (peak_memory() or 0) < before + 100 * 2**20


def test_the_peak_is_that_of_a_matrix_product() -> None:
    assert 1e9 < matrix_peak(256, 3) < 1e16
