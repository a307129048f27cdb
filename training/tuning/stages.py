"""The two stages as they are run: which weights move, what a pack costs, what is written in the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from duogen.document import write_atomically
from duogen.models.dit import Uncast
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.wan import check_mode
from duogen.training.tuning import language, painting
from duogen.training.tuning.config import Stage1Config, Stage2Config, TuneConfig
from duogen.training.tuning.packing import Sample
from duogen.training.tuning.packs import Pack, packed
from duogen.training.tuning.painting import Canvas, LatentCache, StateCache, costs_of, target_of
from duogen.training.tuning.records import Measure, Records
from duogen.training.tuning.runs import Stage, Trained
from duogen.training.tuning.sharding import World


class LanguageStage(Stage):
    """Stage 1: only the MLLM moves."""

    changed = ("mllm",)
    stage: Stage1Config

    def prepare(self, pipeline: DuoGenPipeline) -> Trained:
        model: Any = pipeline.mllm
        blocks = _blocks(model)
        if self.stage.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        torch.manual_seed(self.config.seed)  # adapters begin alike, in every process
        groups, adapters = language.free(model, self.stage, pipeline.processor)
        speaker = language.Speaker(model, pipeline.processor, always_sees=self.world.size > 1)
        return Trained(speaker, groups, blocks, adapters)

    def lighten(self) -> None:
        if self.stage.precision == "bfloat16" and self.world.size == 1:  # shards of one layer must be of one type
            for weight in self.pipeline.mllm.parameters():
                if not weight.requires_grad:
                    weight.data = weight.data.to(torch.bfloat16)

    def put(self, pipeline: DuoGenPipeline, trained: Trained, target: Path) -> None:
        model: Any = pipeline.mllm
        if trained.adapters is not None:
            trained.adapters.save_pretrained(self.folder / "lora")
            model = trained.adapters.merge_and_unload()
        model.to(self.saved_type("mllm")).save_pretrained(target / "mllm", max_shard_size="4GB")

    @property
    def budgets(self) -> tuple[int, ...]:
        return (self.stage.pack_tokens,)

    def costs(self, measures: list[Measure]) -> Callable[[Sample], tuple[int, ...] | None]:
        def cost(sample: Sample) -> tuple[int, ...] | None:
            each = measures[sample.number]
            return (each.length,) if each.trained else None

        return cost

    def made(self, records: Records, measures: list[Measure], samples: list[Sample]) -> Pack:
        return packed([records[sample.number] for sample in samples], self.processor, self.prompt)

    unit = "tokens"

    def weight(self, samples: list[Sample]) -> int:
        return sum(self.measures[sample.number].trained for sample in samples)

    def loss(self, batch: Pack) -> tuple[Tensor, dict[str, Tensor]]:
        return self.trained.module(batch)

    def told(self, counts: dict[str, float]) -> dict[str, float]:
        right = counts["right"] / max(1.0, counts["tokens"])
        return {"accuracy": right, "emission_f1": language.emission_f1(counts), "tokens": counts["tokens"]}


class Aligned(NamedTuple):
    """A pack for stage 2: its documents up to their last targets, what the DiT is shown, and the MLLM's states [1, S, layers, hidden]."""

    pack: Pack
    shown: list[Canvas]
    states: Tensor


