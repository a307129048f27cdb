from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import duogen
from duogen.cli import run
from duogen.errors import InputError
from duogen.models.assembling import matched
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV


def altered(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy of a checkpoint whose transformer says something else of itself."""
    shutil.copytree(folder, target)
    path = target / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return target


def test_the_command_puts_a_model_together(
    public: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    command = [
        "assemble",
        "--mllm",
        str(public["qwen2.5-vl"]),
        "--dit",
        str(public["cosmos-predict2.5"]),
        "-o",
        str(out),
    ]
    assert run([*command, "--size", "32", "--dtype", "float32"]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(out)
    assert "connector: the transformer's own crossattn_proj, 192 -> 32" in shown.err
    assert f"{BOV}: token 307, begins as <|vision_start|>" in shown.err
    pipeline = DuoGenPipeline.from_pretrained(out)
    assert pipeline.config.attention_mode == "full" and pipeline.scheduler.config.shift == 7.16
    assert not pipeline.transformer.config.use_crossattn_projection
    assert {path.suffix for path in out.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".jinja", ".txt"}
    drawn = duogen.load(out).draw("a red ball")
    assert drawn.picture.image().size == (32, 32)
    assert run(command) == 2 and "exists already" in capsys.readouterr().err


@torch.no_grad()
def test_weights_are_taken_over_and_bov_begins_where_it_should(public: dict[str, Path], tmp_path: Path) -> None:
    from diffusers import CosmosTransformer3DModel
    from transformers import Qwen2_5_VLForConditionalGeneration

    from duogen.models.assembling import assemble

    mllm, dit = public["qwen2.5-vl"], public["cosmos-predict2.5"]
    assemble(matched(str(mllm), str(dit)), tmp_path / "m", torch.float32, size=32)
    made = DuoGenPipeline.from_pretrained(tmp_path / "m")
    before = CosmosTransformer3DModel.from_pretrained(dit / "transformer")
    projection = before.crossattn_proj.state_dict()
    assert all(
        torch.equal(weight, projection[name]) for name, weight in made.connector.crossattn_proj.state_dict().items()
    )
    kept = made.transformer.state_dict()
    assert all(torch.equal(kept[n], w) for n, w in before.state_dict().items() if not n.startswith("crossattn_proj"))
    old = Qwen2_5_VLForConditionalGeneration.from_pretrained(mllm).state_dict()
    bov = made.processor.id(BOV)
    for name, weight in made.mllm.state_dict().items():
        others = [row for row in range(len(weight)) if row != bov] if weight.shape[0] == 320 else slice(None)
        assert torch.equal(weight[others], old[name][others]), name
    words = made.mllm.get_input_embeddings().weight
    assert torch.equal(words[bov], words[made.processor.id("<|vision_start|>")])
    assert torch.allclose(made.mllm.lm_head.weight[bov], made.mllm.lm_head.weight[:bov].mean(0))


def test_what_does_not_fit_is_said_in_a_line(public: dict[str, Path], tmp_path: Path) -> None:
    qwen, cosmos = str(public["qwen2.5-vl"]), public["cosmos-predict2.5"]
    pickled = tmp_path / "pickled"
    shutil.copytree(cosmos, pickled)
    for path in (pickled / "transformer").glob("*.safetensors*"):
        path.unlink()
    (pickled / "transformer" / "model.pth").write_bytes(b"cos\nsystem\n(S'touch /tmp/x'\ntR.")
    empty = tmp_path / "empty"
    shutil.copytree(public["qwen2.5-vl"], empty, ignore=shutil.ignore_patterns("*.safetensors*"))
    two = tmp_path / "two"
    shutil.copytree(public["wan-t2v"], two)
    (two / "transformer_2").mkdir()
    faults = [
        (qwen, str(pickled), r"model\.pth: a pickle can run code"),
        (str(empty), str(cosmos), "there are no weights"),
        (qwen, str(two), "a transformer in two parts"),
        (qwen, qwen, "can't be read as a checkpoint's configuration"),
        (str(cosmos / "vae"), str(cosmos), "nothing isn't supported as the MLLM"),
        (str(tmp_path / "missing"), str(cosmos), "no such folder"),
        (
            qwen,
            str(altered(cosmos, tmp_path / "a", _class_name="Cosmos3Transformer")),
            "Cosmos3Transformer isn't supported as the tr",
        ),
        (qwen, str(altered(cosmos, tmp_path / "b", in_channels=4)), "takes 4 channels; 5, with one that marks"),
        (qwen, str(altered(cosmos, tmp_path / "c", img_context_dim_in=8)), "Cosmos-Transfer"),
        (
            qwen,
            str(altered(cosmos, tmp_path / "d", out_channels=8, in_channels=9)),
            "paints 8 channels, and the VAE has 4",
        ),
        (qwen, str(altered(public["wan-t2v"], tmp_path / "e", in_channels=9)), "takes 9 channels; 4 or 12"),
    ]
    for mllm, dit, message in faults:
        with pytest.raises(InputError, match=message) as caught:
            matched(mllm, dit)
        assert len(str(caught.value).splitlines()) == 1


def test_a_projection_for_another_mllm_is_not_taken(public: dict[str, Path]) -> None:
    parts = matched(str(public["qwen2.5-vl"]), str(public["wan-t2v"]))
    assert not parts.projected and "new, 192 -> 32" in parts.notes[0]
    parts = matched(str(public["qwen2.5-vl"]), str(public["cosmos-predict2.5"]))
    parts.mllm_config = parts.mllm_config | {"text_config": {"num_hidden_layers": 4, "hidden_size": 64}}
    assert not parts.projected


def test_no_hub_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert run(["assemble", "--mllm", "nobody/nothing-at-all", "--dit", "a/b", "-o", "never"]) in (1, 2)
    shown = capsys.readouterr().err
    assert "nobody/nothing-at-all: can't be had from the hub" in shown and "Traceback" not in shown
