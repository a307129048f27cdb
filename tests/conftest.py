"""Fixtures: a model that the debug recipe trained in seconds, and the default model that ships."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from duogen.agent.agent import Agent
from duogen.document import Picture
from duogen.loading import load
from duogen.models.pipeline import DuoGenPipeline
from duogen.training.config import load_recipe
from duogen.training.recipe import PARTS, Run

sys.path.insert(0, str(Path(__file__).parent))
import checkpoints


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scaled-down public checkpoints, by name."""
    makers = checkpoints.MLLMS | checkpoints.DITS
    return {name: make(tmp_path_factory.mktemp("public") / name) for name, make in makers.items()}


@pytest.fixture(scope="session", autouse=True)
def _no_traces_at_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs that tests keep aren't listed among the user's own."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def debug_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete debug run."""
    folder = tmp_path_factory.mktemp("debug")
    run = Run(load_recipe("debug"), folder, quiet=True)
    assert all(run.part(part) for part in PARTS)
    return folder


@pytest.fixture
def tiny(debug_run: Path) -> DuoGenPipeline:
    """The debug model with a DiT whose weights are large enough that every one of them shows in its output."""
    pipeline = DuoGenPipeline.from_pretrained(debug_run / "model")
    torch.manual_seed(0)
    for weight in pipeline.transformer.parameters():
        torch.nn.init.normal_(weight, std=0.15)
    return pipeline


@pytest.fixture(scope="session")
def default_agent() -> Agent:
    """The model that ships with the package."""
    return load()


@pytest.fixture
def picture() -> Picture:
    """A small picture with some structure."""
    image = Image.new("RGB", (64, 48), (200, 120, 40))
    image.paste((20, 60, 200), (8, 8, 30, 40))
    return Picture.from_image(image)


@pytest.fixture
def bomb() -> bytes:
    """A PNG whose header claims 50,000 x 50,000 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    import struct
    import zlib

    data[16:24] = struct.pack(">II", 50_000, 50_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)
