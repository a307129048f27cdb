from __future__ import annotations

from pathlib import Path

import pytest
import torch

from duogen.errors import InputError
from duogen.models.assembling import assemble, matched
from duogen.models.keeping import Keeping, load_kept
from duogen.models.needs import COMPONENTS, Work, needs_of, parameters


@pytest.fixture(scope="module")
def folder(public: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("needs") / "model"
    assemble(matched(str(public["qwen2.5-vl"]), str(public["cosmos-predict2.5"])), made, torch.bfloat16, size=32)
    return made


@pytest.mark.parametrize("words", ["float32", "bfloat16"])
def test_weights_are_counted_as_they_are_loaded(folder: Path, words: str) -> None:
    keeping = Keeping.parse(words)
    pipeline, needs = load_kept(folder, keeping, "cpu"), needs_of(folder, keeping, "cpu", Work())
    for name in COMPONENTS:
        loaded = sum(weight.nbytes for weight in getattr(pipeline, name).parameters())
        assert needs.weights[name] == loaded == parameters(folder / name) * (4 if words == "float32" else 2)
    assert needs.device == 0 and needs.host == sum(needs.weights.values()) + needs.working


def test_what_stays_in_the_host_is_not_on_the_device(folder: Path) -> None:
    whole, by_part, by_layer, small = (
        needs_of(folder, Keeping.parse(words), "cuda", Work())
        for words in ("", "offload-model", "offload-layer", "int8")
    )
    assert whole.device - whole.working > by_part.device - by_part.working > by_layer.device - by_layer.working
    assert by_part.host == by_layer.host == sum(whole.weights.values())
    assert small.weights["mllm"] < whole.weights["mllm"] and small.weights["vae"] == whole.weights["vae"]


def test_longer_plans_need_more(folder: Path) -> None:
    sizes = [
        needs_of(folder, Keeping(), "cpu", Work(tokens=tokens, pictures=tokens // 500)).working
        for tokens in (1000, 4000, 16_000)
    ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]
    with pytest.raises(InputError, match="not a DuoGen model folder"):
        needs_of(folder / "mllm", Keeping(), "cpu", Work())
