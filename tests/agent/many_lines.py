"""A batch of many lines, some of them poisoned; then the same again, killed at random moments and resumed.

    python tests/agent/many_lines.py 1000 50 10

Lines, poisoned ones among them, and kills. Prints what became of them; all else is wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "pink", "white")
SHAPES = ("ball", "cube", "star", "heart", "cone", "cup", "gem", "bell")
POISON: list[Any] = [
    b"{not json", b"[1, 2]", b'"text"', b"\xff\xfe\x00", b'{"request": "x", "request_": 1}', b"[" * 5000, b'{"custom_id": "a"}',
    {"request": ""}, {"request": "   "}, {"request": 7}, {"request": "x" * 20_001}, {"request": "x", "custom_id": "../up"},
    {"request": "x", "custom_id": ""}, {"request": "x", "custom_id": "line-00001"}, {"request": "x", "images": ["missing.png"]},
    {"request": "x", "images": ["poison.png"]}, {"request": "x", "width": 100}, {"request": "x", "steps": 0},
    {"request": "x", "seed": -1}, {"request": "x", "max_pictures": "three"}, b'{"request": "x", "guidance": NaN}',
    b'{"request": "\\ud800"}', b'{"request": "x", "seed": 1e999}', {"request": None},
]  # fmt: skip
"""As bytes, or as what JSON makes of it."""


def lines(count: int, poisoned: int, chance: random.Random) -> list[bytes]:
    """The file, poisoned lines among the good ones; the first line is good."""
    bad = set(chance.sample(range(1, count), poisoned))
    written, used = [], 0
    for number in range(count):
        if number in bad:
            poison = POISON[used % len(POISON)]
            written.append(poison if isinstance(poison, bytes) else json.dumps(poison).encode())
            used += 1
        else:
            request = f"Draw a {chance.choice(COLOURS)} {chance.choice(SHAPES)}."
            written.append(json.dumps({"request": request, "steps": 1, "seed": number}).encode())
    return written


def batch(home: Path, out: str, *options: str) -> subprocess.Popen[str]:
    """The command, as a user starts it."""
    command = [
        sys.executable,
        "-m",
        "duogen.cli",
        "batch",
        str(home / "requests.jsonl"),
        "-o",
        str(home / out),
        *options,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def noted(home: Path) -> int:
    """How much the batch that is killed has noted as finished."""
    journal = home / "killed" / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def main(count: int, poisoned: int, kills: int) -> int:
    """Returns how much was wrong."""
    chance, wrong = random.Random(5), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["XDG_STATE_HOME"] = str(home / "state")
        (home / "requests.jsonl").write_bytes(b"\n".join(lines(count, poisoned, chance)))
        (home / "poison.png").write_bytes(b"no picture")
        began = time.monotonic()
        process = batch(home, "whole")
        _, said = process.communicate()
        long = time.monotonic() - began
        if process.returncode != 3 or "Traceback" in said:
            wrong.append(f"exit code {process.returncode}: {said[-500:]}")
        manifest = json.loads((home / "whole" / "manifest.json").read_text())
        reasons = Counter(item["error"].split("(")[0][:60] for item in manifest["items"] if item["status"] == "failed")
        folders = [path for path in (home / "whole").iterdir() if (path / "plan.html").exists()]
        print(
            f"{count} lines in {long:.0f} s: {manifest['done']} documents, {manifest['failed']} failed, {len(reasons)} reasons"
        )
        if (len(folders), manifest["failed"]) != (count - poisoned, poisoned) or not all(reasons):
            wrong.append(f"{len(folders)} folders, {manifest['failed']} failed")
        before = {path: path.stat().st_mtime_ns for path in (home / "whole").rglob("plan.json")}
        process = batch(home, "whole", "--resume")
        _, said = process.communicate()
        same = before == {path: path.stat().st_mtime_ns for path in (home / "whole").rglob("plan.json")}
        print(
            f"again with --resume: exit code {process.returncode}, {'nothing' if same and ' 0 worked on' in said else 'something'} done"
        )
        if process.returncode != 3 or not same or " 0 worked on" not in said:
            wrong.append(said[-300:])

        struck = 0
        for _ in range(kills):
            process = batch(home, "killed", "--resume")
            grown = noted(home) + chance.randint(1, max(1, (count - 10) // kills))
            while process.poll() is None and noted(home) < grown:
                time.sleep(0.005)
            struck += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        process = batch(home, "killed", "--resume")
        process.communicate()
        if kills:
            alike = (home / "killed" / "manifest.json").read_bytes() == (home / "whole" / "manifest.json").read_bytes()
            print(f"{struck} kills while it ran, then resumed: {'the same' if alike else 'another'} manifest")
            if not alike or process.returncode != 3:
                theirs = json.loads((home / "killed" / "manifest.json").read_text())["items"]
                apart = [pair for pair in zip(theirs, manifest["items"], strict=False) if pair[0] != pair[1]]
                wrong.append(f"another manifest: {len(theirs)} items, {apart[:2]}")
    for each in wrong:
        print("wrong:", each)
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4])) != 0)
