"""A pipeline folder from public checkpoints: an MLLM, and a diffusers folder with transformer and VAE.

What doesn't fit is said from the configurations alone, before any weight is read. The connector begins as the transformer's own
``crossattn_proj``, where that was made for such an MLLM, else anew. The result is as aligned as that projection is: it writes and
paints, and stage 2 (`duogen train stage2`) teaches the transformer to read what the MLLM means.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    CosmosTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    WanTransformer3DModel,
)
from diffusers import __version__ as diffusers_version
from torch import nn
from transformers import (
    LlavaOnevisionForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)

from duogen.document import write_atomically
from duogen.errors import InputError
from duogen.models.checkpoints import check_weights, checkpoint_folder, language_config, read_config
from duogen.models.connector import Connector
from duogen.models.pipeline import DuoGenPipeline, load_processor
from duogen.models.processor import BOV, VISION_START, DuoGenProcessor
from duogen.models.vae import PatchCodec, spatial_factor
from duogen.models.wan import MASK_CHANNELS, check_mode, shows_noise

MLLMS: dict[str, Any] = {
    each.__name__: each
    for each in (
        Qwen2_5_VLForConditionalGeneration,
        Qwen3VLForConditionalGeneration,
        LlavaOnevisionForConditionalGeneration,
    )
}
DITS: dict[str, Any] = {each.__name__: each for each in (CosmosTransformer3DModel, WanTransformer3DModel)}
VAES: dict[str, Any] = {each.__name__: each for each in (AutoencoderKLWan, PatchCodec)}
DEFAULTS = {
    CosmosTransformer3DModel.__name__: {"default_steps": 36, "default_guidance": 7.0},
    WanTransformer3DModel.__name__: {"default_steps": 50, "default_guidance": 5.0},
}
"""What the public pipelines of each transformer use (diffusers, ``Cosmos2_5_PredictBasePipeline``, ``WanPipeline``)."""
SHARD = "4GB"


@dataclass
class Parts:
    """Checkpoints that fit one another, as folders and configurations.

    `notes`: what the user should know of the result.
    """

    mllm: Path
    dit: Path
    vae: Path
    mllm_config: dict[str, Any]
    transformer_config: dict[str, Any]
    vae_config: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def states(self) -> int:
        """How many numbers the MLLM's layers say of a token."""
        text = language_config(self.mllm_config)
        return int(text["num_hidden_layers"]) * int(text["hidden_size"])

    @property
    def context(self) -> int:
        """How many numbers the transformer reads of a token."""
        config = self.transformer_config
        return int(config["text_dim" if config["_class_name"] == WanTransformer3DModel.__name__ else "text_embed_dim"])

    @property
    def projected(self) -> bool:
        """Whether the transformer has a projection of its own that fits the MLLM."""
        config = self.transformer_config
        return bool(config.get("use_crossattn_projection")) and config["crossattn_proj_in_channels"] == self.states


def matched(
    mllm: str, dit: str, mllm_revision: str | None = None, dit_revision: str | None = None, vae: Path | None = None
) -> Parts:
    """Finds checkpoints and makes sure that they fit.

    Args:
        mllm: folder or hub repository of an MLLM, as transformers saves it.
        dit: folder or hub repository of a diffusers pipeline; its ``transformer`` and ``vae`` are taken.
        vae: the folder of another VAE, for a transformer that is yet to be trained for it.

    Raises:
        InputError: something is missing or doesn't fit; says what.
        DuoGenError: a repository can't be had.
    """
    mllm_folder = checkpoint_folder(mllm, mllm_revision)
    dit_folder = checkpoint_folder(dit, dit_revision, ["transformer", "vae", "scheduler"])
    config = read_config(mllm_folder)
    kind = (config.get("architectures") or ["nothing"])[0]
    if kind not in MLLMS:
        raise InputError(f"{mllm}: {kind} isn't supported as the MLLM; there are {', '.join(MLLMS)}")
    vae_folder = vae or dit_folder / "vae"
    transformer, vae_config = read_config(dit_folder / "transformer"), read_config(vae_folder)
    _check_transformer(dit_folder, transformer)
    if vae_config.get("_class_name") not in VAES:
        raise InputError(f"{vae_folder}: {vae_config.get('_class_name')} isn't supported; there are {', '.join(VAES)}")
    channels, latents = transformer.get("out_channels") or transformer["in_channels"], vae_config.get("z_dim", 16)
    if latents != channels:
        raise InputError(f"{dit}: the transformer paints {channels} channels, and the VAE has {latents}")
    for folder in (mllm_folder, dit_folder / "transformer", vae_folder):
        check_weights(folder)
    parts = Parts(mllm_folder, dit_folder, vae_folder, config, transformer, vae_config)
    if parts.projected:
        parts.notes.append(f"connector: the transformer's own crossattn_proj, {parts.states} -> {parts.context}")
    else:
        parts.notes.append(
            f"connector: new, {parts.states} -> {parts.context}; pictures won't follow the text before stage 2"
        )
    return parts


