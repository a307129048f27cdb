"""The training loop that both stages share: schedule, clipping, EMA, log, checkpoint, exact resume, time slices.

Everything random in a step is drawn from a generator seeded by the run's seed and the step number, so a checkpoint
needs the weights, the optimiser and the step to go on exactly as if it had never stopped.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from duogen.training.config import OptimConfig
from duogen.training.muon import Muon

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"
StepLoss = Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]
"""(step, generator) -> its loss and what else to log; called for every step in order."""


class Schedule(Protocol):
    """What decides the learning rates' course."""

    steps: int
    warmup_steps: int
    final_learning_rate: float


def schedule(config: Schedule, step: int) -> float:
    """Share of the learning rates at a step: linear warm-up, then a half cosine down to the final share."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    low = config.final_learning_rate
    return low + (1 - low) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def optimisers(module: nn.Module, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices inside the transformers, AdamW for everything else.

    With AdamW alone the MLLM needs several times the steps before it copies words from the request (docs/LOG.md).
    """
    inner: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            block = any(part in name for part in ("layers.", "blocks.", "merger.")) and "norm" not in name
            (vectors if weight.ndim <= 1 else inner if block and weight.ndim == 2 else matrices).append(weight)
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True),
        Muon(inner, lr=config.muon_learning_rate, weight_decay=config.weight_decay),
    ]


class Trainer:
    """Trains `module` for `config.steps` steps, in as many calls of `run` as it takes.

    Args:
        module: holds every parameter that moves, and nothing else.
        folder: gets ``log.jsonl`` and ``checkpoint.pt``; an earlier checkpoint there is resumed.
    """

    def __init__(self, module: nn.Module, config: OptimConfig, folder: Path, seed: int) -> None:
        self.module, self.config, self.folder, self.seed = module, config, folder, seed
        self.step = 0
        self.seconds = 0.0
        self.optimisers = optimisers(module, config)
        self._rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in self.optimisers]
        self.ema = None
        if config.ema_decay is not None:
            self.ema = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            self._resume()

    @property
    def done(self) -> bool:
        return self.step >= self.config.steps

    @property
    def result(self) -> nn.Module:
        """The trained weights: the moving average where there is one."""
        return self.module if self.ema is None else self.ema.module

    def autocast(self) -> torch.autocast:
        """A context in which matrix products have the run's precision."""
        kind = next(self.module.parameters()).device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def run(self, loss_of: StepLoss, max_seconds: float | None = None, quiet: bool = False) -> bool:
        """Trains until the last step or until `max_seconds` are over, then saves a checkpoint.

        Returns:
            Whether all steps are done.
        """
        start = last_save = time.monotonic()
        console = Console(stderr=True, quiet=quiet)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with (
            Progress(*columns, console=console) as progress,
            open(self.folder / LOG, "a") as log,
            _deferred_interrupt() as interrupted,
        ):
            bar = progress.add_task(self.folder.name, total=self.config.steps, completed=self.step)
            while not self.done:
                began = time.monotonic()
                record = self._step(loss_of)
                self.seconds += time.monotonic() - began
                if self.step % 20 == 0 or self.done:
                    log.write(json.dumps({"step": self.step, **record, "seconds": round(self.seconds, 1)}) + "\n")
                    log.flush()
                progress.update(bar, completed=self.step, description=f"{self.folder.name} loss {record['loss']:.4f}")
                now = time.monotonic()
                if interrupted or (max_seconds is not None and now - start > max_seconds):
                    break
                if now - last_save > 120:
                    self._save()
                    last_save = now
        self._save()
        if interrupted:
            raise KeyboardInterrupt
        return self.done

    def _step(self, loss_of: StepLoss) -> dict[str, float]:
        share = schedule(self.config, self.step)
        for optimiser, rates in zip(self.optimisers, self._rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * share
        device = next(self.module.parameters()).device
        loss, extra = loss_of(self.step, torch.Generator(device).manual_seed(self.seed * 1_000_003 + self.step))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip_norm)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update_parameters(self.module)
        self.step += 1
        return {"loss": round(loss.item(), 5), "rate": round(share, 5), "norm": round(float(norm), 4), **extra}

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "module": self.module.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "ema": None if self.ema is None else self.ema.state_dict(),
        }
        temporary = self.folder / f".{CHECKPOINT}.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.folder / CHECKPOINT)

    def _resume(self) -> None:
        state = torch.load(self.folder / CHECKPOINT, map_location="cpu", weights_only=True)
        self.module.load_state_dict(state["module"])
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.step, self.seconds = state["step"], state["seconds"]
        # Steps after the checkpoint will be done, and logged, again.
        log = self.folder / LOG
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        log.write_text("".join(line for line in lines if json.loads(line)["step"] <= self.step))


@contextmanager
def _deferred_interrupt() -> Iterator[list[int]]:
    """Lets Ctrl-C wait for the end of a step: the list that it yields is no longer empty then."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    previous = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, previous)
