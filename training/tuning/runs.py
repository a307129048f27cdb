"""A stage from a model folder and documents to the next model folder.

run/config.json        what was asked for
run/index.jsonl        every document in numbers
run/log.jsonl          a line a step; validation.jsonl a line a validation
run/checkpoint/        weights that move, optimiser, average, step
run/latents/           pictures as stage 2 learns from them
run/snapshot/          the model folder as it was when samples were made last
run/model/             the finished model folder; what hasn't changed is linked from the one it began as
run/lora/              the adapters by themselves, where there are any
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from duogen.document import write_atomically
from duogen.errors import DuoGenError, InputError
from duogen.models.pipeline import DuoGenPipeline
from duogen.training.tuning.config import StageConfig, TuneConfig
from duogen.training.tuning.loop import VALIDATION, Loop, autocast
from duogen.training.tuning.packing import Packer, Sample
from duogen.training.tuning.records import Measure, Records, measure
from duogen.training.tuning.sharding import CHECKPOINT, World, reshard, sharded, whole_weights
from duogen.training.tuning.trackers import Trackers

UNIMPORTANT = {
    "log_every",
    "save_every",
    "validate_every",
    "sample_every",
    "sample_requests",
    "world_tasks",
    "log_with",
}
"""What may change from one call to the next without its being another run."""
PACKING_TOLERANCE = 0.02
"""How far a pack's loss may be from that of its documents one by one, in bfloat16; more means that they see one another."""
OnSnapshot = Callable[[int, Path], None]
"""Is told a step and the model folder as it is then."""


@dataclass
class Trained:
    """What a stage trains of a pipeline.

    `module` has the loss and holds all weights that move; `groups` are these with learning rates; `blocks` are sharded by themselves;
    `adapters` is PEFT's model of an MLLM that has some.
    """

    module: nn.Module
    groups: list[dict[str, Any]]
    blocks: list[nn.Module]
    adapters: Any = None


