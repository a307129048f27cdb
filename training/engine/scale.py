"""The engine's work on Ray Data: the same functions, on many machines. One process writes the journals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from duogen.cluster import cluster
from duogen.errors import needed
from duogen.training.engine.run import Job, Record, Work

WINDOW = 4096
"""Jobs that are handed to Ray at a time: the list of all may be longer than memory."""


@dataclass(frozen=True)
class OnRay:
    """Runs jobs on Ray; where that is: see `duogen.cluster.cluster`. All machines see the run's folder under the same path.

    Args:
        workers: how many jobs are worked on at a time.

    Raises:
        DuoGenError: Ray isn't installed.
    """

    workers: int

    def __post_init__(self) -> None:
        needed("ray", "ray")

    def __call__(self, work: Work, jobs: Iterable[Job]) -> Iterator[Record]:
        jobs = iter(jobs)
        window = list(islice(jobs, WINDOW))
        if not window:
            return
        with cluster(self.workers):
            import ray.data

            worked: Any = _worked
            while window:
                blocks = min(len(window), 8 * self.workers)
                rows = ray.data.from_items([{"job": json.dumps(job)} for job in window], override_num_blocks=blocks)
                for row in rows.map(worked, fn_args=[work], concurrency=self.workers).iter_rows():
                    yield json.loads(row["record"])
                window = list(islice(jobs, WINDOW))


def _worked(row: dict[str, Any], work: Work) -> dict[str, str]:
    return {"record": json.dumps(work(json.loads(row["job"])))}
