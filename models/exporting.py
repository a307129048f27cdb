"""All networks as ONNX files: language model, vision encoder, connector, denoising step and the VAE's decoder.

The language model reads and writes one dialogue's tokens, however many, and puts them into a cache of any length; the vision encoder
sees one picture of any size; the connector goes on to what each block's cross-attention reads. The step is the one of
`duogen.models.step`, of any number of pictures, tokens (so any width and height) and text tokens: behind any number of kept frames,
in ``causal`` checkpoints, and of all frames, in ``full`` ones. They hold operators that only onnxruntime has
(`duogen.models.kernels`). The extra ``onnx`` installs what is needed; on a GPU, the extra ``gpu`` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from duogen.errors import DuoGenError
from duogen.models.conditioning import Conditioning
from duogen.models.decoding import new_cache
from duogen.models.dit import CosmosDiT
from duogen.models.mllm import QwenVL
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.reading import Reading
from duogen.models.seeing import Seeing
from duogen.models.step import Step
from duogen.models.vae import from_latents

OPSET = 20
MANIFEST = "duogen-onnx.json"
FORM = 5
"""Of what the files take and give; files of another form are of another version of this library."""
READING, SEEING = "language_model", "vision_encoder"
STEP, CONNECTOR, DECODER = "denoising_step", "connector", "vae_decoder"
# The axes of a keeping `Step`'s inputs that differ from call to call.
_AXES: dict[str, tuple[int, ...]] = {
    "tokens": (0, 1), "modulations": (), "shown": (), "turn": (0, 1), "turn_across": (0, 1), "past_keys": (0, 2),
    "past_values": (0, 2), "text_keys": (0, 2), "text_values": (0, 2), "reads": (0, 1), "learned": (0, 1), "sees": (0, 1),
    "order": (0, 1), "places": (0, 1),
}  # fmt: skip


class OnnxMissingError(DuoGenError):
    """The packages for ONNX aren't installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"ONNX needs the package {package}: pip install 'duogen[onnx]'")


