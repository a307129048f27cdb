"""Interrupted, or shared among processes: a run comes to the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from duogen.cli import run
from duogen.training.tuning.config import load_tuning
from duogen.training.tuning.sharding import World
from duogen.training.tuning.stages import LanguageStage, PaintingStage

STAGES = ["stage1", "stage2"]


def losses(folder: Path) -> list[float]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    return [record["loss"] for record in records]


def weights(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted((folder / "model").rglob("*.safetensors"))
    }


def one_step(config: Path, name: str, folder: Path) -> bool:
    """A process's life of one step; returns whether the run is complete."""
    chosen = load_tuning(config)
    kind: Any = LanguageStage if name == "stage1" else PaintingStage
    stage = kind(chosen, getattr(chosen, name), folder, World(0, 1, torch.device("cpu")))
    return bool(stage.run(0.0, True))


def on_two(config: Path, name: str, folder: Path, *options: str) -> None:
    """The command, on two processes that share the weights."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "duogen.cli", "train", name, str(config), "-o", str(folder), "-q", "--device", "cpu", *options,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", STAGES)
def test_stopped_after_every_step_it_comes_to_the_same_bits(setting: Any, tmp_path: Path, name: str) -> None:
    config = setting(steps=5)
    assert run(["train", name, str(config), "-o", str(tmp_path / "whole"), "-q"]) == 0
    lives = 1
    while not one_step(config, name, tmp_path / "sliced"):
        lives += 1
    assert lives == 5
    assert losses(tmp_path / "sliced") == losses(tmp_path / "whole")
    assert weights(tmp_path / "sliced") == weights(tmp_path / "whole")
    assert (
        not one_step(config, name, tmp_path / "other") and losses(tmp_path / "other") == losses(tmp_path / "whole")[:1]
    )


def test_a_checkpoint_that_was_not_finished_is_not_taken(setting: Any, tmp_path: Path) -> None:
    config = setting(steps=3)
    one_step(config, "stage1", tmp_path / "run")
    fresh = tmp_path / "run" / ".checkpoint"
    fresh.mkdir()
    (fresh / "__0_0.distcp").write_bytes(b"half of it")
    os.rename(tmp_path / "run" / "checkpoint", tmp_path / "run" / "checkpoint.older")
    one_step(config, "stage1", tmp_path / "run")
    assert len(losses(tmp_path / "run")) == 2


def on_one_and_two(setting: Any, tmp_path: Path, name: str) -> tuple[Path, Path, Path]:
    """A configuration, and its run by one process and by two; both come to the same losses."""
    config, one, two = setting(steps=2, extra=f"{name}:validate_every = 1"), tmp_path / "one", tmp_path / "two"
    assert run(["train", name, str(config), "-o", str(one), "-q"]) == 0
    on_two(config, name, two)
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert weights(two).keys() == weights(one).keys()
    scores = [
        [json.loads(line)["validation_loss"] for line in (folder / "validation.jsonl").read_text().splitlines()]
        for folder in (one, two)
    ]
    assert len(scores[0]) == 2 and scores[1] == pytest.approx(scores[0], rel=1e-5)
    return config, one, two


def test_two_processes_align_as_one_does(setting: Any, tmp_path: Path) -> None:
    on_one_and_two(setting, tmp_path, "stage2")


def test_two_processes_tune_as_one_does_and_go_on_after_every_step(setting: Any, tmp_path: Path) -> None:
    config, one, two = on_one_and_two(setting, tmp_path, "stage1")
    sliced, moved = tmp_path / "sliced", tmp_path / "moved"
    for _ in range(2):
        assert not (sliced / "model").exists()
        on_two(config, "stage1", sliced, "--minutes", "0")
    assert losses(sliced) == losses(two) and weights(sliced) == weights(two)
    # What two have begun, one goes on with.
    on_two(config, "stage1", moved, "--minutes", "0")
    assert len(losses(moved)) == 1
    assert run(["train", "stage1", str(config), "-o", str(moved), "-q"]) == 0
    assert losses(moved) == pytest.approx(losses(one), rel=1e-5)
