from __future__ import annotations

import copy

import pytest
import torch

from duogen.models.mllm import batch_states
from duogen.models.pipeline import DuoGenPipeline
from duogen.training.data import collate, draw_task, turns_of_task
from duogen.training.facts import fact_ids
from duogen.training.naming import Naming
from duogen.training.stage1 import Anchor, Tuned, likeness, next_token_loss


@torch.no_grad()
def test_facts_count_more_than_wording(tiny: DuoGenPipeline) -> None:
    batch = collate([turns_of_task(draw_task(1, index, family="arrange")) for index in range(4)], tiny.processor)
    facts = fact_ids(tiny.processor)
    even = torch.ones(tiny.mllm.config.get_text_config().vocab_size)
    uneven, facts_alone = even.clone(), torch.zeros_like(even)
    uneven[facts] = 4.0
    facts_alone[facts] = 1.0
    (plain, extra), (weighted, more), (of_facts, _) = (
        next_token_loss(Tuned(tiny.mllm), tiny.processor, batch, weights) for weights in (even, uneven, facts_alone)
    )
    targets = batch.ids[:, 1:][batch.trained[:, 1:]]
    share = torch.isin(targets, torch.tensor(facts)).float().mean()
    assert 0.05 < share < 0.95
    assert torch.isclose(weighted, (plain + 3 * share * of_facts) / (1 + 3 * share), rtol=1e-4)
    assert set(extra) == {"accuracy", "bov_accuracy"} and set(more) == {*extra, "fact_accuracy"}
    assert {name: more[name] for name in extra} == extra


@torch.no_grad()
def test_only_trained_tokens_are_in_the_loss(tiny: DuoGenPipeline) -> None:
    batch = collate([turns_of_task(draw_task(1, index)) for index in range(4)], tiny.processor)
    row, place = batch.trained.nonzero()[10].tolist()
    batch.trained[:] = False
    batch.trained[row, place] = True
    even = torch.ones(tiny.mllm.config.get_text_config().vocab_size)
    loss, _ = next_token_loss(Tuned(tiny.mllm), tiny.processor, batch, even)
    states, _, _ = batch_states(tiny.mllm, batch.ids, batch.positions, batch.pixels, batch.grids)
    chances = tiny.mllm.lm_head(states[row, place - 1]).log_softmax(-1)
    assert torch.isclose(loss, -chances[batch.ids[row, place]], rtol=1e-4)


def test_naming_is_added_with_its_weight_and_reaches_the_eyes(tiny: DuoGenPipeline) -> None:
    batch = collate([turns_of_task(draw_task(1, index)) for index in range(4)], tiny.processor)
    even = torch.ones(tiny.mllm.config.get_text_config().vocab_size)
    model = copy.deepcopy(tiny.mllm).requires_grad_(True)
    plain, without = next_token_loss(Tuned(model), tiny.processor, batch, even)
    both, extra = next_token_loss(Tuned(model), tiny.processor, batch, even, naming_weight=0.5)
    naming = Naming.of(batch, tiny.processor)
    assert naming is not None
    _, _, embedded = batch_states(model, batch.ids, batch.positions, batch.pixels, batch.grids)
    named, _ = naming.loss(embedded, model.get_input_embeddings().weight, tiny.processor)
    assert torch.isclose(both, plain + 0.5 * named, rtol=1e-4)
    assert set(extra) - set(without) == {"naming_accuracy"}
    named.backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.model.visual.merger.parameters())


def test_words_that_count_more_are_kept_apart(tiny: DuoGenPipeline) -> None:
    assert torch.isclose(likeness(torch.eye(4)), torch.tensor(0.0))
    assert torch.isclose(likeness(torch.ones(4, 3)), torch.tensor(3.0))
    batch = collate([turns_of_task(draw_task(1, 0))], tiny.processor)
    model = copy.deepcopy(tiny.mllm).requires_grad_(True)
    words = model.get_input_embeddings().weight
    uneven = torch.ones(len(words))
    uneven[facts := fact_ids(tiny.processor)] = 4.0
    plain, without = next_token_loss(Tuned(model), tiny.processor, batch, uneven)
    both, extra = next_token_loss(Tuned(model), tiny.processor, batch, uneven, spread_weight=0.5)
    assert torch.isclose(both, plain + 0.5 * likeness(words[facts]), rtol=1e-4)
    assert set(extra) - set(without) == {"likeness"}


def test_an_anchor_holds_what_is_said_where_it_was_and_overlooks_padding(tiny: DuoGenPipeline) -> None:
    batch = collate([turns_of_task(draw_task(1, index)) for index in range(3)], tiny.processor)
    even = torch.ones(tiny.mllm.config.get_text_config().vocab_size)
    model = copy.deepcopy(tiny.mllm).requires_grad_(True)
    anchor = Anchor(tiny.mllm, 0.5)

    def losses() -> tuple[float, float, float]:
        plain, _ = next_token_loss(Tuned(model), tiny.processor, batch, even)
        both, extra = next_token_loss(Tuned(model), tiny.processor, batch, even, anchor=anchor)
        return plain.item(), both.item(), extra["drift"]

    plain, both, drift = losses()
    assert drift == 0
    assert both == plain
    with torch.no_grad():
        for weight in model.model.language_model.layers[0].parameters():
            weight.add_(0.3 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    plain, both, drift = losses()
    assert drift > 0.001
    assert both == pytest.approx(plain + 0.5 * drift, rel=1e-3)
    ends = batch.trained.int().cumsum(1).argmax(1)
    for row, end in enumerate(ends):
        batch.ids[row, end + 1 :] = 7
    assert losses()[2] == pytest.approx(drift, rel=1e-4)