@torch.no_grad()
def export(pipeline: DuoGenPipeline, folder: Path, int8: bool = False) -> list[Path]:
    """Writes the files of a pipeline, and a note of which weights they are of; returns the paths.

    Args:
        int8: the language model's matrices in 8 bit; of the other networks it would make none faster.

    Raises:
        OnnxMissingError: the packages for it aren't there.
        DuoGenError: the model's networks aren't those that can be written.
    """
    if not isinstance(pipeline.painter, CosmosDiT) or not isinstance(pipeline.language, QwenVL):
        raise DuoGenError("ONNX files can be written of Qwen2.5-VL with Cosmos, whose weights lie on the device")
    for package in ("onnx", "onnxscript"):
        needed(package)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_write_step(pipeline, folder / f"{STEP}.onnx")]
    states = torch.randn(1, 7, _layers(pipeline), pipeline.connector.config.in_channels // _layers(pipeline))
    conditioning = Conditioning(pipeline.connector, pipeline.painter)
    paths.append(
        _write(conditioning, {"states": states}, {"states": (1,)}, folder / f"{CONNECTOR}.onnx", ("keys", "values"))
    )
    latent = torch.randn(pipeline.latent_shape(*[pipeline.side_multiple * side for side in (2, 3)]))
    axes: dict[str, tuple[int, ...]] = {"latent": (2, 3)}
    paths.append(_write(_Decoder(pipeline.vae), {"latent": latent}, axes, folder / f"{DECODER}.onnx", ("pixels",)))
    paths += [
        write_reading(pipeline, folder / f"{READING}.onnx", int8),
        _write_seeing(pipeline, folder / f"{SEEING}.onnx"),
    ]
    (folder / MANIFEST).write_text(json.dumps({"form": FORM, "weights": fingerprint(pipeline)}))
    return paths


def _write_step(pipeline: DuoGenPipeline, path: Path) -> Path:
    """Exports the denoising step: that of a new picture behind kept frames, or that of all frames."""
    dit, config, causal = pipeline.painter, pipeline.transformer.config, pipeline.config.attention_mode == "causal"
    assert isinstance(dit, CosmosDiT)
    blocks, heads, size = config.num_layers, config.num_attention_heads, config.attention_head_dim
    rows, tokens, past = 2, 12, 10
    width, turning = heads * size, (rows if causal else 1, tokens, size // 2)
    shapes: dict[str, tuple[int, ...]] = {
        "tokens": (rows, tokens, config.out_channels * dit.patch**2),
        "modulations": ((3 * blocks + 1) * 3 * width,) if causal else (2, (3 * blocks + 1) * 3 * width),
        "shown": (1, 1 if causal else tokens, 1),
        "turn": turning,
        "turn_across": turning,
        **dict.fromkeys(("past_keys", "past_values"), (rows, heads, past + tokens, size)),
        "learned": (rows if causal else 1, tokens, width),
    }
    kind = pipeline.transformer.dtype
    example: dict[str, Any] = {name: torch.randn(shape, dtype=kind) for name, shape in shapes.items()}
    for name in ("past_keys", "past_values"):
        example[name] = [torch.randn_like(example[name]) for _ in range(blocks)]
    groups = [(count, length) for count, length in ((dit.segment_heads, 5), (heads - dit.segment_heads, 7)) if count]
    for name in ("text_keys", "text_values"):
        example[name] = [torch.randn(rows, count, length, size, dtype=kind) for count, length in groups * blocks]
    example["order"] = torch.zeros(rows, tokens, dtype=torch.int64)
    example["reads"] = [torch.ones(rows, length, dtype=torch.int32) for _, length in groups]
    if dit.model.learnable_pos_embed is None:
        del example["learned"]
    if causal:
        example["sees"] = torch.ones(rows, past + tokens, dtype=torch.int32)
        example["places"] = torch.zeros(rows, tokens, heads, 3, dtype=torch.int64)
        own = [f"{name}_{block}" for name in ("keys", "values") for block in range(blocks)]
        return _write(Step(dit), example, _AXES, path, ("answer", *own))
    for name in ("past_keys", "past_values"):
        del example[name]
    example["frame"] = (torch.arange(tokens) >= past).long()
    axes = _AXES | {"shown": (1,), "turn": (1,), "turn_across": (1,), "learned": (1,), "frame": (0,)}
    return _write(_WholeStep(dit), example, axes, path, ("answer",))


class _WholeStep(nn.Module):
    """A `Step` of all frames, which keeps nothing."""

    def __init__(self, dit: CosmosDiT) -> None:
        super().__init__()
        self.step = Step(dit, keeping=False)

    def forward(
        self, tokens: Tensor, modulations: Tensor, shown: Tensor, turn: Tensor, turn_across: Tensor, text_keys: list[Tensor],
        text_values: list[Tensor], reads: list[Tensor | None], order: Tensor, frame: Tensor, learned: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        return self.step(
            tokens, modulations, shown, turn, turn_across, [], [], text_keys, text_values, reads, learned,
            frame=frame, order=order,
        ).answer  # fmt: skip


def write_reading(pipeline: DuoGenPipeline, path: Path, int8: bool) -> Path:
    """Exports the language model."""
    reading, tokens = Reading(pipeline.mllm, int8).eval(), 3
    layers = new_cache(pipeline.mllm).roomy
    room, half = layers[0].rooms[0].shape[2], reading.weights.size // 2
    kind = reading.weights.embedding.dtype
    example: dict[str, Any] = {
        "hidden": torch.randn(tokens, reading.weights.embedding.shape[1], dtype=kind),
        "total": torch.tensor([tokens], dtype=torch.int32),
        "waves": [torch.randn(room, half, dtype=kind) for _ in range(2)],
        "past_keys": [torch.randn_like(layer.rooms[0]) for layer in layers],
        "past_values": [torch.randn_like(layer.rooms[1]) for layer in layers],
    }
    axes: dict[str, tuple[int, ...]] = {
        "hidden": (0,),
        "total": (),
        "waves": (0,),
        "past_keys": (2,),
        "past_values": (2,),
    }
    kept = [f"{name}_{number}" for name in ("keys", "values") for number in range(len(layers))]
    return _write(reading, example, axes, path, ("logits", "states", *kept))


def _write_seeing(pipeline: DuoGenPipeline, path: Path) -> Path:
    """Exports the vision encoder."""
    config, patches = pipeline.mllm.config.vision_config, 24
    kind = pipeline.mllm.dtype
    turning = (patches, 1, config.hidden_size // config.num_heads)
    example = {
        "patches": torch.randn(patches, config.in_channels * config.patch_size**2, dtype=kind),
        "cosine": torch.randn(turning), "sine": torch.randn(turning), "windows": torch.zeros(patches, patches, dtype=kind),
    }  # fmt: skip
    axes: dict[str, tuple[int, ...]] = {"patches": (0,), "cosine": (0,), "sine": (0,), "windows": (0, 1)}
    return _write(Seeing(pipeline.mllm), example, axes, path, ("seen",))


class _Decoder(nn.Module):
    """A VAE's decoder, from normalised latents on."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latent: Tensor) -> Tensor:
        return from_latents(self.vae, latent)


def _layers(pipeline: DuoGenPipeline) -> int:
    return int(pipeline.mllm.config.get_text_config().num_hidden_layers)


def _write(
    module: nn.Module, example: dict[str, Any], axes: dict[str, tuple[int, ...]], path: Path, outputs: Sequence[str]
) -> Path:
    """Exports a module by example: tensors, or lists of these, all of them keywords of its `forward`."""
    shapes: dict[str, Any] = {}
    for name, given in example.items():
        free = dict.fromkeys(axes[name], torch.export.Dim.AUTO)
        shapes[name] = [free] * len(given) if isinstance(given, list) else free
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), (), kwargs=example, dynamic_shapes=shapes, strict=False)
        made: Any = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, verbose=False, output_names=list(outputs)
        )
    part = path.with_suffix(".part")
    made.save(str(part))
    os.replace(part, path)
    return path


def is_exported(folder: Path) -> bool:
    """Whether `export`, of this version, has finished there."""
    manifest = folder / MANIFEST
    return manifest.is_file() and json.loads(manifest.read_text()).get("form") == FORM


def fingerprint(pipeline: DuoGenPipeline) -> str:
    """A hash of the exported weights, of a part of each that shows whether it has changed."""
    digest = hashlib.sha256()
    for module in (pipeline.mllm, pipeline.transformer, pipeline.connector, pipeline.vae):
        for name, weight in module.state_dict().items():
            plain = weight if type(weight.data) is torch.Tensor else weight.dequantize()  # torchao's have no `flatten`
            sample = plain.flatten()[:: max(1, plain.numel() // 64)].float().cpu().numpy().tobytes()
            digest.update(f"{name} {tuple(weight.shape)} ".encode() + sample)
    return digest.hexdigest()[:16]


def needed(package: str) -> None:
    """Raises `OnnxMissingError` where a package isn't installed."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise OnnxMissingError(package)
