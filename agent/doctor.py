"""What is installed, which device and attention backend will be used, and how much memory a model needs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("torch", "transformers", "diffusers", "langgraph", "pydantic")
EXTRAS = ("xformers", "vllm", "onnxruntime", "onnxruntime-gpu", "openai", "fastapi", "mcp", "gradio")


def examine(model: Path | None, memory: str = "", device: str | None = None) -> dict[str, dict[str, str]]:
    """The report, by heading. Weights are sized from their file headers; nothing is loaded.

    Args:
        memory: how weights are to be kept (`duogen.models.keeping`).
        device: what the model is to run on, whether it is there or not.

    Raises:
        InputError: no model there, or no such way to keep weights.
    """
    import torch

    from duogen.loading import DEFAULT_MODEL
    from duogen.models.attention import backend
    from duogen.models.keeping import Keeping
    from duogen.models.needs import Work, needs_of, parameters

    folder = DEFAULT_MODEL if model is None else model
    keeping = Keeping.parse(memory)
    here = "cuda" if torch.cuda.is_available() else "cpu"
    machine = {"python": platform.python_version(), "device": here, "attention backend": backend(here)}
    if here == "cuda":
        free, total = torch.cuda.mem_get_info()
        machine["GPU memory"] = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    else:
        machine["threads"] = str(torch.get_num_threads())
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            machine["memory"] = f"{total / 2**30:.1f} GiB"
    needs = needs_of(folder, keeping, device or here, Work())
    said = {f"{name} parameters": f"{parameters(folder / name):,}" for name in needs.weights}
    said |= {f"{name} weights": _size(count) for name, count in needs.weights.items()}
    said["work on a plan"] = f"{_size(needs.working)} (8 pictures of 512 x 512, 4,000 tokens)"
    if needs.device:
        said["GPU memory"] = _size(needs.device)
    said["host memory"] = f"{_size(needs.host + _resident())}, of which Python and its libraries {_size(_resident())}"
    return {
        "machine": machine,
        "packages": {name: _version(name) for name in PACKAGES},
        "extras": {name: _version(name) for name in EXTRAS},
        f"model {folder.name}": said,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _resident() -> int:
    """Bytes of memory that this process takes, with all that a model needs imported."""
    import resource

    import duogen.models.session  # noqa: F401

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
