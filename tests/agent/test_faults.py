"""Plans that are killed at random moments; `kill_runs.py` says how, and takes another number of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_what_was_killed_and_resumed_is_what_was_left_alone() -> None:
    script = Path(__file__).parent / "kill_runs.py"
    done = subprocess.run([sys.executable, str(script), "20"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "20 kills, 20 identical"
