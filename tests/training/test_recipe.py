from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from duogen.errors import InputError
from duogen.models.pipeline import DuoGenPipeline
from duogen.training.config import load_recipe
from duogen.training.recipe import PARTS, Run


def test_the_debug_recipe_makes_a_model_that_runs(debug_run: Path) -> None:
    pipeline = DuoGenPipeline.from_pretrained(debug_run / "model")
    assert pipeline("a red ball", num_inference_steps=1).images[0].size == (192, 192)
    for stage in ("pretrain", "stage1", "stage2"):
        records = [json.loads(line) for line in (debug_run / stage / "log.jsonl").read_text().splitlines()]
        assert records and all(record["loss"] > 0 for record in records)
    assert json.loads((debug_run / "recipe.json").read_text())["recipe"]["stage2"]["ema_decay"] == 0.9


def test_a_model_does_not_say_where_it_was_made(debug_run: Path) -> None:
    texts = [path.read_text() for path in (debug_run / "model").rglob("*.json")]
    assert len(texts) > 5
    assert not any(str(debug_run) in text for text in texts)


@pytest.mark.parametrize("mode", ["causal", "full"])
def test_resumed_training_is_exact(tmp_path: Path, debug_run: Path, mode: str) -> None:
    """N steps in one go and in slices of a moment each end in the same weights, bit for bit."""
    recipe = load_recipe("debug")
    recipe.dit.mode = mode  # type: ignore[assignment]
    recipe.stage1.steps = recipe.stage2.steps = recipe.pretrain.steps = 4
    whole, sliced = Run(recipe, tmp_path / "whole", quiet=True), Run(recipe, tmp_path / "sliced", quiet=True)
    slices = 0
    for part in PARTS:
        assert whole.part(part)
        while not sliced.part(part, max_seconds=0.0):
            slices += 1
    assert slices >= 9, "every training step was a run of its own"
    for name in ("mllm/model.safetensors", "aligned/transformer/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "sliced" / name).read_bytes()


def test_a_run_can_go_on_from_a_finished_model(tmp_path: Path, debug_run: Path) -> None:
    """Only the stages move: what they start from, and all around them, is the other model's."""
    recipe = load_recipe("debug")
    recipe.start, recipe.seed = debug_run / "model", 5
    recipe.stage1.steps = recipe.stage2.steps = 1
    recipe.stage1.warmup_steps = recipe.stage2.warmup_steps = 1000
    run = Run(recipe, tmp_path, quiet=True)
    assert all(run.part(part) for part in PARTS)
    old, new = (DuoGenPipeline.from_pretrained(folder / "model") for folder in (debug_run, tmp_path))
    for name in ("mllm", "connector", "transformer"):
        before, after = (getattr(pipeline, name).state_dict() for pipeline in (old, new))
        assert all(torch.allclose(before[key], after[key], atol=1e-3) for key in before), name
    assert (tmp_path / "mllm/model.safetensors").read_bytes() != (
        tmp_path / "pretrained/model.safetensors"
    ).read_bytes()
    assert new.processor.encode("a red ball") == old.processor.encode("a red ball")
    recipe.start = tmp_path
    with pytest.raises(InputError, match="not a DuoGen model folder"):
        Run(recipe, tmp_path / "other")


def test_stage_2_runs_beside_stage_1(tmp_path: Path) -> None:
    """It takes the MLLM as far as it has come, each time it is started."""
    recipe = load_recipe("debug")
    recipe.pretrain.steps = recipe.stage1.steps = recipe.stage2.steps = 3
    run = Run(recipe, tmp_path, quiet=True)
    assert all(run.part(part) for part in ("tokenizer", "codec", "pretrain"))
    with pytest.raises(InputError, match="run the part 'stage1' first"):
        run.part("stage2")
    assert not run.part("stage1", max_seconds=0.0)
    assert not run.part("stage2", max_seconds=0.0)
    assert run.part("stage1") and run.part("stage2")


def test_bfloat16_changes_little(tmp_path: Path) -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        recipe = load_recipe("debug")
        for stage in (recipe.pretrain, recipe.stage1, recipe.stage2):
            stage.steps, stage.precision = 2, precision  # type: ignore[assignment]
        run = Run(recipe, tmp_path / precision, quiet=True)
        assert all(run.part(part) for part in PARTS[:-1])
        logs = [(tmp_path / precision / stage / "log.jsonl").read_text() for stage in ("stage1", "stage2")]
        losses.append([json.loads(log.splitlines()[-1])["loss"] for log in logs])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.03)


def test_stage_2_leaves_the_mllm_alone(debug_run: Path) -> None:
    tuned = Run(load_recipe("debug"), debug_run, quiet=True).mllm().state_dict()
    shipped = DuoGenPipeline.from_pretrained(debug_run / "model").mllm.state_dict()
    assert all(torch.equal(tuned[name].half().float(), shipped[name]) for name in tuned)


def test_what_goes_wrong_is_said(tmp_path: Path) -> None:
    recipe = load_recipe("debug")
    run = Run(recipe, tmp_path)
    with pytest.raises(InputError, match="run the part 'pretrain' first"):
        run.part("stage1")
    recipe.seed = 99
    with pytest.raises(InputError, match="another recipe"):
        Run(recipe, tmp_path)
    with pytest.raises(InputError, match="no such recipe"):
        load_recipe("nonsense")
    for shares, message in (("{ cake = 1 }", "no such family: cake"), ("{ cook = 0 }", "at least one family")):
        bad = tmp_path / "shares.toml"
        bad.write_text(f"[pretrain]\nsteps = 1\nbatch_size = 1\nlearning_rate = 1.0\nshares = {shares}\n")
        with pytest.raises(InputError, match=message):
            load_recipe(bad)
    bad = tmp_path / "bad.toml"
    bad.write_text("[stage1]\nsteps = 'many'\n")
    with pytest.raises(InputError, match=r"bad\.toml: pretrain"):
        load_recipe(bad)
    bad.write_text("= nothing")
    with pytest.raises(InputError, match="not a TOML file"):
        load_recipe(bad)
