"""Documents that nobody should write; `export_hostile.py` says which, and takes another number of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_nothing_that_a_document_says_takes_effect() -> None:
    script = Path(__file__).parent / "export_hostile.py"
    done = subprocess.run([sys.executable, str(script), "15"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "15 documents, 0 wrong"
