"""What is installed, which device and attention backend will be used, and how much memory a model needs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import struct
from pathlib import Path

from duogen.errors import InputError

PACKAGES = ("torch", "transformers", "diffusers", "langgraph", "pydantic")
EXTRAS = ("xformers", "vllm", "onnxruntime", "onnxruntime-gpu", "openai", "fastapi", "mcp", "gradio")


def examine(model: Path | None) -> dict[str, dict[str, str]]:
    """The report, by heading. Weights are sized from their file headers; nothing is loaded.

    Raises:
        InputError: no model there.
    """
    import torch

    from duogen.loading import DEFAULT_MODEL
    from duogen.models.attention import backend

    folder = DEFAULT_MODEL if model is None else model
    if not (folder / "model_index.json").is_file():
        raise InputError(f"{folder}: not a DuoGen model folder (no model_index.json in it)")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    machine = {"python": platform.python_version(), "device": device, "attention backend": backend(device)}
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        machine["GPU memory"] = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    else:
        machine["threads"] = str(torch.get_num_threads())
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            machine["memory"] = f"{total / 2**30:.1f} GiB"
    sizes = {part.name: count for part in sorted(folder.iterdir()) if (count := _parameters(part))}
    needs = {f"{name} parameters": f"{count:,}" for name, count in sizes.items()}
    needs["weights in memory"] = f"{sum(sizes.values()) * 4 / 2**20:.0f} MiB (float32)"
    return {
        "machine": machine,
        "packages": {name: _version(name) for name in PACKAGES},
        "extras": {name: _version(name) for name in EXTRAS},
        f"model {folder.name}": needs,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _parameters(folder: Path) -> int:
    """How many numbers the safetensors files of a folder hold, from their headers."""
    total = 0
    for path in folder.glob("*.safetensors") if folder.is_dir() else []:
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        for name, entry in header.items():
            if name != "__metadata__":
                count = 1
                for side in entry["shape"]:
                    count *= side
                total += count
    return total
