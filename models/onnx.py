"""onnxruntime in torch's place, on files of `duogen.models.exporting`."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from duogen.errors import DuoGenError
from duogen.models.decoding import ReadingFunction
from duogen.models.dit import CosmosDiT, KeyValue
from duogen.models.exporting import (
    CONNECTOR,
    DECODER,
    MANIFEST,
    READING,
    SEEING,
    STEP,
    fingerprint,
    is_exported,
    needed,
)
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.seeing import SeeingFunction
from duogen.models.step import StepFunction, StepInputs, StepOutput


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
        needed("onnxruntime")
        if not is_exported(folder):
            raise DuoGenError(
                f"{folder}: no model there that this version has exported; write one with: duogen export-onnx -o {folder}"
            )
        if json.loads((folder / MANIFEST).read_text())["weights"] != fingerprint(pipeline):
            raise DuoGenError(f"{folder}: exported from other weights; write it anew: duogen export-onnx -o {folder}")
        self.pipeline = pipeline
        self._vocabulary = pipeline.mllm.config.get_text_config().vocab_size
        device = pipeline.work_device
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

    def step(self, dit: CosmosDiT) -> StepFunction:
        kind = dit.model.patch_embed.proj.weight.dtype
        return _OnnxStep(self._step, self.pipeline.config.attention_mode == "causal", kind)

    def condition(self, states: Tensor) -> list[KeyValue]:
        config = self.pipeline.transformer.config
        shape = (config.num_layers, 1, config.num_attention_heads, states.shape[1], config.attention_head_dim)
        keys, values = self._connector({"states": states}, [states.new_empty(shape) for _ in range(2)])
        return list(zip(keys, values, strict=True))

    def decode(self, latent: Tensor) -> Tensor:
        pipeline = self.pipeline
        factor = pipeline.side_multiple // pipeline.painter.patch
        out = latent.new_empty(1, 3, *(side * factor for side in latent.shape[2:]), dtype=torch.float32)
        return self._decoder({"latent": latent}, [out])[0]

    def _read(
        self, hidden: Tensor, total: int, waves: Sequence[Tensor], keys: list[Tensor], values: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        count, width = hidden.shape
        logits = hidden.new_empty(self._vocabulary)
        states = hidden.new_empty(count, len(keys), width)
        self._reading(
            {
                "hidden": hidden, "total": torch.tensor([total], dtype=torch.int32), "waves": list(waves),
                "past_keys": keys, "past_values": values,
            },
            [logits, states, *keys, *values],
        )  # fmt: skip
        return logits, states

    def _see(self, patches: Tensor, cosine: Tensor, sine: Tensor, windows: Tensor) -> Tensor:
        config = self.pipeline.mllm.config.vision_config
        seen = patches.new_empty(len(patches) // config.spatial_merge_size**2, config.out_hidden_size)
        given = {"patches": patches, "cosine": cosine, "sine": sine, "windows": windows}
        return self._seeing(given, [seen])[0]


class _OnnxStep:
    """A `StepFunction`."""

    def __init__(self, run: _Runner, causal: bool, dtype: torch.dtype) -> None:
        self._run, self._causal, self._dtype = run, causal, dtype

    def turning(self, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
        """Their first halves [P or 1, N, head_dim / 2]; the second ones are the same."""
        halves = (wave.chunk(2, dim=-1)[0].to(self._dtype).contiguous() for wave in (cosines, sines))
        return next(halves), next(halves)

    def __call__(self, tokens: Tensor, modulations: Tensor, *inputs: Any) -> StepOutput:
        given: dict[str, Any] = dict(zip(StepInputs._fields, inputs, strict=True))
        given |= {"tokens": tokens, "modulations": modulations}
        rows, count, _ = tokens.shape
        given["reads"] = [
            _mask(reads, rows, keys) for reads, keys in zip(given["reads"], given["text_keys"], strict=False)
        ]
        given["order"] = _order(rows, count, len(given["turn"]), tokens.device)
        answer = torch.empty_like(tokens)
        if not self._causal:
            return StepOutput(self._run(given, [answer])[0], [], [])
        keys, values = given["past_keys"], given["past_values"]
        given["sees"] = _mask(given["sees"], rows, keys[0])
        given["places"] = _places(rows, count, keys[0].shape[1], keys[0].shape[2] - count, keys[0].device)
        self._run(given, [answer, *keys, *values])
        return StepOutput(answer, keys, values)


def _mask(bias: Tensor | None, rows: int, keys: Tensor) -> Tensor:
    """A mask, int32 [rows, M], of a bias [rows, 1, 1, M] over keys [.., M, head_dim], or for all to be seen."""
    return _all_seen(rows, keys.shape[2], keys.device) if bias is None else (bias.flatten(1) == 0).int()


@lru_cache
def _all_seen(rows: int, keys: int, device: torch.device) -> Tensor:
    return torch.ones(rows, keys, dtype=torch.int32, device=device)


@lru_cache
def _order(rows: int, tokens: int, distinct: int, device: torch.device) -> Tensor:
    """`order` of a `Step`: of each row's own cosines and sines, or of those that all share."""
    return torch.arange(distinct * tokens, device=device).view(distinct, tokens).expand(rows, -1).contiguous()


@lru_cache
def _places(rows: int, tokens: int, heads: int, before: int, device: torch.device) -> Tensor:
    """`places` of a `Step`, of tokens that stand behind so many."""
    row, token, head = torch.meshgrid(*map(torch.arange, (rows, tokens, heads)), indexing="ij")
    return torch.stack([row, head, before + token], dim=-1).to(device)


class _Runner:
    """An onnxruntime session that reads and writes torch's own memory."""

    def __init__(self, path: Path, device: torch.device, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self._binding, self._lock = self._session.io_binding(), threading.Lock()
        self._bound: dict[str, Tensor] = {}
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        # Of inputs that are lists: the names of their parts.
        self._lists: defaultdict[str, list[str]] = defaultdict(list)
        for entry in self._session.get_inputs():
            self._lists[entry.name.rpartition("_")[0]].append(entry.name)
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    def __call__(self, given: Mapping[str, Tensor | list[Tensor]], outs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Fills `outs`."""
        with self._lock:
            for name, value in given.items():
                if isinstance(value, list):
                    for each, tensor in zip(self._lists[name], value, strict=True):
                        self._take(each, tensor)
                elif name in self._inputs:
                    self._take(name, value)
            for name, out in zip(self._outputs, outs, strict=True):
                if self._bound.get(name) is not out:
                    self._binding.bind_output(name, *self._place(out))
                    self._bound[name] = out
            self._session.run_with_iobinding(self._binding)
        return outs

    def _take(self, name: str, tensor: Tensor) -> None:
        """Binds an input; what stays from call to call is bound once."""
        if self._bound.get(name) is not tensor:
            kept = tensor.contiguous()
            self._binding.bind_input(name, *self._place(kept))
            self._bound[name] = tensor if kept.data_ptr() == tensor.data_ptr() else kept

    @staticmethod
    def _place(tensor: Tensor) -> tuple[str, int, Any, tuple[int, ...], int]:
        device = tensor.device
        return device.type, device.index or 0, _kind(tensor.dtype), tuple(tensor.shape), tensor.data_ptr()


@lru_cache
def _kind(dtype: torch.dtype) -> Any:
    """The same type in numpy."""
    return torch.empty(0, dtype=dtype).numpy().dtype
