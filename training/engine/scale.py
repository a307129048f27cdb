"""The engine's work on Ray Data: the same functions, on many machines. One process writes the journals."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from duogen.errors import DuoGenError, not_installed
from duogen.training.engine.run import Job, Record, Work

WINDOW = 4096
"""Jobs that are handed to Ray at a time: the list of all may be longer than memory."""


@dataclass(frozen=True)
class OnRay:
    """Joins the cluster of ``RAY_ADDRESS``, or starts Ray on this machine. All machines see the run's folder under the same path.

    Args:
        workers: how many jobs are worked on at a time.

    Raises:
        DuoGenError: Ray isn't installed.
    """

    workers: int

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise not_installed("ray", "ray")

    def __call__(self, work: Work, jobs: Iterable[Job]) -> Iterator[Record]:
        import ray
        import ray.data

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        jobs = iter(jobs)
        window = list(islice(jobs, WINDOW))
        if not window:
            return
        started = not ray.is_initialized()
        if started:
            ray.init(
                num_cpus=self.workers, log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=False
            )
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            while window:
                rows = ray.data.from_items(
                    [{"job": json.dumps(job)} for job in window], override_num_blocks=min(len(window), 8 * self.workers)
                )
                worked: Any = _worked
                made = rows.map(worked, fn_args=[work], concurrency=self.workers)
                for row in made.iter_rows():
                    yield json.loads(row["record"])
                window = list(islice(jobs, WINDOW))
        except ray.exceptions.RayError as error:
            raise DuoGenError(f"Ray: {str(error).strip().splitlines()[-1][:300]}") from error
        finally:
            if started:
                ray.shutdown()


def _worked(row: dict[str, Any], work: Work) -> dict[str, str]:
    return {"record": json.dumps(work(json.loads(row["job"])))}
