"""Public checkpoints as folders: from disk or from the hub, safetensors only, no code of theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from duogen.errors import DuoGenError, InputError

FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model"]
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl")


def checkpoint_folder(source: str, revision: str | None = None, parts: list[str] | None = None) -> Path:
    """Where a checkpoint lies.

    Args:
        source: a folder, or a repository of the hub (``owner/name``), which is downloaded unless the hub's cache has it.
        revision: of a repository.
        parts: subfolders that are needed, where not all is.

    Raises:
        InputError: neither a folder nor a repository.
        DuoGenError: the hub can't be reached, or there is no such repository.
    """
    if Path(source).is_dir():
        return Path(source)
    if source.startswith(("/", "./", "../", "~")) or source.count("/") != 1:
        raise InputError(f"{source}: no such folder, and not a hub repository (owner/name)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    patterns = FILES if parts is None else [*FILES[1:], *(f"{part}/{name}" for part in parts for name in FILES)]
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
    except HFValidationError as error:
        raise InputError(f"{source}: no such folder, and not a hub repository (owner/name)") from error
    except (LocalEntryNotFoundError, RepositoryNotFoundError, HfHubHTTPError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DuoGenError(f"{source}: can't be had from the hub ({first[:200]})") from error


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        InputError: it isn't there, or isn't one.
    """
    path = folder / name
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read as a checkpoint's configuration") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: not a JSON object")
    return config


def check_model_folder(folder: Path) -> None:
    """Raises `InputError` where a folder holds no DuoGen model."""
    if not (folder / "model_index.json").is_file():
        raise InputError(f"{folder}: not a DuoGen model folder (no model_index.json in it)")


def language_config(config: dict[str, Any]) -> dict[str, Any]:
    """The language model's part of an MLLM's configuration; older ones have it among the rest."""
    return config.get("text_config") or config


def check_weights(folder: Path) -> None:
    """Makes sure that a folder's weights are safetensors.

    Raises:
        InputError: there are none, or only pickles, which can run code when they are read.
    """
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES) if folder.is_dir() else []
    if not pickles:
        raise InputError(f"{folder}: there are no weights (*.safetensors) in it")
    raise InputError(
        f"{folder / pickles[0]}: a pickle can run code, so it isn't read. Convert it in a place that you don't mind: "
        "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
    )