class Stage(ABC):
    """What both stages do alike; to the loop it is its `Work`.

    Args:
        config: of the run. stage: of this stage.
        folder: of the run.

    Raises:
        InputError: no model there, or its data can't be used, or the folder holds another run.
    """

    changed: tuple[str, ...]
    """The components of the model folder that it writes anew."""

    def __init__(self, config: TuneConfig, stage: StageConfig, folder: Path, world: World) -> None:
        self.config, self.stage, self.folder, self.world = config, stage, folder, world
        self.records = Records(config.files(config.data.train))
        self.held_out = Records(config.files(config.data.validation)) if config.data.validation else None
        # Weights that are trained are kept in float32; products are taken in the precision of the stage.
        self.pipeline = self._loaded()
        self.processor, self.prompt = self.pipeline.processor, self.pipeline.config.system_prompt
        self.model_print = self.fingerprint(config.model)
        self._note()
        self.measures = self._measured(self.records, "index")
        self.packer = Packer(len(self.records), self.costs(self.measures), self.budgets, config.seed)
        self.left_out = sum(not self.packer.fits(number) for number in range(len(self.records)))
        """How many documents don't fit into a pack, or have nothing to learn from."""
        if self.left_out == len(self.records):
            raise InputError(f"none of the {len(self.records)} documents fits into a pack of {self.budgets} tokens")
        self.trained = self.prepare(self.pipeline)

    @abstractmethod
    def prepare(self, pipeline: DuoGenPipeline) -> Trained:
        """Lets a pipeline's parts move that this stage trains."""

    @abstractmethod
    def put(self, pipeline: DuoGenPipeline, trained: Trained, target: Path) -> None:
        """Writes the components that have changed into a model folder; adapters beside it, in ``lora``."""

    @property
    @abstractmethod
    def budgets(self) -> tuple[int, ...]:
        """What a pack may hold."""

    @abstractmethod
    def costs(self, measures: list[Measure]) -> Callable[[Sample], tuple[int, ...] | None]:
        """What a sample takes of the budgets, see `Packer`."""

    @abstractmethod
    def made(self, records: Records, measures: list[Measure], samples: list[Sample]) -> Any:
        """A batch of the documents whose turn it is."""

    unit: str
    """What the loss is counted by, among its counts."""

    @abstractmethod
    def weight(self, samples: list[Sample]) -> int:
        """How many of its units some training samples have, before they are made into a batch."""

    def lighten(self) -> None:  # noqa: B027
        """Takes memory from what isn't trained, in the copy that is trained with."""

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]: ...

    @abstractmethod
    def told(self, counts: dict[str, float]) -> dict[str, float]: ...

    def weight_of(self, number: int) -> int:
        return self.weight(self.packer.pack(number))

    def batch(self, number: int) -> Any:
        return self.made(self.records, self.measures, self.packer.pack(number))

    def fingerprint(self, root: Path) -> str:
        """Of the model that is begun with, or of one of its components: by configurations and the sizes of its files."""
        digest = hashlib.sha256()
        for path in sorted(root.rglob("*")):
            if path.is_file() and "training" not in path.parts:
                digest.update(f"{path.relative_to(root)} {path.stat().st_size} ".encode())
                digest.update(path.read_bytes() if path.suffix == ".json" else b"")
        digest.update(str(self.pipeline.config.max_condition_pixels).encode())
        return digest.hexdigest()[:16]

    def run(self, max_seconds: float | None, quiet: bool, on_snapshot: OnSnapshot | None = None) -> bool:
        """Trains, or goes on training; returns whether the stage is complete, with its model folder written.

        Raises:
            DuoGenError: documents in a pack see one another.
        """
        module = self.trained.module.train()
        self.lighten()
        if self.world.size == 1:
            module.to(self.world.device)
        # Sharding brings the weights to their devices, block by block; the whole ones are let go of.
        self.trained.groups = sharded(
            module, self.trained.groups, self.trained.blocks, self.world, self.stage.precision
        )
        if not (self.folder / CHECKPOINT).exists():
            self._check_packing()
        loop = Loop(module, self.trained.groups, self, self.stage, self.folder, self.world)
        with Trackers(self.stage.log_with, self.folder, self.config, enabled=self.world.first) as trackers:

            def after(step: int, record: dict[str, float]) -> None:
                trackers.log(step, record)
                if _due(step, self.stage.validate_every) and self.held_out is not None:
                    scores = {f"validation_{name}": value for name, value in loop.score(self._validation()).items()}
                    trackers.log(step, scores)
                    if self.world.first:
                        with open(self.folder / VALIDATION, "a") as log:
                            log.write(json.dumps({"step": step, **scores}) + "\n")
                if _due(step, self.stage.sample_every) and on_snapshot is not None:
                    self.write_model(self.folder / "snapshot")
                    if self.world.first:
                        on_snapshot(step, self.folder / "snapshot")
                    self.world.wait()

            done = loop.run(max_seconds, quiet, after)
        if done and not (self.folder / "model").exists():
            loop.take_average()
            self.write_model(self.folder / "model")
        return done

    def write_model(self, target: Path) -> None:
        """The model folder as it is now; all processes give their parts, the first one writes."""
        weights = whole_weights(self.trained.module)  # of what moves; the rest is as it was
        if self.world.first:
            pipeline = self._loaded()
            fresh = self.prepare(pipeline)
            fresh.module.load_state_dict(weights, strict=False)
            unfinished = target.with_name(f".{target.name}")
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(self.config.model, unfinished, copy_function=_linked, ignore=self._ignored)
            self.put(pipeline, fresh, unfinished)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(unfinished, target)
        self.world.wait()

    def saved_type(self, component: str) -> torch.dtype:
        """The numbers that a component of the model folder is saved in; not all configurations say."""
        path = next((self.config.model / component).glob("*.safetensors"))
        with safe_open(path, "pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        return torch.bfloat16 if "BF16" in kinds else torch.float16 if "F16" in kinds else torch.float32

    def _loaded(self) -> DuoGenPipeline:
        pipeline = DuoGenPipeline.from_pretrained(self.config.model, dtype=torch.float32)
        if self.stage.attention != "sdpa":
            try:
                pipeline.mllm.set_attn_implementation(self.stage.attention)
            except (ImportError, ValueError) as error:
                raise DuoGenError(
                    f"attention {self.stage.attention!r} can't be used: {str(error).splitlines()[0]}"
                ) from error
        return pipeline

    def _ignored(self, folder: str, names: list[str]) -> set[str]:
        at_root = Path(folder) == self.config.model
        return {name for name in names if at_root and (name in self.changed or name == "training")}

    def _measured(self, records: Records, name: str) -> list[Measure]:
        def frame_tokens(width: int, height: int) -> int:
            multiple = self.pipeline.side_multiple
            wide, high = self.pipeline.fitted_size(width, height)
            return (wide // multiple) * (high // multiple)

        path = self.folder / f"{name}.jsonl"
        if not self.world.first:
            self.world.wait()  # the first process writes it down for the others
        measures = measure(records, self.processor, self.prompt, frame_tokens, path, self.model_print)
        if self.world.first:
            self.world.wait()
        return measures

    @cached_property
    def _held_packs(self) -> tuple[list[Measure], list[list[Sample]]]:
        """What is validated on, measured and packed; all processes ask for it first at the same time."""
        assert self.held_out is not None
        measures = self._measured(self.held_out, "validation-index")
        return measures, Packer(len(self.held_out), self.costs(measures), self.budgets, self.config.seed).every()

    def _validation(self) -> Iterator[tuple[Any, bool]]:
        """All validation packs, this process's share, and whether each counts; to each process as many."""
        assert self.held_out is not None
        measures, packs = self._held_packs
        for index in range(-(-len(packs) // self.world.size)):
            place = index * self.world.size + self.world.rank
            yield self.made(self.held_out, measures, packs[min(place, len(packs) - 1)]), place < len(packs)

    @torch.no_grad()
    def _check_packing(self) -> None:
        """Before the first step, a pack's loss must be that of its documents one by one."""
        samples = self.packer.pack(0)[:8]
        with autocast(self.stage, self.world):
            whole, _ = self.loss(self.made(self.records, self.measures, samples))
            single = sum(float(self.loss(self.made(self.records, self.measures, [sample]))[0]) for sample in samples)
        reshard(self.trained.module)
        if not abs(float(whole) - single) <= PACKING_TOLERANCE * abs(single):  # a loss that is no number isn't near any
            raise DuoGenError(
                f"packing changes the loss, {float(whole):.4f} against {single:.4f}: this attention can't be packed"
            )

    def _note(self) -> None:
        """Writes down what is asked for; raises `InputError` where the folder holds something else."""
        path = self.folder / "config.json"
        asked = json.loads(self.config.model_dump_json(include={"seed", "data"}))
        asked |= {"model": self.model_print, "stage": json.loads(self.stage.model_dump_json(exclude=UNIMPORTANT))}
        asked["data"] = {kind: [Path(file).name for file in files] for kind, files in asked["data"].items()}
        if path.exists() and json.loads(path.read_text()) != asked:
            raise InputError(f"{self.folder}: holds a run of another configuration; choose another folder with -o")
        self.world.wait()
        if self.world.first:
            write_atomically(path, json.dumps(asked, indent=2).encode())


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _linked(source: str, target: str) -> str:
    """A hard link to weights, where the file system can; a copy of everything else, which may be edited."""
    if not source.endswith(".safetensors"):
        return str(shutil.copy2(source, target))
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)
    return target
