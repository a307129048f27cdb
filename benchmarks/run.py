"""Times the rivals side by side, in turns; one JSON, one table.

    python -m benchmarks.run            # the same as: duogen bench

Every rival stands ready in a process of its own and warms up once on each work; then they run in turns, so that whatever else
the machine does falls on all alike. Medians and spread are of the repetitions; FLOPs are counted in the run that warms up.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from duogen.benchmarks.clock import PARTS
from duogen.benchmarks.racer import Painted, Racer
from duogen.benchmarks.rivals import RIVALS
from duogen.benchmarks.turns import in_turns, middle, spread
from duogen.benchmarks.work import WORKS
from duogen.models.sampler import PaintSettings


def compare(
    ready: Mapping[str, Racer],
    work: str,
    settings: PaintSettings,
    repeats: int,
    peak: float,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """What each rival takes for some work of `WORKS`, and how far its pictures are from those of the first.

    Args:
        settings: with the model's defaults in.
        peak: floating-point operations a second of a matrix product.
    """
    counted = {rival: racer.run(work, settings, flops=True) for rival, racer in ready.items()}
    for rival, of_it in counted.items():  # operations are counted in torch alone
        of_it.flops = counted.get(_twin(rival, ready), of_it).flops
    runs = in_turns({rival: partial(racer.run, work, settings) for rival, racer in ready.items()}, work, repeats, note)
    first, *_ = runs.values()
    before = len(WORKS[work]().given)

    def steps_of(rival: str) -> Iterator[int]:
        """How many steps each picture takes."""
        for number, _ in enumerate(runs[rival][0].result, before):
            steps = RIVALS[rival].settings(settings).behind(number).steps
            assert steps
            yield steps

    return {
        rival: {
            **_row(done, counted[rival], peak, list(steps_of(rival))),
            "ratio": middle(first) / middle(done),
            "pixels": _differences(first[-1].result, done[-1].result),
        }
        for rival, done in runs.items()
    }


def _twin(rival: str, ready: Mapping[str, Racer]) -> str:
    """Who does the same in torch."""
    plain = RIVALS[rival]._replace(backend="torch", memory="")
    return next((name for name in ready if RIVALS[name] == plain), rival)


def _row(runs: Sequence[Painted], counted: Painted, peak: float, steps: Sequence[int]) -> dict[str, Any]:
    seconds = middle(runs)
    flops = {part: sum(counted.flops.get(part, ())) for part in PARTS}
    parts = {part: statistics.median(run.seconds.get(part, 0.0) for run in runs) for part in PARTS}
    return {
        "seconds": seconds,
        "spread": spread(runs),
        "parts": parts | {"else": max(0.0, seconds - sum(parts.values()))},
        "tokens": {part: counted.tokens.get(part, 0) for part in ("text", "condition", "denoising")},
        "flops": flops,
        "share_of_peak": sum(flops.values()) / seconds / peak,
        "step_seconds": _by_picture([run.calls["denoising"] for run in runs], steps),
        "step_flops": _by_picture([counted.flops.get("denoising", ())], steps),
        "memory": max((run.memory for run in runs if run.memory is not None), default=None),
    }


def _by_picture(runs: Sequence[Sequence[float]], steps: Sequence[int]) -> list[float]:
    """Of what each call of the network takes, in some runs: the median for each picture, which takes so many steps, of a call or two."""
    ends = np.cumsum(steps)
    by_picture = [np.split(run, ends[:-1] * len(run) // ends[-1]) for run in runs]
    return [float(np.median(np.concatenate(each))) for each in zip(*by_picture, strict=True)]


def _differences(ours: Sequence[Image.Image], theirs: Sequence[Image.Image]) -> dict[str, float]:
    """How far pixels are from one another, of 255: on the average, and at most."""
    pairs = [(np.asarray(one, int), np.asarray(other, int)) for one, other in zip(ours, theirs, strict=True)]
    apart = np.stack([abs(one - other) for one, other in pairs])
    return {"mean": float(apart.mean()), "most": int(apart.max())}


if __name__ == "__main__":
    from duogen.cli import main

    sys.argv[1:1] = ["bench"]
    main()
