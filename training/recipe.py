"""Makes a whole model: tokenizer, codec, pretraining, stage 1, stage 2, then a pipeline folder.

Every part reads what the parts before it left in the run folder and can be run by itself; the two stages can be
stopped at any time and go on from their last checkpoint. Stage 2 may run beside stage 1: each time it is started it
takes the MLLM as far as it has come.

    run/recipe.json   the resolved recipe and the git commit
    run/processor/    tokenizer and image processor
    run/vae/          the patch codec
    run/pretrain/     log and checkpoint        run/pretrained/   the MLLM that stage 1 starts from
    run/stage1/       log and checkpoint        run/mllm/         the tuned MLLM
    run/stage2/       log and checkpoint        run/aligned/      connector and DiT
    run/model/        the finished pipeline
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from itertools import count, islice
from pathlib import Path

import torch
from diffusers import CosmosTransformer3DModel, FlowMatchEulerDiscreteScheduler
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from duogen.document import write_atomically
from duogen.errors import InputError
from duogen.models.checkpoints import check_model_folder
from duogen.models.connector import Connector
from duogen.models.dit import small_cosmos
from duogen.models.mllm import small_qwen
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import DuoGenProcessor
from duogen.models.vae import PatchCodec
from duogen.training.codec import fit_codec, start_sight
from duogen.training.config import Recipe, TuningConfig
from duogen.training.data import FAMILIES, View, draw_task, mixed_view, spoken_turns_of_task
from duogen.training.loop import CHECKPOINT
from duogen.training.renew import renew_dit, renew_mllm
from duogen.training.stage1 import Tuned, train_stage1
from duogen.training.stage2 import Aligned, train_stage2
from duogen.training.tokenizer import train_processor
from duogen.training.world.render import render
from duogen.training.world.task import Task
from duogen.training.worn import worn_view

PARTS = ("tokenizer", "codec", "pretrain", "stage1", "stage2", "assemble")


class Run:
    """One model in the making.

    Args:
        device: where the stages train. A run goes on exactly on the kind of device that it began on.
        workers: processes that draw the world ahead of time; on a GPU, one process alone can't keep up.

    Raises:
        InputError: the folder holds a run of another recipe, or the recipe starts from what is no model.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, quiet: bool = False, device: str = "cpu", workers: int = 0
    ) -> None:
        self.recipe, self.folder, self.quiet, self.device, self.workers = recipe, folder, quiet, device, workers
        if recipe.start:
            check_model_folder(recipe.start)
        path = folder / "recipe.json"
        if path.exists():
            if Recipe.model_validate(json.loads(path.read_text())["recipe"]) != recipe:
                raise InputError(f"{folder}: holds a run of another recipe; choose another folder with -o")
        else:
            record = {"recipe": recipe.model_dump(mode="json"), "git": _commit()}
            write_atomically(path, json.dumps(record, indent=2).encode())

    def part(self, name: str, max_seconds: float | None = None) -> bool:
        """Runs one part, or what is left of it; returns whether it is complete."""
        make: Callable[..., bool] = getattr(self, f"_{name}")
        return make(max_seconds) if name in ("pretrain", "stage1", "stage2") else make()

    def _tokenizer(self) -> bool:
        config, target = self.recipe.tokenizer, self.folder / "processor"
        if not target.exists() and self.recipe.start and "tokenizer" not in self.recipe.renew:
            DuoGenProcessor.from_pretrained(self.recipe.start / "processor").save_pretrained(target)
        elif not target.exists():
            tasks = (_any_task(self.recipe.seed, index) for index in range(config.sample_tasks))
            texts = [text for task in tasks for turn in task.turns for text in (turn.request, *turn.segments)]
            processor = train_processor(texts, config.vocab_size, self.recipe.codec.patch_size, config.max_pixels)
            processor.save_pretrained(target)
        return True

    def _codec(self) -> bool:
        config, target = self.recipe.codec, self.folder / "vae"
        start = PatchCodec.from_pretrained(self.recipe.start / "vae") if self.recipe.start else None
        if not target.exists() and start and "codec" not in self.recipe.renew:
            start.save_pretrained(target)
        elif not target.exists():
            mean = start.mean if start else None
            fitted = fit_codec(self._images(), config.patch_size, config.z_dim, config.whitening, mean)
            fitted.save_pretrained(target)
        return True

    def _images(self) -> list[Image.Image]:
        """Pictures of the world that the codec and the vision encoder's start are fitted to."""
        drawn = (_any_task(self.recipe.seed, index) for index in count())
        scenes = (task.pictures[-1] for task in drawn if task.pictures)
        return [render(scene) for scene in islice(scenes, self.recipe.codec.sample_pictures)]

    def _pretrain(self, max_seconds: float | None) -> bool:
        config, target = self.recipe.mllm, self.folder / "pretrained"
        if target.exists():
            return True
        if self.recipe.start:
            started = _mllm(self.recipe.start / "mllm")
            if "tokenizer" in self.recipe.renew:
                old = DuoGenProcessor.from_pretrained(self.recipe.start / "processor")
                started = renew_mllm(started, old, self.processor())
            started.save_pretrained(target)
            return True
        torch.manual_seed(self.recipe.seed)
        processor = self.processor()
        model = small_qwen(
            processor, config.hidden, config.layers, config.heads, config.kv_heads, config.vision_hidden,
            config.vision_layers,
        )  # fmt: skip
        start_sight(model, processor, self._images()[:500])
        return self._tune(model, self.recipe.pretrain, "pretrain", target, max_seconds, spoken_turns_of_task)

    def _stage1(self, max_seconds: float | None) -> bool:
        target = self.folder / "mllm"
        if target.exists():
            return True
        model = _mllm(self._made("pretrained", "pretrain"))
        config = self.recipe.stage1
        view = worn_view(mixed_view(config.spoken, config.whole), self.vae(), config.worn)
        return self._tune(model, config, "stage1", target, max_seconds, view)

    def _tune(
        self, model: Qwen2_5_VLForConditionalGeneration, config: TuningConfig, name: str, target: Path,
        max_seconds: float | None, view: View,
    ) -> bool:  # fmt: skip
        # Each part draws dialogues of its own.
        seed = self.recipe.seed + 10 * PARTS.index(name)
        done = train_stage1(
            model.to(self.device), self.processor(), config, self.folder / name, seed, max_seconds, self.quiet, view,
            self.workers,
        )  # fmt: skip
        if done:
            model.save_pretrained(target)
        return done

    def _stage2(self, max_seconds: float | None) -> bool:
        target = self.folder / "aligned"
        if target.exists():
            return True
        aligned, mllm = self._aligned().to(self.device), self._latest().requires_grad_(False).eval().to(self.device)
        done = train_stage2(
            aligned, mllm, self.processor(), self.vae().to(self.device), self.recipe.stage2, self.recipe.dit,
            self.folder / "stage2", self.recipe.seed, max_seconds, self.quiet, self.workers,
        )  # fmt: skip
        if done:
            aligned.connector.save_pretrained(target / "connector")
            aligned.transformer.save_pretrained(target / "transformer")
        return done

    def _assemble(self) -> bool:
        target = self._made("aligned", "stage2")
        connector = Connector.from_pretrained(target / "connector")
        pipeline = self.pipeline(connector, CosmosTransformer3DModel.from_pretrained(target / "transformer"))
        # Half precision on disk, float32 when loaded: rounding changes less than one denoising step does.
        for part in (pipeline.mllm, pipeline.connector, pipeline.transformer):
            part.to(torch.float16)
        for part in (pipeline.connector, pipeline.transformer, pipeline.vae):
            part.register_to_config(_name_or_path="")  # where it lay on the machine that made it is nobody's business
        pipeline.save_pretrained(self.folder / "model")
        return True

    def _aligned(self) -> Aligned:
        """Connector and DiT as stage 2 starts them."""
        config, start = self.recipe.dit, self.recipe.start
        torch.manual_seed(self.recipe.seed + 1)  # of what is new: all of it, or the head alone
        if start:
            connector = Connector.from_pretrained(start / "connector", dtype=torch.float32)
            transformer = CosmosTransformer3DModel.from_pretrained(start / "transformer", torch_dtype=torch.float32)
            if "codec" in self.recipe.renew:
                transformer = renew_dit(transformer, PatchCodec.from_pretrained(start / "vae"), self.vae())
            return Aligned(connector, transformer)
        language = self.recipe.mllm
        connector = Connector(language.layers * language.hidden, config.text_embed_dim)
        transformer = small_cosmos(
            self.recipe.codec.z_dim, config.heads, config.head_dim, config.layers, config.text_embed_dim, config.adaln_lora_dim
        )  # fmt: skip
        return Aligned(connector, transformer)

    def pipeline(self, connector: Connector, transformer: CosmosTransformer3DModel) -> DuoGenPipeline:
        """All parts put together."""
        sampler = self.recipe.sampler
        return DuoGenPipeline(
            mllm=self.mllm().eval(),
            processor=self.processor(),
            connector=connector.eval(),
            transformer=transformer.eval(),
            vae=self.vae(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=sampler.shift),
            attention_mode=self.recipe.dit.mode,
            prediction_type=self.recipe.dit.prediction,
            segment_heads=self.recipe.dit.segment_heads,
            default_steps=sampler.steps,
            default_first_steps=sampler.first_steps,
            default_guidance=sampler.guidance,
            default_size=sampler.size,
            max_condition_pixels=sampler.size**2,
            draw_template="Draw {instruction}",
            edit_template="Edit the picture: {instruction}",
            in_words=True,
        )

    # What earlier parts left

    def processor(self) -> DuoGenProcessor:
        return DuoGenProcessor.from_pretrained(self._made("processor", "tokenizer"))

    def vae(self) -> PatchCodec:
        return PatchCodec.from_pretrained(self._made("vae", "codec"))

    def mllm(self) -> Qwen2_5_VLForConditionalGeneration:
        return _mllm(self._made("mllm", "stage1"))

    def _latest(self) -> Qwen2_5_VLForConditionalGeneration:
        """The tuned MLLM; while stage 1 is still at work, its latest checkpoint, so that stage 2 can run beside it."""
        checkpoint = self.folder / "stage1" / CHECKPOINT
        if (self.folder / "mllm").exists() or not checkpoint.exists():
            return self.mllm()
        tuned = Tuned(_mllm(self._made("pretrained", "pretrain")))
        tuned.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["module"])
        return tuned.model

    def _made(self, name: str, part: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise InputError(f"{path} is missing: run the part '{part}' first")
        return path


def _any_task(seed: int, index: int) -> Task:
    """Of all families alike: tokenizer and codec know the whole world, whatever the stages practise."""
    return draw_task(seed, index, shares=dict.fromkeys(FAMILIES, 1.0))


def _mllm(folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
