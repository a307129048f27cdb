"""Stage 1: instruction tuning. Only the MLLM moves, by next-token prediction (paper, section 4).

User turns are masked; the assistant's text, its `<BOV>` tokens and the end of its turn are in the loss. Pictures go
through the vision encoder, which learns with the rest.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from duogen.models.mllm import batch_states
from duogen.models.processor import BOV, DuoGenProcessor
from duogen.training.config import OptimConfig, PretrainConfig
from duogen.training.data import WHOLE, Batch, View, WorldBatches
from duogen.training.loop import Trainer


def next_token_loss(
    model: Qwen2_5_VLForConditionalGeneration, batch: Batch, bov: int
) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy over the trained tokens, and how often the most likely token is right (all, and `<BOV>` alone)."""
    states, _ = batch_states(model, batch.ids, batch.positions, batch.pixels, batch.grids)
    targets, wanted = batch.ids[:, 1:].to(states.device), batch.trained[:, 1:].to(states.device)
    logits = model.lm_head(states[:, :-1][wanted])
    targets = targets[wanted]
    right = logits.argmax(-1) == targets
    calls = targets == bov
    extra = {"accuracy": round(right.float().mean().item(), 4)}
    if calls.any():
        extra["bov_accuracy"] = round(right[calls].float().mean().item(), 4)
    return F.cross_entropy(logits, targets), extra


def train_stage1(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: DuoGenProcessor,
    config: OptimConfig,
    folder: Path,
    seed: int,
    max_seconds: float | None = None,
    quiet: bool = False,
    view: View = WHOLE,
    workers: int = 0,
) -> bool:
    """Trains (or goes on training) the MLLM in place, on its device; returns whether all steps are done."""
    model.requires_grad_(True).train()
    trainer = Trainer(model, config, folder, seed)
    lessons = config.lesson_steps if isinstance(config, PretrainConfig) else 0
    world = WorldBatches(seed, config.batch_size, processor, view, lesson_steps=lessons)
    batches = world.stream(trainer.step, workers)
    bov = processor.id(BOV)

    def loss_of(_: int, __: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        return next_token_loss(model, next(batches), bov)

    done = trainer.run(loss_of, max_seconds, quiet)
    if trainer.ema is not None and done:
        model.load_state_dict(trainer.result.state_dict())
    model.requires_grad_(False).eval()
    return done
