"""Runs all nine benchmarks on small data sets of the tests, with the default model and a scripted judge, which looks at nothing.

    python tests/evaluation/public/all_nine.py OUTPUT [--geneval]

The scores would mean nothing and aren't printed: it shows that each benchmark is generated, scored and reported. With ``--geneval``, all of GenEval's 553 prompts are.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
import samples
from loopback import serving
from scripted import fair, judge
from tiny import tiny_detectors

from duogen.cli import run


def main(output: Path, geneval: bool) -> None:
    detector, clip = tiny_detectors(output / "detectors")
    rows = []
    with serving(judge(fair)) as url:
        for name, make in samples.MAKERS.items():
            began = time.monotonic()
            given = ["eval", name, "-o", str(output / name)]
            if not (name == "geneval" and geneval):
                given += ["--data", str(make(output / "data" / name))]
            given += [
                "--judge",
                "scripted",
                "--judge-url",
                f"{url}/v1",
                "--detector",
                str(detector),
                "--clip",
                str(clip),
            ]
            assert run(given) == 0, name
            report = json.loads((output / name / "report.json").read_text())
            rows.append((name, report["answers"]["scored"], time.monotonic() - began))
    for name, scored, seconds in rows:
        print(f"{name}: {scored} answers scored, {seconds:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--geneval" in sys.argv)
