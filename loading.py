"""From a model's folder to an agent."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from duogen.agent.agent import Agent
from duogen.errors import InputError, not_installed

if TYPE_CHECKING:
    from duogen.models.pipeline import DuoGenPipeline
    from duogen.models.session import DecodeSettings
    from duogen.models.sessions import LatentOf, SessionPool
    from duogen.planners.base import Planner, PlannerFactory

DEFAULT_MODEL = Path(__file__).parent / "models" / "default"


def load(
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    backend: Literal["torch", "onnx"] = "torch",
    planner: Planner | PlannerFactory | None = None,
    memory: str = "",
) -> Agent:
    """An agent on a model.

    Args:
        model: a DuoGen model folder; the small default model that ships with the package where it is None.
        device: a torch device; CUDA where there is one, else the CPU, where it is None.
        backend: what the networks run on. ``onnx`` takes files that were exported from the
            same weights (`onnx_folder`), and exports them where there are none; on a CPU it leaves torch a single thread.
        planner: who writes, see `Agent`.
        memory: how weights are kept, in words with commas between (`duogen.models.keeping`): ``bfloat16,offload-layer``. With
            ``onnx``, ``int8`` is for the exported language model.

    Raises:
        InputError: no model there, no such device, backend or way to keep weights.
        DuoGenError: ONNX can't be used for this model, or its packages aren't installed.
    """
    import torch

    hush()
    from duogen.models.backend import BACKENDS
    from duogen.models.keeping import Keeping, load_kept

    if backend not in BACKENDS:
        raise InputError(f"the backend must be {' or '.join(BACKENDS)}, not {backend!r}")
    chosen = usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    keeping = Keeping.parse(memory)
    int8 = backend == "onnx" and keeping.quantize == "int8"
    if int8:
        keeping = replace(keeping, quantize=None)
    pipeline = load_kept(DEFAULT_MODEL if model is None else Path(model), keeping, chosen)
    if backend == "onnx":
        from duogen.models.exporting import export, is_exported
        from duogen.models.onnx import OnnxBackend

        folder = onnx_folder(pipeline, int8)
        if not is_exported(folder):
            export(pipeline, folder, int8)
        pipeline.backend = OnnxBackend(pipeline, folder)
    return Agent(pipeline, planner)


def planner_named(name: str, url: str | None = None, model: str | None = None) -> Planner | PlannerFactory | None:
    """The planner that a user has chosen.

    Args:
        name: ``native``; ``chat``, any OpenAI-compatible chat model with tool calling; ``vllm``, the model's own MLLM served by vLLM.
        url: of a server. Without it, ``chat`` asks OpenAI's, or that of ``OPENAI_BASE_URL``, and ``vllm`` runs in this process.
        model: the model's name there.

    Raises:
        InputError: no such planner, or something is missing.
        DuoGenError: its packages aren't installed.
    """
    if name == "native":
        if url or model:
            raise InputError("a server's URL and a model's name are for the planners chat and vllm")
        return None
    if name == "chat":
        if model is None:
            raise InputError("the planner chat needs the chat model's name (--planner-model)")
        try:
            from duogen.planners.chat import ChatPlanner
        except ImportError as error:
            raise not_installed(str(error.name), "chat") from error
        return ChatPlanner(model, url)
    if name != "vllm":
        raise InputError(f"the planner must be native, chat or vllm, not {name!r}")

    from duogen.planners.vllm import VllmEngine, VllmPlanner, VllmServer, Writer

    writers: list[Writer] = [] if url is None else [VllmServer(url, model or "duogen")]

    def made(sessions: SessionPool, latent_of: LatentOf, settings: DecodeSettings | None) -> Planner:
        if not writers:
            from duogen.models.served import save_served

            folder = _cache(sessions.pipeline, "served")
            dtype = str(sessions.pipeline.mllm.dtype).removeprefix("torch.")
            writers.append(VllmEngine(folder if folder.is_dir() else save_served(sessions.pipeline, folder), dtype))
        return VllmPlanner(sessions, latent_of, writers[0], settings)

    return made


def onnx_folder(pipeline: DuoGenPipeline, int8: bool = False) -> Path:
    """Where a pipeline's exported files are looked for: in the user's cache, by the weights that they are of."""
    return _cache(pipeline, "onnx-int8" if int8 else "onnx")


def _cache(pipeline: DuoGenPipeline, kind: str) -> Path:
    from duogen.models.exporting import fingerprint

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "duogen" / kind / fingerprint(pipeline)


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


def hush() -> None:
    """Loading is silent: the libraries' progress bars and notices say nothing that a user can act on."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(diffusers|transformers)")
