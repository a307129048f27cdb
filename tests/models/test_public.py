"""The public checkpoints' own names and sizes: models of their configurations, without memory, have exactly these tensors.

`tests/data/public` holds configurations and tensors with their sources; a star stands for the numbers of layers. The scaled-down checkpoints that
other tests load have the same names on disk.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from diffusers import CosmosTransformer3DModel, WanTransformer3DModel
from safetensors import safe_open

PUBLIC = Path(__file__).parents[1] / "data" / "public"
NAMES = [path.stem for path in sorted(PUBLIC.glob("*.json"))]
DITS: dict[str, Any] = {each.__name__: each for each in (CosmosTransformer3DModel, WanTransformer3DModel)}
ON_DISK = {
    "Qwen2_5_VLForConditionalGeneration": {r"^model\.language_model\.": "model.", r"^model\.visual\.": "visual."},
    "LlavaOnevisionForConditionalGeneration": {
        r"^model\.language_model\.": "language_model.model.", r"^lm_head\.": "language_model.lm_head.",
        r"^model\.vision_tower\.": "vision_tower.vision_model.", r"^model\.(multi_modal_projector|image_newline)": r"\1",
    },
}  # fmt: skip
"""What transformers 5 calls the modules, and what the public files call them."""
SCALED = {
    "qwen2.5-vl-7b": "qwen2.5-vl", "qwen3-vl-8b": "qwen3-vl", "llava-onevision-7b": "llava-onevision",
    "cosmos-predict2.5-2b": "cosmos-predict2.5", "wan2.1-t2v-1.3b": "wan-t2v", "wan2.2-ti2v-5b": "wan-t2v",
}  # fmt: skip


def on_meta(config: dict[str, Any]) -> Any:
    with torch.device("meta"):
        if "_class_name" in config or "architectures" not in config:
            kind = DITS[config.get("_class_name", CosmosTransformer3DModel.__name__)]
            return kind.from_config(config)
        kind = getattr(transformers, config["architectures"][0])
        return kind(kind.config_class.from_dict(config))


def starred(name: str) -> str:
    return re.sub(r"(blocks|layers|deepstack_merger_list)\.\d+\.", r"\1.*.", name)


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_the_public_checkpoint_is_there(name: str) -> None:
    facts = json.loads((PUBLIC / f"{name}.json").read_text())
    model = on_meta(facts["config"])
    rules = ON_DISK.get(type(model).__name__, {})
    found: dict[str, list[Any]] = {}
    tied = facts["config"].get("tie_word_embeddings", False)
    for own, tensor in model.state_dict().items():
        if tied and own == "lm_head.weight":
            continue
        disk = own
        for pattern, replacement in rules.items():
            disk, changed = re.subn(pattern, replacement, disk)
            if changed:
                break
        entry = found.setdefault(starred(disk), [0, list(tensor.shape)])
        assert entry[1] == list(tensor.shape), disk
        entry[0] += 1
    assert found == facts["tensors"]
    if facts["total_size"] is not None:
        numbers = sum(tensor.numel() for tensor in model.state_dict().values())
        assert numbers * facts["bytes_per_number"] == facts["total_size"]


@pytest.mark.parametrize("name", NAMES)
def test_scaled_down_checkpoints_have_the_same_names_and_settings(public: dict[str, Path], name: str) -> None:
    facts = json.loads((PUBLIC / f"{name}.json").read_text())
    folder = public[SCALED[name]]
    folder = folder / "transformer" if (folder / "transformer").exists() else folder
    names = set()
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        with safe_open(path, "pt") as file:
            names |= {starred(key) for key in file.keys()}  # noqa: SIM118
    assert names == set(facts["tensors"])
    assert len(files) > 1 and list(folder.glob("*.safetensors.index.json")), "several shards and their index"
    config = json.loads((folder / "config.json").read_text())
    assert set(facts["config"]) - {"transformers_version"} <= set(config)