def _check_transformer(folder: Path, config: dict[str, Any]) -> None:
    place, kind = folder / "transformer", config.get("_class_name")
    if kind not in DITS:
        raise InputError(f"{place}: {kind} isn't supported as the transformer; there are {', '.join(DITS)}")
    if (folder / "transformer_2").exists():
        raise InputError(f"{folder}: a transformer in two parts, for high and for low noise, isn't supported")
    given, made = config["in_channels"], config.get("out_channels") or config["in_channels"]
    if kind == CosmosTransformer3DModel.__name__:
        if config.get("controlnet_block_every_n") or config.get("img_context_dim_in"):
            raise InputError(f"{place}: a Cosmos-Transfer transformer; Cosmos-Predict2.5's is needed")
        if given != made + 1:
            raise InputError(
                f"{place}: takes {given} channels; {made + 1}, with one that marks condition frames, are needed"
            )
    elif given != made and not shows_noise(config):
        raise InputError(f"{place}: takes {given} channels; {made} or {2 * made + MASK_CHANNELS} are needed")
    if config.get("patch_size", (1, 2, 2))[0] != 1:
        raise InputError(f"{place}: a token must hold a single frame, not {config['patch_size'][0]}")


def assemble(
    parts: Parts, output: Path, dtype: torch.dtype = torch.bfloat16, mode: str = "full", size: int = 512
) -> None:
    """Writes a pipeline folder, one component after the other, so that no more than the largest is in memory.

    Args:
        mode: the transformer's attention mode. Public checkpoints are ``full``; another one needs stage 2 to get used to it.
        size: of a picture, in pixels, where a request doesn't say.

    Raises:
        InputError: there is something at `output` already, or the size isn't possible.
    """
    if output.exists():
        raise InputError(f"{output}: exists already; choose another folder")
    multiple = spatial_factor(parts.vae_config) * parts.transformer_config.get("patch_size", (1, 2, 2))[1]
    if size % multiple:
        raise InputError(f"the size must be a multiple of {multiple} for this model, not {size}")
    check_mode(mode, parts.transformer_config)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        processor = load_processor(parts.mllm)
        _write_mllm(parts, processor, dtype, unfinished / "mllm")
        processor.save_pretrained(unfinished / "processor")
        _write_painter(parts, dtype, unfinished)
        kind = VAES[parts.vae_config["_class_name"]]
        vae = kind.from_pretrained(parts.vae, torch_dtype=dtype, use_safetensors=True)
        _save(vae, unfinished / "vae")
        scheduler = FlowMatchEulerDiscreteScheduler(shift=_shift(parts.dit))
        scheduler.save_pretrained(unfinished / "scheduler")
        write_atomically(unfinished / "model_index.json", json.dumps(_index(parts, mode, size), indent=2).encode())
        os.replace(unfinished, output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_mllm(parts: Parts, processor: DuoGenProcessor, dtype: torch.dtype, target: Path) -> None:
    kind = MLLMS[parts.mllm_config["architectures"][0]]
    model = kind.from_pretrained(parts.mllm, dtype=dtype, use_safetensors=True)
    parts.notes.append(add_bov(model, processor))
    model.save_pretrained(target, max_shard_size=SHARD)


def _write_painter(parts: Parts, dtype: torch.dtype, target: Path) -> None:
    kind = DITS[parts.transformer_config["_class_name"]]
    transformer = kind.from_pretrained(parts.dit / "transformer", torch_dtype=dtype, use_safetensors=True)
    torch.manual_seed(0)
    connector = Connector(parts.states, parts.context)
    nn.Module.to(connector, dtype)  # without diffusers' warning that nothing of it is kept in float32
    if parts.projected:
        connector.crossattn_proj.load_state_dict(transformer.crossattn_proj.state_dict())
    else:
        # States come normalised: outputs of about unit size, whatever their number.
        nn.init.normal_(connector.crossattn_proj[0].weight, std=1 / math.sqrt(parts.states))
        nn.init.zeros_(connector.crossattn_proj[0].bias)
    if getattr(transformer, "crossattn_proj", None) is not None:
        del transformer.crossattn_proj
        transformer.register_to_config(use_crossattn_projection=False)
    _save(connector, target / "connector")
    _save(transformer, target / "transformer")


def _save(component: Any, target: Path) -> None:
    component.register_to_config(_name_or_path="")  # where it lay on the machine that made it is nobody's business
    component.save_pretrained(target, max_shard_size=SHARD)


@torch.no_grad()
def add_bov(model: Any, processor: DuoGenProcessor) -> str:
    """Gives `<BOV>` its rows in a model's embeddings, which get more of them where there is no room; returns what was done.

    Read, it begins as `<|vision_start|>`, which the model knows to stand before a picture; written, as the mean of all words: as likely as
    they are on average, so that it is neither written by chance nor out of training's reach. Where both are one matrix, or there is no such
    mark, the mean serves for both.
    """
    token, words = processor.id(BOV), len(processor.tokenizer)
    if model.get_input_embeddings().weight.shape[0] <= token:
        model.resize_token_embeddings(-(-words // 64) * 64, mean_resizing=False)
    read, written = (each.weight for each in (model.get_input_embeddings(), model.get_output_embeddings()))
    mark = processor.tokenizer.convert_tokens_to_ids(VISION_START)
    tied = read.data_ptr() == written.data_ptr()
    mean = written[:token].float().mean(0).to(written.dtype)
    known = mark not in (None, processor.tokenizer.unk_token_id) and mark < token
    written[token] = mean
    if not tied:
        read[token] = read[mark] if known else read[:token].float().mean(0).to(read.dtype)
    begins = f"as {VISION_START}" if known and not tied else "as the mean of all tokens"
    return f"{BOV}: token {token}, begins {begins}"


def _shift(dit: Path) -> float:
    """How much more steps are spent at high noise, as the checkpoint's own scheduler has it.

    Of Karras et al.'s levels, which Cosmos-Predict2.5 has, the one shift that begins half of the steps at the same level.
    """
    path = dit / "scheduler" / "scheduler_config.json"
    config = read_config(path.parent, path.name) if path.is_file() else {}
    if config.get("use_karras_sigmas") and config.get("sigma_max") and config.get("sigma_min"):
        high, low = (float(config[name]) ** (1 / 7) for name in ("sigma_max", "sigma_min"))
        return round(((high + low) / 2) ** 7, 2)
    return float(config.get("flow_shift") or config.get("shift") or 5.0)


def _index(parts: Parts, mode: str, size: int) -> dict[str, Any]:
    """``model_index.json``."""
    kind = parts.transformer_config["_class_name"]
    return {
        "_class_name": DuoGenPipeline.__name__,
        "_diffusers_version": diffusers_version,
        "mllm": ["transformers", parts.mllm_config["architectures"][0]],
        "processor": _named(DuoGenProcessor),
        "connector": _named(Connector),
        "transformer": ["diffusers", kind],
        "vae": _named(VAES[parts.vae_config["_class_name"]]),
        "scheduler": ["diffusers", FlowMatchEulerDiscreteScheduler.__name__],
        "attention_mode": mode,
        "default_size": size,
        "max_condition_pixels": size**2,
        **DEFAULTS[kind],
    }


def _named(kind: type) -> list[str]:
    """A class as ``model_index.json`` names it."""
    ours = kind.__module__.startswith("duogen.")
    return [kind.__module__ if ours else "diffusers", kind.__name__]
