"""ONNX: language model, vision encoder, denoising step, connector and the VAE's decoder as files, and onnxruntime in torch's place.

The language model reads and writes one dialogue's tokens, however many, behind a cache of any length; the vision
encoder sees one picture of any size. The step is the one of `duogen.models.step`, for ``causal`` checkpoints, of any number of pictures, tokens (so any width
and height), kept frames and text tokens. The extra ``onnx`` installs what is needed; on a GPU, the extra ``gpu`` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from duogen.errors import DuoGenError
from duogen.models.decoding import Reading, ReadingFunction, new_cache
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.seeing import Seeing, SeeingFunction
from duogen.models.step import Step, StepFunction, StepInputs, StepOutput
from duogen.models.vae import from_latents

OPSET = 20
MANIFEST = "duogen-onnx.json"
READING, SEEING = "language_model", "vision_encoder"
STEP, CONNECTOR, DECODER = "denoising_step", "connector", "vae_decoder"
# The axes of `Step`'s inputs that differ from call to call.
_AXES: dict[str, tuple[int, ...]] = {
    "tokens": (0, 1), "modulations": (), "shown": (), "turn": (1, 4), "turn_across": (1, 4), "past_keys": (0, 2),
    "past_values": (0, 2), "text_keys": (0, 2), "text_values": (0, 2), "reads": (0, 3), "learned": (0, 1), "sees": (0, 3),
}  # fmt: skip


class OnnxMissingError(DuoGenError):
    """The packages for ONNX aren't installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"ONNX needs the package {package}: pip install 'duogen[onnx]'")


