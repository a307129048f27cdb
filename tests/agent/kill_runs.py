"""Kills plans at random moments, resumes them, and compares what comes out with an undisturbed one, byte for byte.

    python tests/agent/kill_runs.py 100

Each plan runs in a fork of a process that has loaded the model, as one thread: a kill must cost a second, not ten.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

import duogen
from duogen.agent.agent import Agent
from duogen.agent.runs import RunFolder

REQUEST = "How do I build a red tower with three floors and a blue roof?"


def run(agent: Agent, folder: Path) -> None:
    """Begins the plan in a folder, or goes on with it, as its user would."""
    if RunFolder(folder).free:
        agent.plan(REQUEST, folder=folder)
    elif RunFolder(folder).unfinished is not None:
        agent.resume(folder)


def forked(agent: Agent, folder: Path, seconds: float | None = None) -> int:
    """Runs it in a process of its own, killed after so many seconds if it is still at work; returns the exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(agent, folder)
            status = 0
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def documents(folder: Path) -> dict[str, bytes]:
    """Everything that a finished plan's folder shows: the three documents and the pictures."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def main(kills: int) -> int:
    """Returns how many plans came out different."""
    torch.set_num_threads(1)
    agent, chance = duogen.load(), random.Random(7)
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_STATE_HOME"] = f"{home}/state"
        undisturbed, began = Path(home, "undisturbed"), time.monotonic()
        assert forked(agent, undisturbed) == 0
        long, expected = time.monotonic() - began, documents(undisturbed)
        assert len(expected) == 3 + 4, sorted(expected)
        found: Counter[str] = Counter()
        different = 0
        for number in range(kills):
            folder = Path(home, str(number))
            status = forked(agent, folder, chance.uniform(0, long))
            note = None if RunFolder(folder).free else RunFolder(folder).unfinished
            pictures = len(list((folder / "pictures").glob("[!.]*"))) if folder.exists() else 0
            found[
                "had ended" if status == 0 else f"killed with {pictures} pictures" + ("" if note else ", not begun")
            ] += 1
            if status == 0:
                # It was faster than the kill: one that strikes must take its place.
                assert forked(agent, Path(home, f"{number}again"), long / 2) == -signal.SIGKILL
                folder = Path(home, f"{number}again")
            assert forked(agent, folder) == 0
            different += documents(folder) != expected
    print(", ".join(f"{name}: {count}" for name, count in sorted(found.items())))
    print(f"{kills} kills, {kills - different} identical")
    return different


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])) != 0)
