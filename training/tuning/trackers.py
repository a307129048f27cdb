"""TensorBoard, trackio and wandb, through accelerate's trackers; ``log.jsonl`` is written in any case."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from duogen.errors import DuoGenError
from duogen.training.tuning.config import TuneConfig


class Trackers:
    """A context in which numbers are told to the chosen trackers.

    Raises:
        DuoGenError: a tracker's package isn't installed.
    """

    def __init__(self, names: list[Any], folder: Path, config: TuneConfig, enabled: bool) -> None:
        self.trackers: list[Any] = []
        if not names or not enabled:
            return
        from accelerate.state import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState()
        for name in names:
            kind = LOGGER_TYPE_TO_CLASS[name]
            given: dict[str, Any] = {"logging_dir": folder} if kind.requires_logging_directory else {}
            try:
                tracker = kind(folder.name, **given)
                tracker.start()
                tracker.store_init_configuration(_flat(json.loads(config.model_dump_json())))
            except ImportError as error:
                raise DuoGenError(f"{name} isn't installed: pip install {name}") from error
            self.trackers.append(tracker)

    def log(self, step: int, values: dict[str, float]) -> None:
        for tracker in self.trackers:
            tracker.log(values, step=step)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tracker in self.trackers:
            tracker.finish()


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Settings of sections as trackers take them: one name, one word or number."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[before + name] = value if isinstance(value, int | float | str) else json.dumps(value)
    return found
