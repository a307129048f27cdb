"""What the data engine makes is what both stages train on: shards of web pages, prompts and videos, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from duogen.cli import run

from ..engine.site import write_site
from ..engine.test_video import film, shot


def test_both_stages_train_on_all_three(setting: Any, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text("shard_documents = 4\n")
    write_site(tmp_path / "site", 10)
    film(tmp_path / "in.mp4", [*shot(1, 6, 130), *shot(2, 6, 130)])
    for command in (
        ["web", str(tmp_path / "site"), "-c", str(tmp_path / "small.toml")], ["video", str(tmp_path / "in.mp4")],
        ["synthetic", "-n", "2", "--taxonomy", "world", "--check", "0"],
    ):  # fmt: skip
        assert run(["data", *command, "-o", str(tmp_path / command[0]), "-q"]) == 0
    assert len(list((tmp_path / "web").glob("documents-*.jsonl"))) == 3
    text = setting().read_text()
    shards = '"web/documents-*.jsonl", "video/documents-*.jsonl", "synthetic/documents-*.jsonl"'
    text = text.replace('train = ["documents.jsonl"]', f"train = [{shards}]").replace(
        'validation = ["documents.jsonl"]\n', ""
    )
    (tmp_path / "config.toml").write_text(text.replace("pack_tokens = 1600", "pack_tokens = 6000"))
    for stage in ("stage1", "stage2"):
        out = tmp_path / stage
        assert run(["train", stage, str(tmp_path / "config.toml"), "-o", str(out), "-q"]) == 0
        steps = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert len(steps) == 4 and all(0 < step["loss"] < 100 for step in steps)
    # None of the documents was left out for its size, nor for a picture.
    measured = [json.loads(line) for line in (tmp_path / "stage2" / "index.jsonl").read_text().splitlines()]
    assert len(measured) >= 12
