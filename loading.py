"""From a model's folder to an agent."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

from duogen.agent.agent import Agent
from duogen.errors import InputError

DEFAULT_MODEL = Path(__file__).parent / "models" / "default"


def load(model: str | os.PathLike[str] | None = None, device: str | None = None) -> Agent:
    """An agent on a model.

    Args:
        model: a DuoGen model folder; the small default model that ships with the package where it is None.
        device: a torch device; CUDA where there is one, else the CPU, where it is None.

    Raises:
        InputError: no model there, or no such device.
    """
    import torch

    _hush()
    from duogen.models.pipeline import DuoGenPipeline

    chosen = usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pipeline = DuoGenPipeline.from_pretrained(DEFAULT_MODEL if model is None else model)
    return Agent(pipeline.to(chosen))


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
