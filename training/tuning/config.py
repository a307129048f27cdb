"""Typed files for the two stages on real checkpoints: everything that decides what comes out, in one TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from duogen.errors import InputError, first_fault


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DataConfig(_Section):
    """Documents: JSONL files, one document a line, with the pictures in folders beside each file."""

    train: list[str] = Field(
        min_length=1, description="files, or patterns such as data/*.jsonl; relative to the config"
    )
    validation: list[str] = Field(default_factory=list, description="of documents that are never trained on")


class StageConfig(_Section):
    """What both stages are told."""

    steps: int = Field(ge=1)
    packs_per_step: int = Field(8, ge=1, description="over all processes; divisible by their number")
    pack_tokens: int = Field(8192, ge=16, description="tokens of the MLLM in a pack, at most")
    learning_rate: float = Field(gt=0)
    final_learning_rate: float = Field(0.1, ge=0, le=1, description="share of the rates that is left at the last step")
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    gradient_checkpointing: bool = False
    attention: Literal["sdpa", "flash_attention_2"] = Field(
        "sdpa", description="of the MLLM; the latter, on a GPU, skips what a pack's documents don't see of one another"
    )
    lora_rank: int = Field(0, ge=0, description="0 trains the weights themselves")
    lora_alpha: int | None = Field(None, ge=1, description="twice the rank, where it is left away")
    log_every: int = Field(1, ge=1)
    save_every: int = Field(200, ge=1, description="steps between checkpoints")
    validate_every: int = Field(0, ge=0, description="steps between validations; 0 has none")
    sample_every: int = Field(0, ge=0, description="steps between plans that are made with the weights as they are")
    sample_requests: list[str] = Field(default_factory=list)
    world_tasks: int = Field(
        0, ge=0, description="held-out requests of the world that are scored then, by `duogen eval world`"
    )
    log_with: list[Literal["tensorboard", "trackio", "wandb"]] = Field(default_factory=list)


class Stage1Config(StageConfig):
    """Instruction tuning of the MLLM. A learning rate of 0 freezes a part."""

    vision_learning_rate: float = Field(0.0, ge=0, description="of the vision encoder")
    merger_learning_rate: float | None = Field(None, ge=0, description="of what leads from it to the language model")
    language_learning_rate: float | None = Field(None, ge=0)


class Stage2Config(StageConfig):
    """Context alignment of connector and DiT."""

    frame_tokens: int = Field(8192, ge=16, description="tokens of the DiT in a pack, at most")
    mode: Literal["full", "causal"] | None = Field(
        None, description="attention over frames; the model's own, where it is left away"
    )
    connector_learning_rate: float | None = Field(None, ge=0)
    drop_last_text: float = Field(0.1, ge=0, le=1, description="share of targets that train guidance's negative branch")
    frame_noise: float = Field(0.1, ge=0, lt=1, description="largest share of noise on condition frames")
    time_shift: float = Field(0.0, description="mean of the logit-normal distribution that times are drawn from")
    time_spread: float = Field(1.0, gt=0, description="its standard deviation")
    sigma_shift: float = Field(1.0, gt=0, description="more than 1 moves times to higher noise, as samplers do")
    state_cache_mb: int = Field(1024, ge=0, description="host memory for hidden states of documents that come again")


class TuneConfig(_Section):
    """A model folder, its data and one or both stages."""

    model: Path
    seed: int = Field(0, ge=0, le=2**31 - 1)
    data: DataConfig
    stage1: Stage1Config | None = None
    stage2: Stage2Config | None = None

    @model_validator(mode="after")
    def _nothing_is_asked_in_vain(self) -> TuneConfig:
        for stage in filter(None, (self.stage1, self.stage2)):
            if stage.validate_every and not self.data.validation:
                raise ValueError("validate_every needs documents in data.validation")
            if bool(stage.sample_every) != bool(stage.sample_requests or stage.world_tasks):
                raise ValueError("sample_every goes with sample_requests or world_tasks")
        return self

    def files(self, patterns: list[str]) -> list[Path]:
        """The files that some patterns name, in order.

        Raises:
            InputError: a pattern names none.
        """
        found: list[Path] = []
        for pattern in patterns:
            path = Path(pattern)
            here = sorted(path.parent.glob(path.name))
            if not here:
                raise InputError(f"{pattern}: no such file of documents")
            found += here
        return found


def load_tuning(path: Path) -> TuneConfig:
    """Reads a file; paths in it are relative to its folder.

    Raises:
        InputError: it can't be read, isn't TOML, or has an unknown key or a value out of range.
    """
    try:
        config = TuneConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: can't read the configuration ({error.strerror or error})") from error
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
    config.model = path.parent / config.model
    for patterns in (config.data.train, config.data.validation):
        patterns[:] = [str(path.parent / pattern) for pattern in patterns]
    return config
