"""ONNX: the denoising step, the connector and the VAE's decoder as files, and onnxruntime in torch's place.

The step is the one of `duogen.models.step`, for ``causal`` checkpoints, of any number of pictures, tokens (so any width and
height), kept frames and text tokens. The extra ``onnx`` installs what is needed; on a GPU, the extra ``gpu`` does.
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
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.step import Step, StepFunction, StepInputs, StepOutput
from duogen.models.vae import from_latents

OPSET = 20
MANIFEST = "duogen-onnx.json"
STEP, CONNECTOR, DECODER = "denoising_step", "connector", "vae_decoder"
# The axes of `Step`'s inputs that differ from call to call.
_AXES: dict[str, tuple[int, ...]] = {
    "tokens": (0, 1), "modulations": (), "shown": (), "turn": (2, 4), "turn_across": (2, 4), "past_keys": (1, 3),
    "past_values": (1, 3), "text_keys": (1, 3), "text_values": (1, 3), "reads": (0, 3), "learned": (0, 1), "sees": (0, 3),
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
        "modulations": (3 * blocks + 1, 3, 1, 1, width),
        "shown": (1, 1, 1),
        "turn": (blocks, 2, pictures, 1, tokens, size),
        "turn_across": (blocks, 2, pictures, 1, tokens, size),
        "past_keys": (blocks, pictures, heads, past, size),
        "past_values": (blocks, pictures, heads, past, size),
        "text_keys": (blocks, pictures, heads, text, size),
        "text_values": (blocks, pictures, heads, text, size),
        "reads": (pictures, reading, 1, text),
        "learned": (pictures, tokens, width),
        "sees": (pictures, 1, 1, past + tokens),
    }
    example = {name: torch.randn(shape, dtype=pipeline.transformer.dtype) for name, shape in shapes.items()}
    paths = [_write(Step(dit), example, _AXES, folder / f"{STEP}.onnx", ("answer", "keys", "values"))]
    states = torch.randn(1, text, _layers(pipeline), pipeline.connector.config.in_channels // _layers(pipeline))
    paths.append(
        _write(pipeline.connector, {"states": states}, {"states": (1,)}, folder / f"{CONNECTOR}.onnx", ("vectors",))
    )
    latent = torch.randn(pipeline.latent_shape(*[pipeline.side_multiple * side for side in (2, 3)]))
    axes: dict[str, tuple[int, ...]] = {"latent": (2, 3)}
    paths.append(_write(_Decoder(pipeline.vae), {"latent": latent}, axes, folder / f"{DECODER}.onnx", ("pixels",)))
    (folder / MANIFEST).write_text(json.dumps({"weights": fingerprint(pipeline)}))
    return paths


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
    module: nn.Module, example: dict[str, Tensor], axes: dict[str, tuple[int, ...]], path: Path, outputs: Sequence[str]
) -> Path:
    """Exports a module by example."""
    shapes = {name: dict.fromkeys(axes[name], torch.export.Dim.AUTO) for name in example}
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
    for module in (pipeline.transformer, pipeline.connector, pipeline.vae):
        for name, weight in module.state_dict().items():
            sample = weight.flatten()[:: max(1, weight.numel() // 64)].float().cpu().numpy().tobytes()
            digest.update(f"{name} {tuple(weight.shape)} ".encode() + sample)
    return digest.hexdigest()[:16]


class OnnxBackend:
    """A `Backend` on exported files.

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
        self._step = _Runner(folder / f"{STEP}.onnx", device, torch.get_num_threads())
        self._connector, self._decoder = (_Runner(folder / f"{name}.onnx", device, 1) for name in (CONNECTOR, DECODER))

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

    def _run_step(self, tokens: Tensor, modulations: Tensor, *inputs: Tensor | None) -> StepOutput:
        given = dict(zip(StepInputs._fields, inputs, strict=True)) | {"tokens": tokens, "modulations": modulations}
        past = given["past_keys"]
        assert past is not None
        (rows, count, _), (blocks, _, heads, before, size) = tokens.shape, past.shape
        if given["sees"] is None:
            given["sees"] = tokens.new_zeros(rows, 1, 1, before + count)
        own = (blocks, rows, heads, count, size)
        outs = [torch.empty_like(tokens), tokens.new_empty(own), tokens.new_empty(own)]
        return StepOutput(*self._step(given, outs))


class _Runner:
    """An onnxruntime session that reads and writes torch's own memory."""

    def __init__(self, path: Path, device: torch.device, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch's threads want the cores, too
        options.log_severity_level = 3
        providers: list[Any] = ["CPUExecutionProvider"]
        self._device, self._index = "cpu", 0
        if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            self._device, self._index = "cuda", device.index or 0
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": self._index}))
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    def __call__(self, given: dict[str, Tensor | None], outs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Fills `outs`."""
        binding = self._session.io_binding()
        held = []  # until the run is over
        for name in self._inputs:
            tensor = given[name]
            assert tensor is not None
            held.append(tensor.detach().contiguous())
            binding.bind_input(name, *self._place(held[-1]))
        for name, out in zip(self._outputs, outs, strict=True):
            binding.bind_output(name, *self._place(out))
        self._session.run_with_iobinding(binding)
        return outs

    def _place(self, tensor: Tensor) -> tuple[str, int, Any, tuple[int, ...], int]:
        kind = torch.empty(0, dtype=tensor.dtype).numpy().dtype
        return self._device, self._index, kind, tuple(tensor.shape), tensor.data_ptr()


def _needed(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise OnnxMissingError(package)
