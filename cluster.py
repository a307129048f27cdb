"""Ray, quiet and without usage reports: a cluster that is there, or one of this machine's own for as long as it takes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from duogen.errors import DuoGenError


@contextmanager
def cluster(at_once: int = 1) -> Iterator[None]:
    """Joins the cluster of ``RAY_ADDRESS``, or starts Ray on this machine and ends it again.

    Ray's usage reports are off unless ``RAY_USAGE_STATS_ENABLED`` is set.

    Args:
        at_once: how many jobs are to run at a time; a Ray of this machine's own makes room for them.

    Raises:
        DuoGenError: what Ray says, in a line.
    """
    import ray
    import ray.data

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray tells at length how it starts, and what it does about an actor that died.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name in ("ray", "ray.data", "ray.data.exceptions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    started = not ray.is_initialized()
    if started:
        room: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": max(at_once, os.cpu_count() or 1)}
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=False, **room)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    except ray.exceptions.RayError as error:
        raise DuoGenError(f"Ray: {str(error).strip().splitlines()[-1][:300]}") from error
    finally:
        if started:
            ray.shutdown()
