"""The README's code blocks do what they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from duogen.cli import read_settings, run
from duogen.document import Document

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_there_are_two_command_blocks() -> None:
    install, test = blocks("bash")
    assert "pip install ." in install
    assert "duogen plan" in install
    assert test.splitlines()[-1] == "pytest -q"


def test_the_first_block_leaves_a_plan_with_pictures() -> None:
    commands = [shlex.split(line)[1:] for line in blocks("bash")[0].splitlines() if line.startswith("duogen ")]
    assert [run(command) for command in commands] == [0]
    assert len(Document.load("my-plan").images) >= 3
    assert Path("my-plan/plan.html").read_text().count("data:image/png") >= 3


def test_the_settings_block_is_read() -> None:
    Path("duogen.toml").write_text(blocks("toml")[0])
    assert read_settings([Path("duogen.toml")]) == {"plan": {"steps": 24}}


def test_the_python_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    assert "new picture(s)" in capsys.readouterr().out
    assert Path("out/plan.md").exists()


def test_the_files_it_names_exist() -> None:
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (root / target).exists(), target
