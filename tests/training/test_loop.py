from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from duogen.models.pipeline import DuoGenPipeline
from duogen.training.config import OptimConfig
from duogen.training.loop import Trainer, optimisers, schedule

CONFIG = OptimConfig(steps=40, batch_size=1, learning_rate=0.1, warmup_steps=10, ema_decay=0.5)


def test_the_schedule_warms_up_and_cools_down() -> None:
    shares = [schedule(CONFIG, step) for step in range(41)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == pytest.approx(1.0)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[40] == pytest.approx(CONFIG.final_learning_rate)


def test_every_weight_has_one_optimiser(tiny: DuoGenPipeline) -> None:
    for module in (tiny.mllm, tiny.transformer):
        module.requires_grad_(True)
        made = optimisers(module, CONFIG)
        owned = [weight for optimiser in made for group in optimiser.param_groups for weight in group["params"]]
        assert len({id(weight) for weight in owned}) == len(owned)
        assert {id(weight) for weight in owned} == {id(weight) for weight in module.parameters()}
        muon = {id(weight) for group in made[1].param_groups for weight in group["params"]}
        names = [name for name, weight in module.named_parameters() if id(weight) in muon]
        assert names
        assert not any("embed_tokens" in name or "norm" in name or "proj_out" in name for name in names)


class Line(nn.Module):
    """A layer whose answer is known."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2)])


def test_it_learns_logs_and_averages(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Line()

    def loss_of(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        x = torch.randn(16, 2, generator=generator)
        return (module.layers[0](x) - x).square().mean(), {"seen": step}

    trainer = Trainer(module, CONFIG, tmp_path, seed=1)
    assert trainer.run(loss_of, quiet=True)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [20, 40]
    assert records[-1]["loss"] < 0.3 * records[0]["loss"]
    average, last = trainer.result.layers[0].weight, module.layers[0].weight  # type: ignore[union-attr, index]
    assert not torch.equal(average, last)
    assert torch.allclose(average, last, atol=0.05)
