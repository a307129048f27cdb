"""The documents' code blocks run, in order, and the files that they name exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"


def blocks(name: str, language: str) -> list[str]:
    text = (DOCS / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks("embedding.md", "python"), 1):
        exec(compile(block, f"embedding.md, block {number}", "exec"), names)
    assert names["reviewed"].reason == "stopped" and names["waiting"].reason == "end"
    assert len(names["again"].pictures) == len(names["plan"].pictures) >= 3
    assert names["message"].artifact.picture and "whiskers" in capsys.readouterr().out
    (config,) = blocks("embedding.md", "json")
    assert json.loads(config)["mcpServers"]["duogen"]["args"][0] == "mcp"


def test_training(tmp_path: Path) -> None:
    from duogen.training.tuning.config import load_tuning

    written = blocks("training.md", "toml")
    assert len(written) == 2
    for block in written:
        (tmp_path / "tune.toml").write_text(block)
        config = load_tuning(tmp_path / "tune.toml")
        assert config.stage1 is not None and config.stage2 is not None and config.model == tmp_path / "my-duogen"


def test_the_data_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from duogen.cli import run
    from duogen.training.engine.config import load_engine_config

    from .training.engine.site import write_site
    from .training.engine.test_web import archive

    monkeypatch.chdir(tmp_path)
    write_site(tmp_path / "pages", 10)
    archive(tmp_path / "crawl.warc.gz", tmp_path / "pages")
    commands = [line for block in blocks("data-engine.md", "bash") for line in block.splitlines()]
    assert len(commands) == 4
    for command in commands:
        assert run(shlex.split(command)[1:]) == 0, command
    assert "of 20 items" in capsys.readouterr().out
    (block,) = blocks("data-engine.md", "toml")
    (tmp_path / "c.toml").write_text(block)
    assert load_engine_config(tmp_path / "c.toml").pictures.min_side == 200


def test_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from duogen.cli import run

    monkeypatch.chdir(tmp_path)
    commands = [line for block in blocks("benchmarks.md", "bash") for line in block.splitlines()]
    assert len(commands) == 2
    for command in commands:
        assert run(shlex.split(command)[1:]) == 0, command
    assert len(list(Path("geneval/answers").glob("*/samples/0000.png"))) == 6
    assert "2212 pictures" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_what_documents_link_to_exists(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
