"""The loop of both stages on packs: accumulation over packs and processes, schedule, average, log, checkpoints, exact resume.

Nothing random is kept from step to step: packs depend on the seed and their number, and what is drawn for a document on the seed and its
turn. So a run that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from duogen.document import write_atomically
from duogen.errors import InputError
from duogen.training.loop import schedule
from duogen.training.tuning.config import StageConfig
from duogen.training.tuning.sharding import Saved, World, local, reshard, synchronise

LOG, VALIDATION = "log.jsonl", "validation.jsonl"


class Work(Protocol):
    """What a stage is to the loop."""

    unit: str
    """Which of the counts the loss is divided by."""

    def weight_of(self, number: int) -> int:
        """How many units pack `number` has."""

    def batch(self, number: int) -> Any:
        """What pack `number` is made into."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """A batch's loss, added up, and counts."""

    def told(self, counts: dict[str, float]) -> dict[str, float]:
        """What is logged of a step's counts."""


def autocast(config: StageConfig, world: World) -> torch.autocast:
    """A context in which products have a stage's precision; shards come in the numbers of their own policy."""
    wanted = config.precision == "bfloat16" and world.size == 1
    return torch.autocast(world.device.type, torch.bfloat16, enabled=wanted)


class Loop:
    """Trains a module, in as many calls of `run` as it takes.

    Args:
        groups: of parameters, with learning rates.
        folder: gets ``log.jsonl`` and the checkpoint; an earlier one there is gone on with.

    Raises:
        InputError: the packs of a step can't be divided by the processes.
    """

    def __init__(
        self,
        module: nn.Module,
        groups: list[dict[str, Any]],
        work: Work,
        config: StageConfig,
        folder: Path,
        world: World,
    ) -> None:
        if config.packs_per_step % world.size:
            raise InputError(
                f"packs_per_step, {config.packs_per_step}, must be divisible by the {world.size} processes"
            )
        self.module, self.work, self.config, self.folder, self.world = module, work, config, folder, world
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self.moving = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self.ema = {} if config.ema_decay is None else {n: weight.detach().clone() for n, weight in self.moving.items()}
        folder.mkdir(parents=True, exist_ok=True)
        self.saved = Saved(folder, world)
        self.step = self.saved.resume(module, self.optimizer, self.ema)
        if world.first:
            self._forget_later_steps()

    @property
    def done(self) -> bool:
        return self.step >= self.config.steps

    def run(
        self,
        max_seconds: float | None,
        quiet: bool,
        after: Callable[[int, dict[str, float]], None] = lambda _, __: None,
    ) -> bool:
        """Trains until the last step, or until `max_seconds` are over; returns whether all steps are done.

        Args:
            after: is told each step's number and record.
        """
        began = time.monotonic()
        console = Console(stderr=True, quiet=quiet or not self.world.first)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(self.folder.name, total=self.config.steps, completed=self.step)
            while not self.done:
                record = self._step()
                if self.world.first and (self.step % self.config.log_every == 0 or self.done):
                    with open(self.folder / LOG, "a") as log:
                        log.write(json.dumps({"step": self.step, **record}) + "\n")
                progress.update(bar, completed=self.step, description=f"{self.folder.name} loss {record['loss']:.4f}")
                after(self.step, record)
                # All stop at the same step: the first process's clock counts.
                late = max_seconds is not None and time.monotonic() - began > max_seconds
                if self.world.added(late and self.world.first):
                    break
                if self.step % self.config.save_every == 0 and not self.done:
                    self.save()
        self.save()
        return self.done

    def save(self) -> None:
        self.saved.save(self.module, self.optimizer, self.ema, self.step)

    def _step(self) -> dict[str, float]:
        share = schedule(self.config, self.step)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        began, each = time.monotonic(), self.config.packs_per_step // self.world.size
        first = self.step * self.config.packs_per_step + self.world.rank
        numbers = [first + index * self.world.size for index in range(each)]
        total = self.world.added(sum(map(self.work.weight_of, numbers)))
        counts, loss_sum = Counter[str](), 0.0
        for number in numbers:
            synchronise(self.module, number == numbers[-1])
            batch = self.work.batch(number)
            with autocast(self.config, self.world):
                loss, told = self.work.loss(batch)
            # Gradients are averaged over the processes; the loss is one over all of them.
            (loss * self.world.size / max(total, 1)).backward()
            loss_sum += float(loss.detach())
            counts.update({name: float(count) for name, count in told.items()})
        for weight in self.moving.values():
            if weight.grad is None:  # what no pack has used yet has moments, too: a checkpoint tells of all or of none
                weight.grad = torch.zeros_like(weight)
        norm = nn.utils.clip_grad_norm_(self.moving.values(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._average()
        self.step += 1
        record = self._record(loss_sum, total, counts)
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        return record | {"rate": share, "norm": float(whole), "seconds": round(time.monotonic() - began, 3)}

    @torch.no_grad()
    def score(self, batches: Iterable[tuple[Any, bool]]) -> dict[str, float]:
        """Loss and counts of batches that count, without learning from them; all processes are given as many."""
        counts, loss_sum = Counter[str](), 0.0
        self.module.eval()
        for batch, counted in batches:
            with autocast(self.config, self.world):
                loss, told = self.work.loss(batch)
            if counted:
                loss_sum += float(loss)
                counts.update({name: float(count) for name, count in told.items()})
        reshard(self.module)
        self.module.train()
        return self._record(loss_sum, self.world.added(counts[self.work.unit]), counts)

    def _record(self, loss_sum: float, total: float, counts: Counter[str]) -> dict[str, float]:
        added = {name: self.world.added(count) for name, count in sorted(counts.items())}
        return {"loss": self.world.added(loss_sum) / max(total, 1), **self.work.told(added)}

    @torch.no_grad()
    def _average(self) -> None:
        if self.ema:
            decay = self.config.ema_decay or 0.0
            for name, weight in self.moving.items():
                local(self.ema[name]).lerp_(local(weight), 1 - decay)

    @torch.no_grad()
    def take_average(self) -> None:
        """Has the module's weights be their moving average, where there is one."""
        for name, average in self.ema.items():
            local(self.moving[name]).copy_(local(average))

    def _forget_later_steps(self) -> None:
        """Steps behind the checkpoint will be done, and logged, again."""
        for log in (self.folder / LOG, self.folder / VALIDATION):
            kept = []
            for line in log.read_text().splitlines(keepends=True) if log.exists() else []:
                try:
                    done = json.loads(line)["step"] <= self.step
                except ValueError:
                    continue  # the last line of a process that was killed
                kept += [line] * done
            if log.exists():
                write_atomically(log, "".join(kept).encode())
