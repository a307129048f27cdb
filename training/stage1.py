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
from duogen.training.config import Stage1Config, TuningConfig
from duogen.training.data import PRACTISED, Batch, View, WorldBatches, fact_ids, turns_of_task
from duogen.training.loop import Trainer
from duogen.training.naming import Naming


def next_token_loss(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: DuoGenProcessor,
    batch: Batch,
    weights: Tensor,
    naming_weight: float = 0.0,
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross-entropy over the trained tokens, and how often the most likely token is right.

    Args:
        weights: [vocabulary], what each token counts as a target. How an answer is worded can't be foreseen, what it
            states can: where all tokens count alike, most of the gradient is about wording (docs/LOG.md).
        naming_weight: of the loss of `duogen.training.naming`, which is added.

    Returns:
        The loss and shares of right tokens: of all, of those that count more, of `<BOV>` alone.
    """
    states, _, embedded = batch_states(model, batch.ids, batch.positions, batch.pixels, batch.grids)
    targets, wanted = batch.ids[:, 1:].to(states.device), batch.trained[:, 1:].to(states.device)
    logits = model.lm_head(states[:, :-1][wanted]).float()
    targets = targets[wanted]
    right = logits.argmax(-1) == targets
    groups = {
        "accuracy": right,
        "fact_accuracy": right[weights[targets] > 1],
        "bov_accuracy": right[targets == processor.id(BOV)],
    }
    extra = {name: round(group.float().mean().item(), 4) for name, group in groups.items() if len(group)}
    loss = F.cross_entropy(logits, targets, weight=weights)
    if naming_weight and (naming := Naming.of(batch, processor)):
        named, accuracy = naming.loss(embedded, model.get_input_embeddings().weight, processor)
        loss = loss + naming_weight * named
        extra["naming_accuracy"] = round(accuracy, 4)
    return loss, extra


def train_stage1(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: DuoGenProcessor,
    config: TuningConfig,
    folder: Path,
    seed: int,
    max_seconds: float | None = None,
    quiet: bool = False,
    view: View = turns_of_task,
    workers: int = 0,
) -> bool:
    """Trains (or goes on training) the MLLM in place, on its device; returns whether all steps are done."""
    model.requires_grad_(True).train()
    trainer = Trainer(model, config, folder, seed)
    world = WorldBatches(
        seed, config.batch_size, processor, view, lesson_steps=config.lesson_steps, shares=config.shares or PRACTISED
    )
    batches = world.stream(trainer.step, workers)
    weights = torch.ones(model.config.get_text_config().vocab_size, device=model.device)
    if isinstance(config, Stage1Config):
        weights[fact_ids(processor)] = config.fact_weight

    def loss_of(_: int, __: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        with trainer.autocast():
            return next_token_loss(model, processor, next(batches), weights, config.naming_weight)

    done = trainer.run(loss_of, max_seconds, quiet)
    if trainer.ema is not None and done:
        model.load_state_dict(trainer.result.state_dict())
    model.requires_grad_(False).eval()
    return done
