"""Requests that nobody should send; `fuzz_serve.py` says which, and takes another number of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_nothing_that_is_sent_breaks_the_service() -> None:
    script = Path(__file__).parent / "fuzz_serve.py"
    done = subprocess.run([sys.executable, str(script), "400", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "alive: True, correct afterwards: True, wrong: 0"
