from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from duogen.document import write_jsonl
from duogen.models.assembling import assemble, matched
from duogen.training.data import draw_task
from duogen.training.documents import document_of_task

CONFIG = """
model = "{model}"
seed = 3
[data]
train = ["documents.jsonl"]
validation = ["documents.jsonl"]
[stage1]
steps = {steps}
packs_per_step = 2
pack_tokens = 1600
learning_rate = 1e-3
vision_learning_rate = 1e-3
ema_decay = 0.8
precision = "float32"
[stage2]
steps = {steps}
packs_per_step = 2
pack_tokens = 1600
frame_tokens = 48
learning_rate = 1e-3
ema_decay = 0.8
precision = "float32"
"""
Setting = Callable[..., Path]


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with thirty documents of the world, some of several turns and pictures."""
    folder = tmp_path_factory.mktemp("documents")
    shares = {"arrange": 3.0, "depict": 1.0, "look": 1.0}
    tasks = [draw_task(5, index, shares=shares) for index in range(30)]
    write_jsonl(map(document_of_task, tasks), folder / "documents.jsonl")
    return folder


@pytest.fixture(scope="session")
def setting(public: dict[str, Path], documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """Makes a configuration file, for a pair of checkpoints and a number of steps."""
    home = tmp_path_factory.mktemp("models")

    def make(mllm: str = "qwen2.5-vl", dit: str = "cosmos-predict2.5", steps: int = 4, extra: str = "") -> Path:
        model = home / f"{mllm}+{dit}"
        if not model.exists():
            assemble(matched(str(public[mllm]), str(public[dit])), model, torch.float32, size=32)
        path = documents / f"config-{len(list(documents.glob('config-*')))}.toml"
        text = CONFIG.format(model=model, steps=steps)
        for line in filter(None, extra.split(";")):
            section, _, assignment = line.partition(":")
            text = text.replace(f"[{section}]\n", f"[{section}]\n{assignment}\n")
        path.write_text(text)
        return path

    return make
