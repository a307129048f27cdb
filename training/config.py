"""Typed run files: everything that decides what a trained model will be, in one TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from duogen.errors import InputError

RECIPES = Path(__file__).parent / "recipes"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TokenizerConfig(_Section):
    """The BPE tokenizer and the MLLM's image processor."""

    vocab_size: int = Field(1024, ge=300)
    sample_tasks: int = Field(20_000, ge=10, description="tasks whose text the tokenizer is trained on")
    max_pixels: int = Field(512 * 512, ge=64 * 64, description="largest picture that the vision encoder sees")


class CodecConfig(_Section):
    """The linear patch codec (`duogen.models.vae.PatchCodec`)."""

    patch_size: int = Field(16, ge=2)
    z_dim: int = Field(64, ge=1)
    whitening: float = Field(0.5, ge=0, le=1)
    sample_pictures: int = Field(1500, ge=10)


class MLLMConfig(_Section):
    """Sizes of the Qwen2.5-VL."""

    hidden: int = Field(192, multiple_of=32)
    layers: int = Field(4, ge=1)
    heads: int = Field(6, ge=1)
    kv_heads: int = Field(2, ge=1)
    vision_hidden: int = Field(128, multiple_of=32)
    vision_layers: int = Field(2, ge=1)


class DiTConfig(_Section):
    """Sizes of the CosmosTransformer3DModel and its attention mode over frames."""

    heads: int = Field(6, ge=1)
    head_dim: int = Field(32, multiple_of=2, ge=6)
    layers: int = Field(6, ge=1)
    text_embed_dim: int = Field(256, ge=1)
    adaln_lora_dim: int = Field(64, ge=1)
    mode: Literal["causal", "full"] = "causal"
    prediction: Literal["velocity", "sample"] = "sample"
    segment_heads: int = Field(3, ge=0, description="cross-attention heads that read the last text segment alone")

    @model_validator(mode="after")
    def _heads_are_enough(self) -> DiTConfig:
        if self.segment_heads > self.heads:
            raise ValueError(f"segment_heads must be at most heads, {self.heads}")
        return self


class OptimConfig(_Section):
    """Length, batch and optimiser of one stage."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1, description="dialogues a step")
    learning_rate: float = Field(gt=0, description="of AdamW")
    muon_learning_rate: float = Field(0.02, gt=0, description="of Muon, for the matrices inside the blocks")
    final_learning_rate: float = Field(0.02, ge=0, le=1, description="share of the rates left at the last step")
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    shares: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="of the families in training; those of `PRACTISED` where none are named"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of matrix products; bfloat16 is faster on GPUs and on CPUs that have it (AVX512-BF16, AMX)",
    )

    @field_validator("shares")
    @classmethod
    def _families_exist(cls, shares: dict[str, float]) -> dict[str, float]:
        from duogen.training.data import FAMILIES

        if unknown := shares.keys() - FAMILIES.keys():
            raise ValueError(f"no such family: {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
        if shares and not any(shares.values()):
            raise ValueError("at least one family must have a share")
        return shares


class TuningConfig(OptimConfig):
    """Next-token prediction, by the MLLM."""

    lesson_steps: int = Field(
        0, ge=0, description="first steps, on short exercises: repeat a list, name what is seen, find a thing"
    )
    naming_weight: float = Field(
        1.0, ge=0, description="weight of the loss that has each picture token name what it shows; 0 leaves it out"
    )
    comparing_weight: float = Field(
        0.3,
        ge=0,
        description="weight of the loss that has each picture token name what stood there in the picture before; 0 leaves it out",
    )


class PretrainConfig(TuningConfig):
    """The MLLM's language and sight from nothing, before stage 1 (public checkpoints come with theirs)."""


