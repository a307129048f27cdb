"""One process or many: who takes which pack, where the weights lie, and how a run is saved and gone on with.

torch's own FSDP2 and distributed checkpoints, whoever starts the processes (`torchrun`, `accelerate launch`): they run on CPUs too, so that
what runs on eight GPUs is tested without one. A checkpoint may be read by another number of processes than wrote it.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

CHECKPOINT, OLDER = "checkpoint", "checkpoint.older"
OWN_WEIGHTS = StateDictOptions(ignore_frozen_params=True)


@dataclass(frozen=True)
class World:
    """The processes that train together: this is number `rank` of `size`."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> World:
        """The world that the launcher's environment tells of; a single process, where it tells of none."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls(0, 1, torch.device(device))
        rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
        place = torch.device(device, local) if device == "cuda" else torch.device(device)
        if place.type == "cuda":
            torch.cuda.set_device(place)
        if not dist.is_initialized():
            # The first process works alone for long, when documents are measured and models written.
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=timedelta(hours=12))
        return cls(rank, size, place)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def added(self, number: float) -> float:
        """A number, added up over all processes."""
        if self.size == 1:
            return number
        total = torch.tensor(float(number), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total)

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def sharded(
    module: nn.Module, groups: list[dict[str, Any]], blocks: Iterable[nn.Module], world: World, precision: str
) -> list[dict[str, Any]]:
    """Spreads a module's weights over the processes: each block's by themselves, then all others. One process keeps them all.

    Returns:
        The parameter groups, with the parameters that the module has then.
    """
    if world.size == 1:
        return groups
    names = {weight: name for name, weight in module.named_parameters()}
    mesh = init_device_mesh(world.device.type, (world.size,))
    numbers = torch.bfloat16 if precision == "bfloat16" else torch.float32
    policy = MixedPrecisionPolicy(param_dtype=numbers, reduce_dtype=torch.float32)
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)
    spread = dict(module.named_parameters())
    return [group | {"params": [spread[names[weight]] for weight in group["params"]]} for group in groups]


def synchronise(module: nn.Module, wanted: bool) -> None:
    """Whether the next backward pass adds up the gradients over all processes; not before a step's last pack."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(wanted)


def reshard(module: nn.Module) -> None:
    """Spreads what a forward pass without a backward one has left gathered."""
    if isinstance(module, FSDPModule):
        module.reshard()


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole_weights(module: nn.Module) -> dict[str, Any]:
    """All weights that move, in the host's memory of the first process; nothing in the others."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return get_model_state_dict(module, options=options)


class Saved:
    """The checkpoint of a run; the one before it is kept until the new one is complete."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, ema: dict[str, Tensor], step: int) -> None:
        weights, moments = get_state_dict(module, optimizer, options=OWN_WEIGHTS)
        state = {"weights": weights, "moments": moments, "ema": ema, "step": torch.tensor(step)}
        fresh, final, older = (self.folder / name for name in (f".{CHECKPOINT}", CHECKPOINT, OLDER))
        if self.world.first:
            shutil.rmtree(fresh, ignore_errors=True)
        self.world.wait()
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.save(state, checkpoint_id=fresh, no_dist=self.world.size == 1)
        self.world.wait()
        if self.world.first:
            shutil.rmtree(older, ignore_errors=True)
            if final.exists():
                os.replace(final, older)
            os.replace(fresh, final)
            shutil.rmtree(older, ignore_errors=True)
        self.world.wait()

    def resume(self, module: nn.Module, optimizer: torch.optim.Optimizer, ema: dict[str, Tensor]) -> int:
        """Goes back to the last complete checkpoint, if there is one; returns the step that comes next."""
        found = [self.folder / name for name in (CHECKPOINT, OLDER) if (self.folder / name / ".metadata").exists()]
        if not found:
            return 0
        weights, moments = get_state_dict(module, optimizer, options=OWN_WEIGHTS)
        state: dict[str, Any] = {"weights": weights, "moments": moments, "ema": ema, "step": torch.tensor(0)}
        dcp.load(state, checkpoint_id=found[0], no_dist=self.world.size == 1)
        set_state_dict(
            module, optimizer, model_state_dict=state["weights"], optim_state_dict=state["moments"],
            options=StateDictOptions(ignore_frozen_params=True, strict=False),
        )  # fmt: skip
        return int(state["step"])
