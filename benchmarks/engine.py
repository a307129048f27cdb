"""Pages a second of the data engine, rules alone and all filters on, against plain trafilatura on the same pages.

    python -m benchmarks.engine FOLDER [ROUNDS [WORKERS]]

One after the other in each round; the median of the rounds' ratios. trafilatura, in one process, gives text with the places of pictures;
the engine, in as many as WORKERS says (1 unless told), opens the pictures, too, and goes all the way to dialogues.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import trafilatura

from duogen.training.engine import web
from duogen.training.engine.config import EngineConfig
from duogen.training.engine.run import Run, engine_named


def plain(folder: Path) -> float:
    """Seconds that trafilatura takes for all pages of a folder."""
    begin = time.perf_counter()
    for job in web.jobs([folder], [], Path("none"), []):
        trafilatura.extract(Path(job["path"]).read_bytes(), include_images=True, output_format="xml")
    return time.perf_counter() - begin


def engine(folder: Path, workers: int) -> float:
    """Seconds that the engine takes, from pages to shards."""
    begin = time.perf_counter()
    config, runner = EngineConfig(), engine_named("local", workers)
    with tempfile.TemporaryDirectory() as home:
        run = Run(Path(home) / "out", config, {"web": [str(folder)]})
        run.begin(web.BeginPage(run.store.folder, config), web.jobs([folder], [], run.index, []), runner)
        run.finish(web.finishing(config, run.store.folder, None, None), runner)
        run.write()
        return time.perf_counter() - begin


def main(folder: Path, rounds: int = 5, workers: int = 1) -> None:
    pages = sum(1 for _ in web.jobs([folder], [], Path("none"), []))
    plain(folder), engine(folder, workers)  # warm-up
    times = [(plain(folder), engine(folder, workers)) for _ in range(rounds)]
    rival, own = (statistics.median(each) for each in zip(*times, strict=True))
    ratio = statistics.median(first / second for first, second in times)
    print(
        f"{pages} pages: trafilatura {pages / rival:.1f} pages/s, the engine {pages / own:.1f} pages/s ({workers} workers), {ratio:.2f} times as fast"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:4]))