@torch.no_grad()
def export(pipeline: DuoGenPipeline, folder: Path) -> list[Path]:
    """Writes the files of a pipeline, and a note of which weights they are of; returns the paths.

    Raises:
        OnnxMissingError: the packages for it aren't there.
        DuoGenError: the checkpoint's frames see all others, so that there is no step that touches the new picture alone.
    """
    if pipeline.config.attention_mode != "causal":
        raise DuoGenError("only checkpoints of causal attention can be exported; this one's is full")
    for package in ("onnx", "onnxscript"):
        _needed(package)
    folder.mkdir(parents=True, exist_ok=True)
    dit, config = pipeline.painter, pipeline.transformer.config
    blocks, heads, size = config.num_layers, config.num_attention_heads, config.attention_head_dim
    pictures, tokens, past, text = 2, 12, 10, 7
    width, reading = heads * size, heads if dit.segment_heads else 1
    shapes: dict[str, tuple[int, ...]] = {
        "tokens": (pictures, tokens, config.out_channels * dit.patch**2),
        "modulations": (1, 1, (3 * blocks + 1) * 3 * width),
        "shown": (1, 1, 1),
        "turn": (blocks, pictures, 2, 1, tokens, size),
        "turn_across": (blocks, pictures, 2, 1, tokens, size),
        **dict.fromkeys(("past_keys", "past_values"), (pictures, heads, past, size)),
        **dict.fromkeys(("text_keys", "text_values"), (pictures, heads, text, size)),
        "reads": (pictures, reading, 1, text),
        "learned": (pictures, tokens, width),
        "sees": (pictures, 1, 1, past + tokens),
    }
    kind = pipeline.transformer.dtype
    example: dict[str, Any] = {name: torch.randn(shape, dtype=kind) for name, shape in shapes.items()}
    for name in ("past_keys", "past_values", "text_keys", "text_values"):
        example[name] = [torch.randn_like(example[name]) for _ in range(blocks)]
    paths = [_write(Step(dit, fused=False), example, _AXES, folder / f"{STEP}.onnx", ("answer", "own"))]
    states = torch.randn(1, text, _layers(pipeline), pipeline.connector.config.in_channels // _layers(pipeline))
    paths.append(
        _write(pipeline.connector, {"states": states}, {"states": (1,)}, folder / f"{CONNECTOR}.onnx", ("vectors",))
    )
    latent = torch.randn(pipeline.latent_shape(*[pipeline.side_multiple * side for side in (2, 3)]))
    axes: dict[str, tuple[int, ...]] = {"latent": (2, 3)}
    paths.append(_write(_Decoder(pipeline.vae), {"latent": latent}, axes, folder / f"{DECODER}.onnx", ("pixels",)))
    paths += [_write_reading(pipeline, folder / f"{READING}.onnx"), _write_seeing(pipeline, folder / f"{SEEING}.onnx")]
    (folder / MANIFEST).write_text(json.dumps({"weights": fingerprint(pipeline)}))
    return paths


def _write_reading(pipeline: DuoGenPipeline, path: Path) -> Path:
    """Exports the language model."""
    reading, tokens = Reading(pipeline.mllm).eval(), 3
    layers: Any = new_cache(pipeline.mllm).layers
    room = layers[0].rooms[0].shape[2]
    example: dict[str, Any] = {
        "hidden": torch.randn(tokens, reading.weights.embedding.shape[1], dtype=reading.weights.embedding.dtype),
        "positions": torch.arange(tokens).expand(3, -1).contiguous(),
        "sees": torch.zeros(tokens, room + tokens, dtype=reading.weights.embedding.dtype),
    }
    axes: dict[str, tuple[int, ...]] = {"hidden": (0,), "positions": (1,), "sees": (0, 1)}
    for part, name in enumerate(("past_keys", "past_values")):
        example[name] = [torch.randn_like(layer.rooms[part]) for layer in layers]
        axes[name] = (2,)
    return _write(reading, example, axes, path, ("logits", "states", "keys", "values"))


def _write_seeing(pipeline: DuoGenPipeline, path: Path) -> Path:
    """Exports the vision encoder."""
    config, patches = pipeline.mllm.config.vision_config, 24
    kind = pipeline.mllm.dtype
    turning = (patches, 1, config.hidden_size // config.num_heads)
    example = {
        "patches": torch.randn(patches, config.in_channels * config.temporal_patch_size * config.patch_size**2, dtype=kind),
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
    """Exports a module by example: tensors, or lists of these."""
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
    """Whether `export` has finished there."""
    return (folder / MANIFEST).is_file()


def fingerprint(pipeline: DuoGenPipeline) -> str:
    """A hash of the exported weights, of a part of each that shows whether it has changed."""
    digest = hashlib.sha256()
    for module in (pipeline.mllm, pipeline.transformer, pipeline.connector, pipeline.vae):
        for name, weight in module.state_dict().items():
            sample = weight.flatten()[:: max(1, weight.numel() // 64)].float().cpu().numpy().tobytes()
            digest.update(f"{name} {tuple(weight.shape)} ".encode() + sample)
    return digest.hexdigest()[:16]


@lru_cache
def _cores() -> int:
    """How many threads torch had when this was asked first."""
    return torch.get_num_threads()


class OnnxBackend:
    """A `Backend` on exported files.

    On a CPU it leaves torch a single thread, in the whole process. Two crews of threads that wait for work busily, as those of
    torch and onnxruntime do, take the cores from each other: a plan of eight pictures took a quarter longer with both.

    Raises:
        OnnxMissingError: onnxruntime isn't there.
        DuoGenError: the files are missing, or of other weights.
    """

    def __init__(self, pipeline: DuoGenPipeline, folder: Path) -> None:
        _needed("onnxruntime")
        if not is_exported(folder):
            raise DuoGenError(f"{folder}: no exported model there; write one with: duogen export-onnx -o {folder}")
        if json.loads((folder / MANIFEST).read_text())["weights"] != fingerprint(pipeline):
            raise DuoGenError(f"{folder}: exported from other weights; write it anew: duogen export-onnx -o {folder}")
        self.pipeline = pipeline
        device = pipeline.transformer.device
        cores = _cores()
        if device.type == "cpu":
            torch.set_num_threads(1)
        self._step = _Runner(folder / f"{STEP}.onnx", device, cores)
        self._reading, self._seeing = (_Runner(folder / f"{name}.onnx", device, 1) for name in (READING, SEEING))
        self._connector, self._decoder = (_Runner(folder / f"{name}.onnx", device, 1) for name in (CONNECTOR, DECODER))

    def reading(self) -> ReadingFunction | None:
        return self._read

    def seeing(self) -> SeeingFunction | None:
        return self._see

    def step(self) -> StepFunction:
        return self._run_step

    def connect(self, states: Tensor) -> Tensor:
        out = states.new_empty(*states.shape[:2], self.pipeline.connector.config.out_channels)
        return self._connector({"states": states}, [out])[0]

    def decode(self, latent: Tensor) -> Tensor:
        pipeline = self.pipeline
        factor = pipeline.side_multiple // pipeline.painter.patch
        out = latent.new_empty(1, 3, *(side * factor for side in latent.shape[2:]), dtype=torch.float32)
        return self._decoder({"latent": latent}, [out])[0]

    def _read(
        self, hidden: Tensor, positions: Tensor, sees: Tensor, past_keys: list[Tensor], past_values: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        given: dict[str, Tensor | list[Tensor]] = {
            "hidden": hidden, "positions": positions, "sees": sees, "past_keys": past_keys, "past_values": past_values,
        }  # fmt: skip
        (count, width), (_, heads, _, size) = hidden.shape, past_keys[0].shape
        own = (len(past_keys), heads, count, size)
        outs = [
            hidden.new_empty(self.pipeline.mllm.config.get_text_config().vocab_size),
            hidden.new_empty(count, len(past_keys), width), hidden.new_empty(own), hidden.new_empty(own),
        ]  # fmt: skip
        logits, states, keys, values = self._reading(given, outs)
        return logits, states, keys, values

    def _see(self, patches: Tensor, cosine: Tensor, sine: Tensor, windows: Tensor) -> Tensor:
        config = self.pipeline.mllm.config.vision_config
        seen = patches.new_empty(len(patches) // config.spatial_merge_size**2, config.out_hidden_size)
        given = {"patches": patches, "cosine": cosine, "sine": sine, "windows": windows}
        return self._seeing(given, [seen])[0]

    def _run_step(self, tokens: Tensor, modulations: Tensor, *inputs: Tensor | list[Tensor] | None) -> StepOutput:
        given: dict[str, Any] = dict(zip(StepInputs._fields, inputs, strict=True))
        given |= {"tokens": tokens, "modulations": modulations}
        (rows, count, _), (_, heads, before, size) = tokens.shape, given["past_keys"][0].shape
        if given["sees"] is None:
            given["sees"] = tokens.new_zeros(rows, 1, 1, before + count)
        own = tokens.new_empty(len(given["past_keys"]), rows, 2, heads, count, size)
        return StepOutput(*self._step(given, [torch.empty_like(tokens), own]))


class _Runner:
    """An onnxruntime session that reads and writes torch's own memory."""

    def __init__(self, path: Path, device: torch.device, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        providers: list[Any] = ["CPUExecutionProvider"]
        self._device, self._index = "cpu", 0
        if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            self._device, self._index = "cuda", device.index or 0
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": self._index}))
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    def __call__(self, given: Mapping[str, Tensor | list[Tensor]], outs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Fills `outs`."""
        flat: dict[str, Tensor] = {}
        for name, value in given.items():
            flat |= {f"{name}_{n}": each for n, each in enumerate(value)} if isinstance(value, list) else {name: value}
        binding = self._session.io_binding()
        held = []  # until the run is over
        for name in self._inputs:
            held.append(flat[name].detach().contiguous())
            binding.bind_input(name, *self._place(held[-1]))
        for name, out in zip(self._outputs, outs, strict=True):
            binding.bind_output(name, *self._place(out))
        self._session.run_with_iobinding(binding)
        return outs

    def _place(self, tensor: Tensor) -> tuple[str, int, Any, tuple[int, ...], int]:
        return self._device, self._index, _kind(tensor.dtype), tuple(tensor.shape), tensor.data_ptr()


@lru_cache
def _kind(dtype: torch.dtype) -> Any:
    """The same type in numpy."""
    return torch.empty(0, dtype=dtype).numpy().dtype


def _needed(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise OnnxMissingError(package)
