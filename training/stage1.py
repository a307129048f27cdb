"""Stage 1: instruction tuning. Only the MLLM moves, by next-token prediction (paper, section 4).

User turns are masked; the assistant's text, its `<BOV>` tokens and the end of its turn are in the loss. Pictures go
through the vision encoder, which learns with the rest.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from duogen.models.mllm import batch_states
from duogen.models.processor import BOV, DuoGenProcessor
from duogen.training.comparing import Comparing
from duogen.training.config import Stage1Config, TuningConfig
from duogen.training.data import PRACTISED, Batch, View, WorldBatches, turns_of_task
from duogen.training.facts import fact_weights
from duogen.training.loop import Trainer
from duogen.training.naming import Naming


class Tuned(nn.Module):
    """What stage 1 moves: the MLLM, and the head that one of its losses needs."""

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        self.model, self.comparing = model, Comparing(model.config.get_text_config().hidden_size)


def likeness(words: Tensor) -> Tensor:
    """How much words' embeddings [N, hidden] point the same way: for each, its squared cosines with all others; the mean.

    Where input and output share their embeddings, words that stand in the same places drift together until nothing is left
    to tell basil from mint by, and what can't be told apart is never copied (docs/LOG.md). Keeping cosines low is from
    "Representation degeneration problem in training natural language generation models" (arXiv 1907.12009).
    """
    unit = F.normalize(words.float(), dim=-1)
    cosines = unit @ unit.T - torch.eye(len(unit), device=unit.device)
    return cosines.square().sum(-1).mean()


class Anchor(NamedTuple):
    """What keeps an MLLM near the one that its DiT has been aligned with: that one, and the weight of the drift from it."""

    model: Qwen2_5_VLForConditionalGeneration
    weight: float

    def drift(self, layers: Tensor, batch: Batch) -> Tensor:
        """How far states [B, L, layers, hidden] have moved: the squared distance as a share of the squared length, the mean of all
        layers and of all tokens up to the last trained one: what stands behind it is padding."""
        with torch.no_grad():
            _, before, _ = batch_states(self.model, batch.ids, batch.positions, batch.pixels, batch.grids)
        moved = (layers - before).float().square().sum(-1) / before.float().square().sum(-1)
        real = batch.trained.flip(1).cummax(1).values.flip(1)
        return moved[real.to(moved.device)].mean()


def next_token_loss(
    tuned: Tuned,
    processor: DuoGenProcessor,
    batch: Batch,
    weights: Tensor,
    naming_weight: float = 0.0,
    comparing_weight: float = 0.0,
    spread_weight: float = 0.0,
    anchor: Anchor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross-entropy over the trained tokens, and how often the most likely token is right.

    Args:
        weights: [vocabulary], what each token counts as a target (`duogen.training.facts`).
        naming_weight: of the loss of `duogen.training.naming`, which is added.
        comparing_weight: of that of `duogen.training.comparing`, taken behind half of the layers.
        spread_weight: of the `likeness` of the tokens that count more than others.
        anchor: whose drift is added, if there is one.

    Returns:
        The loss and shares of right tokens: of all, of those that count more, of `<BOV>` alone.
    """
    model = tuned.model
    states, layers, embedded = batch_states(model, batch.ids, batch.positions, batch.pixels, batch.grids)
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
    if comparing_weight:
        compared = tuned.comparing.loss(layers[:, :, layers.shape[2] // 2 - 1], batch, processor)
        if compared is not None:
            loss = loss + comparing_weight * compared[0]
            if len(compared[1]):
                extra["comparing_accuracy"] = round(compared[1].float().mean().item(), 4)
    if spread_weight:
        alike = likeness(model.get_input_embeddings().weight[weights > 1])
        loss = loss + spread_weight * alike
        extra["likeness"] = round(alike.item(), 4)
    if anchor:
        drift = anchor.drift(layers, batch)
        loss = loss + anchor.weight * drift
        extra["drift"] = round(drift.item(), 5)
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
    anchor = None
    if isinstance(config, Stage1Config) and config.anchor_weight:
        anchor = Anchor(deepcopy(model).requires_grad_(False).eval(), config.anchor_weight)
    torch.manual_seed(seed)  # the head begins alike, however the run is sliced
    tuned = Tuned(model).to(model.device)
    trainer = Trainer(tuned.requires_grad_(True).train(), config, folder, seed)
    shares = config.shares or PRACTISED
    world = WorldBatches(seed, config.batch_size, processor, view, lesson_steps=config.lesson_steps, shares=shares)
    batches = world.stream(trainer.step, workers)
    weights = torch.ones(model.config.get_text_config().vocab_size, device=model.device)
    spread = 0.0
    if isinstance(config, Stage1Config):
        facts = fact_weights(processor, config.fact_weight, shares)
        weights[: len(facts)] = facts.to(model.device)
        spread = config.spread_weight

    def loss_of(_: int, __: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        with trainer.autocast():
            return next_token_loss(
                tuned, processor, next(batches), weights, config.naming_weight, config.comparing_weight, spread, anchor
            )

    done = trainer.run(loss_of, max_seconds, quiet)
    if trainer.ema is not None and done:
        tuned.load_state_dict(trainer.result.state_dict())
    model.requires_grad_(False).eval()
    return done
