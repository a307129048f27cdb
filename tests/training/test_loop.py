from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from duogen.models.pipeline import DuoGenPipeline
from duogen.training.config import OptimConfig
from duogen.training.loop import Trainer, optimisers, schedule

CONFIG = OptimConfig(steps=40, batch_size=1, learning_rate=0.1, muon_learning_rate=0.2, warmup_steps=10, ema_decay=0.5)


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


def test_ctrl_c_waits_for_the_step_and_keeps_it(tmp_path: Path) -> None:
    module = Line()

    def loss_of(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return module.layers[0](torch.ones(1, 2)).square().sum(), {}

    with pytest.raises(KeyboardInterrupt):
        Trainer(module, CONFIG, tmp_path, seed=1).run(loss_of, quiet=True)
    assert Trainer(Line(), CONFIG, tmp_path, seed=1).step == 4


def test_a_resumed_log_has_every_step_once(tmp_path: Path) -> None:
    def loss_of(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        return module.layers[0](torch.ones(1, 2)).square().sum(), {}

    module = Line()
    Trainer(module, CONFIG, tmp_path, seed=1).run(loss_of, quiet=True)
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write('{"step": 60}\n')
    Trainer(Line(), CONFIG, tmp_path, seed=1)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [20, 40]


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

    first = float(loss_of(0, torch.Generator().manual_seed(1))[0])
    trainer = Trainer(module, CONFIG, tmp_path, seed=1)
    assert trainer.run(loss_of, quiet=True)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [20, 40]
    assert records[-1]["loss"] < 0.3 * first
    average, last = trainer.result.layers[0].weight, module.layers[0].weight  # type: ignore[union-attr, index]
    assert not torch.equal(average, last)
    assert torch.allclose(average, last, atol=0.2)
