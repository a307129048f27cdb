from __future__ import annotations

import copy

import pytest
import torch

from duogen.models.mllm import batch_states
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import IMAGE_PAD
from duogen.training.comparing import Comparing, compared
from duogen.training.data import collate, draw_task, turns_of_task
from duogen.training.naming import COLOURS, KINDS
from duogen.training.stage1 import Tuned, next_token_loss
from duogen.training.world.scene import Scene


def test_each_token_is_held_against_the_picture_before(tiny: DuoGenPipeline) -> None:
    task = draw_task(2, 0, "train", "build")
    batch = collate([turns_of_task(task)], tiny.processor)
    where, labels = compared(batch, tiny.processor)
    assert where.shape == (len(task.pictures) - 1, 36, 2) and labels.shape == (*where.shape[:2], 3)
    assert (batch.ids[where[..., 0], where[..., 1]] == tiny.processor.id(IMAGE_PAD)).all()
    for index, (before, after) in enumerate(zip(task.pictures, task.pictures[1:], strict=False)):
        kinds, colours, changed = labels[index].unbind(-1)
        assert {KINDS[kind - 1] for kind in kinds[kinds > 0].tolist()} == {
            thing.kind.partition("_")[0] for thing in before.things.values()
        }
        assert {COLOURS[c - 1] for c in colours[colours > 0].tolist()} == {t.colour for t in before.things.values()}
        assert int(changed.sum()) == len(before.changed(after)), "a block is one token"


def test_there_is_nothing_to_compare_with_where_no_picture_stands_before(tiny: DuoGenPipeline) -> None:
    batch = collate([turns_of_task(draw_task(2, index, "train", "depict")) for index in range(3)], tiny.processor)
    where, labels = compared(batch, tiny.processor)
    assert len(where) == len(labels) == 0
    head = Comparing(8)
    assert head.loss(torch.randn(*batch.ids.shape, 8), batch, tiny.processor) is None
    task = draw_task(2, 0, "train", "build")
    batch = collate([turns_of_task(task)], tiny.processor)
    batch.scenes[0][0], batch.scenes[0][-1] = Scene("page", {}), None
    where, _ = compared(batch, tiny.processor)
    assert len(where) == len(task.pictures) - 3, (
        "nothing is known of another stage's places, nor of a picture from elsewhere"
    )


def test_it_is_added_with_its_weight_and_reaches_the_layers_below(tiny: DuoGenPipeline) -> None:
    batch = collate([turns_of_task(draw_task(1, index, family="build")) for index in range(2)], tiny.processor)
    even = torch.ones(tiny.mllm.config.get_text_config().vocab_size)
    tuned = Tuned(copy.deepcopy(tiny.mllm).requires_grad_(True))
    plain, without = next_token_loss(tuned, tiny.processor, batch, even)
    both, extra = next_token_loss(tuned, tiny.processor, batch, even, comparing_weight=0.5)
    _, layers, _ = batch_states(tuned.model, batch.ids, batch.positions, batch.pixels, batch.grids)
    alone = tuned.comparing.loss(layers[:, :, layers.shape[2] // 2 - 1], batch, tiny.processor)
    assert alone is not None and torch.isclose(both, plain + 0.5 * alone[0], rtol=1e-4)
    assert set(extra) - set(without) == {"comparing_accuracy"}
    alone[0].backward()
    lower = [w.grad is not None and bool(w.grad.any()) for w in tuned.model.model.language_model.layers[0].parameters()]
    assert all(lower)
    above = tuned.model.model.language_model.layers[-1].mlp.up_proj.weight.grad
    assert above is None or not above.any(), "the layers above aren't asked"


@pytest.mark.parametrize("right", [True, False])
def test_the_loss_is_small_where_the_head_says_what_is_true(tiny: DuoGenPipeline, right: bool) -> None:
    """States that spell out the labels, and a head that reads them."""
    batch = collate([turns_of_task(draw_task(2, 0, "train", "build"))], tiny.processor)
    where, labels = compared(batch, tiny.processor)
    head = Comparing(400)
    states = torch.zeros(*batch.ids.shape, 400)
    said = labels if right else labels.flip(1)
    kinds, colours = head.before.kinds, head.before.colours
    for layer, first in ((kinds, 0), (colours, 300)):
        torch.nn.init.zeros_(layer.bias)
        layer.weight.data.zero_()
        layer.weight.data[:, first : first + layer.out_features] = torch.eye(layer.out_features)
    head.changed.weight.data.zero_()
    head.changed.weight.data[0, 399] = 2.0
    head.changed.bias.data.fill_(-5.0)
    rows, places = where.unbind(-1)
    states[rows, places, said[..., 0]] = 1.0
    states[rows, places, 300 + said[..., 1]] = 1.0
    states[rows, places, 399] = said[..., 2].float()
    found = head.loss(states, batch, tiny.processor)
    assert found is not None
    assert (found[0] < 0.5) == right and bool(found[1].all()) == right