class Stage1Config(TuningConfig):
    """Instruction tuning of the MLLM by next-token prediction."""

    fact_weight: float = Field(
        1.0,
        ge=1,
        description="weight in the loss of the most frequent word that a picture could contradict, against words that none "
        "could; rarer ones count more (`duogen.training.facts`)",
    )
    spread_weight: float = Field(
        0.03,
        ge=0,
        description="weight of the loss that keeps the embeddings of such words apart (`duogen.training.stage1.likeness`)",
    )
    anchor_weight: float = Field(
        0.0,
        ge=0,
        description="weight of how far all layers' states drift from those that the run starts with: connector and DiT that read "
        "these needn't be aligned again for a small change",
    )
    worn: float = Field(
        0.5, ge=0, le=1, description="share of dialogues whose pictures are worn (`duogen.training.worn`)"
    )
    spoken: float = Field(0.25, ge=0, le=1, description="share of dialogues told without pictures, as in pretraining")
    whole: float = Field(0.25, ge=0, le=1, description="share with all pictures; the others show the user's alone")


class Stage2Config(OptimConfig):
    """Context alignment of connector and DiT by flow matching."""

    drop_last_text: float = Field(0.1, ge=0, le=1, description="share of targets that train guidance's negative branch")
    frame_noise: float = Field(0.1, ge=0, lt=1, description="largest share of noise on condition frames")
    own_frames: float = Field(
        0.5, ge=0, le=1, description="share of steps whose condition frames are the DiT's own pictures, in causal mode"
    )
    new_weight: float = Field(
        1.0, ge=1, description="weight in the loss of what differs from the picture before, against what stays"
    )
    showing_weight: float = Field(
        0.2, ge=0, description="weight of the loss that has the DiT name what each token will show; 0 leaves it out"
    )
    sigma_floor: float = Field(
        0.05,
        gt=0,
        le=1,
        description="noise level below which an error of the sample counts no more than at this level, however little noise "
        "is left; about that of the last denoising step, as nothing below it is ever asked for",
    )
    time_shift: float = Field(0.0, description="mean of the logit-normal distribution that times are drawn from")
    time_spread: float = Field(1.0, gt=0, description="its standard deviation")


class SamplerConfig(_Section):
    """Defaults that the finished model carries for inference."""

    steps: int = Field(4, ge=1)
    first_steps: int | None = Field(
        None, ge=1, description="those of a picture that none comes before; `steps` without it"
    )
    guidance: float = Field(1.0, ge=1)
    shift: float = Field(3.0, gt=0, description="more than 1 spends more steps at high noise")
    size: int = Field(192, ge=32)


class Recipe(_Section):
    """A whole model, from nothing or from the weights of another one.

    With `start`, a model folder, processor and codec are that model's, stage 1 goes on from its MLLM and stage 2 from its
    connector and DiT; pretraining, and the sizes in this recipe, then have no say. What `renew` names, tokenizer, codec or
    both, is fitted anew to the world as it is now, and the weights are carried over to it (`duogen.training.renew`).
    """

    seed: int = 0
    start: Path | None = None
    renew: tuple[Literal["tokenizer", "codec"], ...] = ()
    tokenizer: TokenizerConfig = TokenizerConfig()
    codec: CodecConfig = CodecConfig()
    mllm: MLLMConfig = MLLMConfig()
    dit: DiTConfig = DiTConfig()
    pretrain: PretrainConfig
    stage1: Stage1Config
    stage2: Stage2Config
    sampler: SamplerConfig = SamplerConfig()

    @model_validator(mode="after")
    def _there_is_something_to_renew(self) -> Recipe:
        if self.renew and self.start is None:
            raise ValueError("renew carries over what start names, and there is no start")
        return self


def load_recipe(name: str | Path) -> Recipe:
    """A recipe that ships with DuoGen (``default``, ``debug``) or a TOML file.

    Raises:
        InputError: no such recipe or file, bad TOML, an unknown key or a value out of range.
    """
    shipped = RECIPES / f"{name}.toml"
    path = shipped if shipped.exists() else Path(name)
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise InputError(f"{name}: no such recipe file, and none of the shipped ones ({known})") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
