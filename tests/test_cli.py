"""The command line from outside: what it prints, what it leaves, how it fails."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from duogen.cli import read_settings, run
from duogen.document import Document, Picture
from duogen.errors import InputError

REQUEST = "Arrange a red ball in the top left and a blue cup in the centre."


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_plan_leaves_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", REQUEST, "-o", "out", "--steps", "2"]) == 0
    shown = capsys.readouterr()
    document = Document.load("out")
    answer = document.messages[-1]
    assert shown.out.count("[picture ") == len(document.images) >= 1
    assert all(line in shown.out for line in answer.text.splitlines())
    assert "out/plan.html" in shown.err and "\x1b" not in shown.out + shown.err
    assert {path.name for path in Path("out").iterdir()} >= {"plan.json", "plan.md", "plan.html", "pictures"}


def test_json_quiet_and_default_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", REQUEST, "--json", "--steps", "1"]) == 0
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert answer["reason"] == "end" and answer["folder"].startswith("plans/arrange-a-red-ball") and shown.err == ""
    assert run(["plan", REQUEST, "-q", "--steps", "1"]) == 0
    second = capsys.readouterr().out.strip()
    assert second != answer["folder"] and Path(second, "plan.json").exists(), "never overwrites"


def test_standard_input_and_follow_up(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(REQUEST + "\n"))
    assert run(["plan", "-", "-o", "out", "-q", "--steps", "1"]) == 0
    assert run(["plan", "-c", "out", "Now remove the red ball.", "-q", "--steps", "1"]) == 0
    assert [message.role for message in Document.load("out").messages] == ["user", "assistant"] * 2
    assert run(["plan", "-c", "out"]) == 2
    assert "add a request" in capsys.readouterr().err


def test_draw_and_edit(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["draw", "a red ball in the top left", "-o", "ball.png", "--steps", "2"]) == 0
    assert run(["edit", "paint the ball blue", "-i", "ball.png", "-o", "blue.png", "--steps", "2"]) == 0
    assert capsys.readouterr().out.split() == ["ball.png", "blue.png"]
    assert Image.open("blue.png").size == (192, 192)
    assert run(["draw", "a cup", "-o", "ball.png"]) == 2, "an existing file is kept"


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["machine"]["attention backend"] in ("sdpa", "xformers")
    assert int(report["model default"]["transformer parameters"].replace(",", "")) > 1_000_000
    assert "GPU memory" not in report["model default"]
    assert run(["doctor", "--device", "cuda", "--memory", "bfloat16,offload-layer"]) == 0
    assert "GPU memory" in capsys.readouterr().out
    assert run(["doctor", "--memory", "tiny"]) == 2 and "'tiny' isn't a way" in capsys.readouterr().err


def test_the_world_as_documents(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "world", "-o", "docs/world.jsonl", "-n", "5", "--family", "depict", "--seed", "2"]) == 0
    lines = Path("docs/world.jsonl").read_text().splitlines()
    documents = [Document.from_json(line, "docs") for line in lines]
    assert len(documents) == 5 and all(len(document.images) == 1 for document in documents)
    capsys.readouterr()
    assert run(["data", "world", "-o", "docs/world.jsonl"]) == 2 and "exists already" in capsys.readouterr().err
    assert (
        run(["data", "world", "-o", "x.jsonl", "--family", "sing"]) == 2 and "no such family" in capsys.readouterr().err
    )


def test_train_in_slices(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "world", "debug", "-o", "run", "-q"]
    assert run([*arguments, "--only", "tokenizer", "--only", "codec"]) == 0
    assert run([*arguments, "--only", "pretrain", "--minutes", "0.01"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["tokenizer: done", "codec: done"]
    assert run([*arguments, "--only", "paint"]) == 2
    assert run(["train", "world", "nonsense"]) == 2


def test_eval_world(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "world", "--limit", "4", "--steps", "1", "-o", "report.json"]) == 0
    table = capsys.readouterr().out
    report = json.loads(Path("report.json").read_text())
    assert "floor: copy previous picture" in table and "Parser on true renders" in table
    parts = {"scores", "intervals", "depict_tags", "state_by_picture", "floors", "pictures", "parser", "settings"}
    assert parts == set(report)
    assert "95 % interval" in table and "State accuracy of picture 1: " in table
    capsys.readouterr()
    assert run(["eval", "world", "--limit", "2", "--only", "text"]) == 0
    shown = capsys.readouterr().out
    assert "true pictures" in shown and "emission F1" in shown and "agreement" not in shown
    assert run(["eval", "world", "--limit", "1", "--steps", "1", "--only", "pictures", "--page", "page.html"]) == 0
    assert "<img" in Path("page.html").read_text()
    shown = capsys.readouterr().out
    assert "state" in shown and "emission F1" not in shown and "floor" not in shown
    assert run(["eval", "world", "--limit", "1", "--family", "beyond"]) == 0, "a family without pictures"
    assert run(["eval", "world", "--only", "poems"]) == 2
    assert run(["eval", "world", "--only", "text", "--self-check", "1"]) == 2
    assert run(["eval", "world", "--split", "test"]) == 2
    assert run(["eval", "world", "--family", "poems"]) == 2


def test_self_checks_are_told_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", REQUEST, "-o", "out", "--steps", "1", "--self-check", "1"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "the step (" in line]
    assert len(told) >= len(Document.load("out").images) >= 1
    world = ["eval", "world", "--family", "depict", "--limit", "2", "--steps", "1"]
    assert run([*world, "--self-check", "2", "--failures", "wrong"]) == 0
    assert "Self-check, at most 2 more attempts: states of first attempts" in capsys.readouterr().out


def test_a_gallery(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "gallery", "--family", "beyond", "-o", "shown"]) == 0
    assert "**beyond**" in capsys.readouterr().out
    assert run(["eval", "gallery", "--family", "poems"]) == 2


@pytest.fixture
def bad_files(tmp_path: Path, bomb: bytes) -> None:
    Path("text.png").write_text("not a picture")
    Path("empty.png").touch()
    Path("bomb.png").write_bytes(bomb)
    Path("used").mkdir()
    Path("used/notes.txt").write_text("mine")
    Path("damaged/.duogen").mkdir(parents=True)
    Path("damaged/.duogen/run.json").write_text("{")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan"], "say what to plan"),
        (["plan", ""], "empty"),
        (["plan", "   "], "empty"),
        (["plan", "x" * 1_000_000], "1,000,000 characters"),
        (["plan", "caf\udce9"], "valid UTF-8"),
        (["plan", "Edit.", "-i", "missing.png"], "missing.png"),
        (["plan", "Edit.", "-i", "text.png"], "text.png"),
        (["plan", "Edit.", "-i", "empty.png"], "the file is empty"),
        (["plan", "Edit.", "-i", "bomb.png"], "more than the 64,000,000 pixels"),
        (["plan", "Build.", "-o", "used"], "used"),
        (["plan", "Build.", "--guidance-interval", "0.9", "0.1"], "--guidance-interval goes from a noise level up"),
        (["plan", "Build.", "-o", "text.png/plan"], "text.png"),
        (["plan", "Build.", "--width", "100"], "multiples of 32"),
        (["plan", "Build.", "-m", "used"], "not a DuoGen model folder"),
        (["plan", "Build.", "--device", "abacus"], "abacus"),
        (["plan", "-c", "used"], "no plan in this folder"),
        (["plan", "-c", "damaged"], "can't be continued"),
        (["plan", "-c", "used", "-o", "new"], "either --continue or --output"),
        (["plan", "Build.", "--steps", "0"], "steps"),
        (["draw", " "], "empty"),
        (["edit", "paint it", "-i", "missing.png"], "missing.png"),
        (["draw", "a ball", "-o", "text.png/new.png"], "text.png"),
        (["doctor", "-m", "used"], "not a DuoGen model folder"),
        (["fly"], "No such command"),
    ],
)
def test_bad_input_is_explained_in_a_line_or_two(
    arguments: list[str], message: str, bad_files: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(str(path) for path in Path().rglob("*"))
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err.replace("\n", " ") and "Traceback" not in shown.err and shown.out == ""
    assert sorted(str(path) for path in Path().rglob("*")) == before, "nothing half-written"


def test_settings_files(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config/duogen").mkdir(parents=True)
    Path("config/duogen/config.toml").write_text("[plan]\nsteps = 3\nmax-pictures = 1\n")
    Path("duogen.toml").write_text("[plan]\nsteps = 2\n")
    assert read_settings([Path("config/duogen/config.toml"), Path("duogen.toml")]) == {
        "plan": {"steps": 2, "max_pictures": 1}
    }
    assert run(["plan", REQUEST, "-o", "out", "-q"]) == 0
    assert len(Document.load("out").images) == 1
    monkeypatch.setenv("DUOGEN_STEPS", "0")
    assert run(["plan", REQUEST, "-o", "other"]) == 2, "the environment wins over files"
    assert run(["plan", REQUEST, "-o", "other", "-q", "--steps", "1"]) == 0, "flags win over the environment"
    capsys.readouterr()
    Path("duogen.toml").write_text("steps: 2")
    assert run(["plan", REQUEST]) == 2
    assert "duogen.toml" in capsys.readouterr().err
    with pytest.raises(InputError):
        read_settings([Path("duogen.toml")])


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--help"],
        ["plan", "--help"],
        ["train", "-h"],
        ["train", "stage1", "-h"],
        ["assemble", "-h"],
        ["data", "world", "-h"],
        ["eval", "world", "--help"],
    ):
        assert run(arguments) == 0
        assert "Usage" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("duogen 0.")


def test_help_reads_no_options_of_groups() -> None:
    asked = "import sys; from duogen.cli import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert "Make training documents" in done.stdout and "duogen.agent.cli" in done.stdout
    assert "duogen.evaluation.cli" not in done.stdout and "torch" not in done.stdout.split()


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("duogen.agent.cli._load", interrupt)
    assert run(["plan", REQUEST, "-o", "out"]) == 130
    assert "duogen plan -c" in capsys.readouterr().err


def test_unexpected_errors_hide_their_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom\nand more")

    monkeypatch.setattr("duogen.agent.cli._load", fail)
    assert run(["draw", "a ball"]) == 1
    assert capsys.readouterr().err == "duogen: unexpected RuntimeError: boom\nRun again with --debug for details.\n"
    with pytest.raises(RuntimeError):
        run(["--debug", "draw", "a ball"])


def test_pictures_of_a_plan_are_readable(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", REQUEST, "-o", "out", "-q", "--steps", "1"]) == 0
    for path in Path("out/pictures").iterdir():
        assert Picture.from_file(path).width == 192


def test_a_review_at_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["", "x", "r", "", "i", "Add a yellow star in the bottom right.", "", "s"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{answer}\n" for answer in answers)))
    assert run(["plan", REQUEST, "-o", "out", "--steps", "1", "--review"]) == 0
    shown = capsys.readouterr()
    assert "picture 1? Enter paint it" in shown.err and "one of the letters" in shown.err
    assert "Add a yellow star in the bottom right." in Document.load("out").messages[-1].text
    assert len(Document.load("out").images) == 3 and shown.out.count("[picture 1") == 2


def test_a_review_that_nobody_answers_waits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert run(["plan", REQUEST, "-o", "out", "--steps", "1", "--review"]) == 2
    assert "waits for it" in capsys.readouterr().err and not Path("out/plan.json").exists()
    assert run(["plan", "-c", "out", "-q"]) == 0, "without --review, whoever goes on agrees"
    assert len(Document.load("out").images) == 2


def test_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", REQUEST, "-o", "out", "--steps", "1", "--max-tokens", "12"]) == 0
    assert "stopped at --max-tokens" in capsys.readouterr().err and Path("out/plan.html").exists()
    assert run(["plan", REQUEST, "-o", "late", "--steps", "500", "--max-seconds", "0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reason"] == "max_seconds"