class PaintingStage(Stage):
    """Stage 2: connector and DiT move, the MLLM is frozen."""

    changed = ("connector", "transformer")
    stage: Stage2Config

    def __init__(self, config: TuneConfig, stage: Stage2Config, folder: Path, world: World) -> None:
        super().__init__(config, stage, folder, world)
        pipeline = self.pipeline
        pipeline.mllm.requires_grad_(False).eval().to(world.device, self.saved_type("mllm"))
        pipeline.vae.requires_grad_(False).eval().to(world.device)
        self.latents = LatentCache(pipeline, folder / "latents" / self.fingerprint(config.model / "vae"))
        self.states = StateCache(pipeline.mllm, self.processor, self.prompt, stage.state_cache_mb * 2**20)

    @property
    def causal(self) -> bool:
        return (self.stage.mode or self.pipeline.config.attention_mode) == "causal"

    def prepare(self, pipeline: DuoGenPipeline) -> Trained:
        transformer: Any = pipeline.transformer
        check_mode("causal" if self.causal else "full", transformer.config)
        torch.manual_seed(self.config.seed)  # adapters begin alike, in every process
        painter = painting.Painter(pipeline.connector, transformer, pipeline.painter, self.causal)
        blocks = _blocks(transformer)
        if self.stage.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        groups = painting.free(painter, self.stage)
        if self.world.size > 1:
            pipeline.painter.run_as_modules()
        return Trained(painter, groups, blocks)

    def put(self, pipeline: DuoGenPipeline, trained: Trained, target: Path) -> None:
        transformer: Any = pipeline.transformer
        if self.stage.lora_rank:
            transformer.save_lora_adapter(self.folder / "lora")
            transformer.fuse_lora()
            transformer.unload_lora()
        for name in self.changed:
            component = getattr(pipeline, name)
            component.register_to_config(_name_or_path="")
            kept, numbers = tuple(component._keep_in_fp32_modules or ()), self.saved_type(name)
            for label, weight in component.named_parameters():
                if not any(part in label for part in kept):
                    weight.data = weight.data.to(numbers)
            component.save_pretrained(target / name, max_shard_size="4GB")
        index = json.loads((target / "model_index.json").read_text())
        index["attention_mode"] = "causal" if self.causal else "full"
        write_atomically(target / "model_index.json", json.dumps(index, indent=2).encode())

    @property
    def budgets(self) -> tuple[int, ...]:
        return self.stage.pack_tokens, self.stage.frame_tokens

    def costs(self, measures: list[Measure]) -> Callable[[Sample], tuple[int, ...] | None]:
        def cost(sample: Sample) -> tuple[int, ...] | None:
            each = measures[sample.number]
            return costs_of(each, target_of(each, sample, self.config.seed), self.causal)

        return cost

    def made(self, records: Records, measures: list[Measure], samples: list[Sample]) -> Aligned:
        own = [measures[sample.number] for sample in samples]
        targets = [target_of(each, sample, self.config.seed) for each, sample in zip(own, samples, strict=True)]
        lengths = []
        for each, target in zip(own, targets, strict=True):
            taken = costs_of(each, target, self.causal)
            assert taken is not None
            lengths.append(taken[0])
        documents = [records[sample.number] for sample in samples]
        pack = packed(documents, self.processor, self.prompt, lengths, unseen=True)
        latents = [[self.latents(picture) for picture in placed.pictures] for placed in pack.dialogues]
        shown = painting.canvases(pack, samples, targets, latents, self.stage, self.causal, self.config.seed)
        states = [
            self.states(document, each, (id(records), sample.number))[:length]
            for document, each, sample, length in zip(documents, own, samples, lengths, strict=True)
        ]
        return Aligned(pack, shown, torch.cat(states)[None])

    unit = "targets"

    def weight(self, samples: list[Sample]) -> int:
        if not self.causal:
            return len(samples)
        return sum(slot.generated for sample in samples for slot in self.measures[sample.number].slots)

    def loss(self, batch: Aligned) -> tuple[Tensor, dict[str, Tensor]]:
        return self.trained.module(batch.states.to(self.world.device, torch.float32), Uncast(batch.shown))

    def told(self, counts: dict[str, float]) -> dict[str, float]:
        return {"targets": counts["targets"]}


def _blocks(model: Any) -> list[torch.nn.Module]:
    """The layers of a model that its library says belong together."""
    names = set(model._no_split_modules or ())
    return [module for module in model.modules() if type(module).__name__ in names]
