"""A plan that is killed while it paints goes on at that picture."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from duogen.agent.agent import Agent
from duogen.document import Document
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings

REQUEST = "How do I build a red tower with three floors and a blue roof?"

# Kills its own process at a chosen denoising step of a chosen picture, as the kernel would: nothing can clean up.
KILLED = """
import os, signal, sys
import duogen
from duogen.agent.events import DenoisingStep, TextDelta
from duogen.models.sampler import PaintSettings

picture, step, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def watch(event):
    if isinstance(event, DenoisingStep) and (event.index, event.step) == (picture, step):
        os.kill(os.getpid(), signal.SIGKILL)
    if picture == 0 and isinstance(event, TextDelta):
        os.kill(os.getpid(), signal.SIGKILL)

duogen.load().plan({request!r}, folder=folder, on_event=watch, settings=PaintSettings(steps=4, seed=3))
""".replace("{request!r}", repr(REQUEST))


@pytest.fixture(scope="module")
def undisturbed(default_agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Document:
    folder = tmp_path_factory.mktemp("whole") / "plan"
    return default_agent.plan(REQUEST, folder=folder, settings=PaintSettings(steps=4, seed=3)).document


@pytest.mark.parametrize(("picture", "step"), [(0, 0), (1, 2), (3, 1)])
def test_killed_and_continued(
    picture: int, step: int, undisturbed: Document, default_agent: Agent, tmp_path: Path
) -> None:
    folder = tmp_path / "plan"
    done = subprocess.run([sys.executable, "-c", KILLED, str(picture), str(step), str(folder)], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert not (folder / "plan.json").exists()
    before = {path.name: path.read_bytes() for path in (folder / "pictures").glob("*.png")}
    assert len(before) == max(0, picture - 1), "the pictures before the killed one are kept"

    painted = []
    plan = default_agent.resume(folder, on_event=painted.append)
    after = {path.name: path.read_bytes() for path in (folder / "pictures").glob("*.png")}
    assert before.items() <= after.items(), "finished pictures stay byte for byte"
    started = [event.index for event in painted if type(event).__name__ == "PictureStarted"]
    assert started[0] == max(1, picture), "it resumes at the unfinished picture"
    assert plan.document == undisturbed == Document.load(folder), "to the last bit"


def test_an_unfinished_plan_takes_no_new_request(default_agent: Agent, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    subprocess.run([sys.executable, "-c", KILLED, "1", "1", str(folder)], env=os.environ)
    with pytest.raises(Exception, match="isn't finished"):
        default_agent.resume(folder, "Now paint it green.")
    assert default_agent.resume(folder).reason == "end"


def test_sampled_text_is_the_same_after_a_restart(default_agent: Agent) -> None:
    decode = DecodeSettings(temperature=1.0, seed=11)
    quick = PaintSettings(steps=1)
    one = default_agent.plan("Build a red tower.", settings=quick, decode=decode)
    two = default_agent.plan("Build a red tower.", settings=quick, decode=decode)
    assert one.document == two.document
