"""How a model's weights are kept: in which numbers, and whether on the device, or in the host's memory until they are needed.

Weights go straight to where they belong, tensor by tensor, with no copy of the whole in between (meta device). The libraries do the
work: torchao (``int8``, ``fp8``) and bitsandbytes (``nf4``) quantise the matrices of MLLM and transformer, diffusers brings layers
to the device one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from duogen.errors import InputError, needed
from duogen.models.checkpoints import check_model_folder, read_config
from duogen.models.pipeline import DuoGenPipeline

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTISERS = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}
OFFLOADS = ("offload-model", "offload-layer")
KINDS = {
    **dict.fromkeys(DTYPES, "dtype"), **dict.fromkeys(QUANTISERS, "quantize"), **dict.fromkeys(OFFLOADS, "offload"), "tiling": "tiling",
}  # fmt: skip
"""Words of `--memory`, and which field of `Keeping` each is for."""


@dataclass(frozen=True)
class Keeping:
    """What `--memory` says.

    Args:
        dtype: of all weights that aren't quantised; as they are saved on a GPU, float32 on a CPU, where it is None.
        quantize: the numbers that the matrices of MLLM and transformer are kept in.
        offload: ``model`` has one component on the device at a time, ``layer`` one layer.
        tiling: the VAE works on tiles of a picture.
    """

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    quantize: Literal["int8", "fp8", "nf4"] | None = None
    offload: Literal["model", "layer"] | None = None
    tiling: bool = False

    @classmethod
    def parse(cls, text: str) -> Keeping:
        """From words with commas between them.

        Raises:
            InputError: an unknown word, or two of a kind.
        """
        given: dict[str, Any] = {}
        for word in filter(None, (part.strip() for part in text.split(","))):
            kind = KINDS.get(word)
            if kind is None:
                raise InputError(f"{word!r} isn't a way to keep weights; there are {', '.join(KINDS)}")
            if kind in given:
                raise InputError(f"{word!r}: there is {given[kind]!r} already")
            given[kind] = True if kind == "tiling" else word.removeprefix("offload-")
        if given.get("quantize") == "nf4" and "offload" in given:
            raise InputError("nf4 weights can't wait in the host's memory: leave the offloading away")
        return cls(**given)

    def numbers(self, saved: str | None, device: str) -> torch.dtype:
        """The type of weights that are saved in some type."""
        if self.dtype is not None:
            return DTYPES[self.dtype]
        on_gpu = not device.startswith("cpu")
        return DTYPES.get(saved or "", torch.float32) if on_gpu else torch.float32


def load_kept(folder: Path, keeping: Keeping, device: str) -> DuoGenPipeline:
    """A pipeline folder, kept that way and ready to run on a device.

    Raises:
        InputError: no model there.
        DuoGenError: a library that is needed isn't installed.
    """
    check_model_folder(folder)
    saved = read_config(folder / "mllm").get("dtype")
    dtype = keeping.numbers(saved, device)
    index = read_config(folder, "model_index.json")
    staying = "cpu" if keeping.offload else device
    components: dict[str, Any] = {}
    for name, word in (("mllm", "dtype"), ("transformer", "torch_dtype")):
        library = __import__(index[name][0])
        given = {word: dtype, "device_map": {"": staying}, "use_safetensors": True}
        if keeping.quantize:
            given["quantization_config"] = _quantiser(index[name][0], keeping.quantize, dtype)
        components[name] = getattr(library, index[name][1]).from_pretrained(folder / name, **given).eval()
    pipeline = DuoGenPipeline.from_pretrained(folder, dtype=dtype, **components)
    for part in (pipeline.connector, pipeline.vae):
        part.to(staying if keeping.offload == "model" else device)
    if keeping.tiling and hasattr(pipeline.vae, "enable_tiling"):
        pipeline.vae.enable_tiling()
    if keeping.offload == "layer":
        from diffusers.hooks import apply_group_offloading

        for part in components.values():
            apply_group_offloading(part, onload_device=torch.device(device), offload_type="leaf_level")
    pipeline.place(torch.device(device), swapping=keeping.offload == "model")
    if keeping.quantize or keeping.offload:
        pipeline.run_plainly(True)
    return pipeline


def _quantiser(library: str, kind: str, dtype: torch.dtype) -> Any:
    """The configuration of a quantiser, as transformers or diffusers take it."""
    package = QUANTISERS[kind]
    if kind == "nf4" and not torch.cuda.is_available():
        raise InputError("nf4 needs a GPU")
    needed("quant", package)
    module = __import__(library)
    if kind == "nf4":
        return module.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    return module.TorchAoConfig(Int8WeightOnlyConfig() if kind == "int8" else Float8WeightOnlyConfig())
