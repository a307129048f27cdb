"""How much memory a model will need, from its files' headers and configurations: before anything is loaded.

Weights are counted exactly. What is worked with besides is reckoned for one plan: the hidden states of the request as they pass through
the connector, the caches of all text and pictures, the transformer's activations, the VAE's. `tests/models/memory_measured.py` holds it against what is
measured.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duogen.models.checkpoints import check_model_folder, language_config, read_config
from duogen.models.decoding import LARGEST_COPY
from duogen.models.keeping import Keeping
from duogen.models.vae import spatial_factor

COMPONENTS = ("mllm", "connector", "transformer", "vae")
QUANTISED = {"int8": 1.02, "fp8": 1.02, "nf4": 0.5625}
"""Bytes of a quantised number, with its share of the scales."""
LAYERS = ("layers.", "blocks.", "transformer_blocks.")


@dataclass(frozen=True)
class Work:
    """The plan that is reckoned with: tokens of the request, of all text and pictures in the end, and pictures painted, of this size."""

    request: int = 600
    tokens: int = 4000
    pictures: int = 8
    width: int = 512
    height: int = 512


@dataclass(frozen=True)
class Needs:
    """Bytes on the device and in the host's memory, without what Python and its libraries take.

    `weights` by component as they are kept, `working` what a plan takes at most besides, `device` and `host` what each must hold.
    """

    weights: dict[str, int]
    working: int
    device: int
    host: int


def needs_of(folder: Path, keeping: Keeping, device: str, work: Work) -> Needs:
    """What a model folder needs, kept in some way, for some work.

    Raises:
        InputError: no model there.
    """
    check_model_folder(folder)
    mllm = read_config(folder / "mllm")
    each = keeping.numbers(mllm.get("dtype"), device).itemsize
    weights = {
        name: _weights(folder / name, each, keeping.quantize if name in ("mllm", "transformer") else None)
        for name in COMPONENTS
    }
    plain = bool(keeping.quantize or keeping.offload)
    index = read_config(folder, "model_index.json")
    working = _working(folder, mllm, index, each, plain, keeping.tiling, work)
    whole = sum(weights.values())
    resident = whole
    if keeping.offload == "model":
        resident = max(weights["mllm"] + weights["connector"], weights["transformer"], weights["vae"])
    elif keeping.offload == "layer":
        resident = (
            weights["connector"]
            + weights["vae"]
            + max(_largest_layer(folder / name, each) for name in ("mllm", "transformer"))
        )
    if device.startswith("cpu"):
        return Needs(weights, working, 0, whole + working)
    return Needs(weights, working, resident + working, whole if keeping.offload else max(weights.values()) // 4)


def _tensors(folder: Path) -> dict[str, list[int]]:
    """Names and shapes of all tensors in a folder's safetensors files, from their headers."""
    found: dict[str, list[int]] = {}
    for path in folder.glob("*.safetensors") if folder.is_dir() else []:
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        found |= {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    return found


def parameters(folder: Path) -> int:
    """How many numbers the safetensors files of a folder hold."""
    return sum(math.prod(shape) for shape in _tensors(folder).values())


def _weights(folder: Path, each: int, quantised: str | None) -> int:
    total = 0.0
    for name, shape in _tensors(folder).items():
        small = quantised is not None and len(shape) == 2 and any(part in name for part in LAYERS)
        total += math.prod(shape) * (QUANTISED[quantised or ""] if small else each)
    return int(total)


def _largest_layer(folder: Path, each: int) -> int:
    return max((math.prod(shape) * each for shape in _tensors(folder).values()), default=0)


def _working(
    folder: Path, mllm: dict[str, Any], index: dict[str, Any], each: int, plain: bool, tiling: bool, work: Work
) -> int:
    text = language_config(mllm)
    layers, hidden = text["num_hidden_layers"], text["hidden_size"]
    heads = text.get("num_key_value_heads") or text["num_attention_heads"]
    size = text.get("head_dim") or hidden // text["num_attention_heads"]
    dit, vae = read_config(folder / "transformer"), read_config(folder / "vae")
    blocks, width = dit["num_layers"], dit["num_attention_heads"] * dit["attention_head_dim"]
    factor = spatial_factor(vae)
    frame = (work.width // factor // dit["patch_size"][1]) * (work.height // factor // dit["patch_size"][1])
    causal = index.get("attention_mode") == "causal"
    shown = frame if causal else frame * work.pictures

    kept = 2 * layers * heads * size * int(1.25 * work.tokens)  # keys and values, and room behind them
    kept += 2 * blocks * width * work.tokens  # cross-attention's
    kept += 2 * blocks * width * frame * work.pictures if causal else 0
    copied = 0
    fast = not plain and mllm["architectures"][0].startswith("Qwen2_5")
    matrices = layers * (hidden * (hidden + 2 * heads * size) + 2 * hidden * text["intermediate_size"])
    if fast and matrices <= LARGEST_COPY:
        copied += matrices
    stepped = not plain and dit["_class_name"].startswith("Cosmos")
    # States of the request: in a list, stacked, normalised.
    reading = 4 * work.request * layers * hidden
    inner = dit.get("ffn_dim") or int(dit.get("mlp_ratio", 4) * width)
    rows = 1 if index.get("default_guidance", 8) == 1 else 2
    denoising = rows * shown * (2 * inner + 8 * width)
    if stepped:
        # Queries, keys and values in one, rotations of each block, keys and values of the pictures before beside the new ones.
        denoising += 3 * blocks * width**2 + 4 * blocks * shown * dit["attention_head_dim"]
        denoising += rows * 2 * blocks * width * (frame * work.pictures if causal else 0) // max(1, blocks // 4)
    pixels = work.width * work.height if not tiling else 256 * 256
    painting = 3 * pixels
    if vae["_class_name"] == "AutoencoderKLWan":
        # The last blocks of the decoder work on whole pictures: some copies of their channels, with a margin of frames for causality.
        painting = pixels * (vae.get("decoder_base_dim") or vae["base_dim"]) * VAE_COPIES
    return each * (kept + copied + max(reading, denoising, painting))


VAE_COPIES = 14
"""Copies of a picture's channels at full size that the decoder of `AutoencoderKLWan` has at a time, measured."""
