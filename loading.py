"""From a model's folder to an agent."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from duogen.agent.agent import Agent
from duogen.errors import InputError

if TYPE_CHECKING:
    from duogen.models.pipeline import DuoGenPipeline

DEFAULT_MODEL = Path(__file__).parent / "models" / "default"


def load(
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    backend: Literal["torch", "onnx"] = "torch",
) -> Agent:
    """An agent on a model.

    Args:
        model: a DuoGen model folder; the small default model that ships with the package where it is None.
        device: a torch device; CUDA where there is one, else the CPU, where it is None.
        backend: what the networks run on. ``onnx`` takes files that were exported from the
            same weights (`onnx_folder`), and exports them where there are none; on a CPU it leaves torch a single thread.

    Raises:
        InputError: no model there, no such device or backend.
        DuoGenError: ONNX can't be used for this model, or its packages aren't installed.
    """
    import torch

    _hush()
    from duogen.models.backend import BACKENDS
    from duogen.models.pipeline import DuoGenPipeline

    if backend not in BACKENDS:
        raise InputError(f"the backend must be {' or '.join(BACKENDS)}, not {backend!r}")
    chosen = usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pipeline = DuoGenPipeline.from_pretrained(DEFAULT_MODEL if model is None else model)
    pipeline = pipeline.to(chosen)
    if backend == "onnx":
        from duogen.models.exporting import export, is_exported
        from duogen.models.onnx import OnnxBackend

        folder = onnx_folder(pipeline)
        if not is_exported(folder):
            export(pipeline, folder)
        pipeline.backend = OnnxBackend(pipeline, folder)
    return Agent(pipeline)


def onnx_folder(pipeline: DuoGenPipeline) -> Path:
    """Where a pipeline's exported files are looked for: in the user's cache, by the weights that they are of."""
    from duogen.models.exporting import fingerprint

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "duogen" / "onnx" / fingerprint(pipeline)


def usable(device: str) -> str:
    """That device, when something can be put on it.

    Raises:
        InputError: nothing can.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} can't be used here ({str(error).splitlines()[0]})") from error
    return device


def _hush() -> None:
    """Loading is silent: the libraries' progress bars and notices say nothing that a user can act on."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(diffusers|transformers)")
