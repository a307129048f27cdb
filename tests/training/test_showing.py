from __future__ import annotations

import torch

from duogen.models.pipeline import DuoGenPipeline
from duogen.training.config import load_recipe
from duogen.training.data import collate, draw_task, turns_of_task
from duogen.training.naming import COLOURS, KINDS
from duogen.training.showing import COLOUR_COUNT, KIND_COUNT, STROKES, UNKNOWN, Showing, labels_of
from duogen.training.stage2 import Aligned, Targets, causal_loss, frozen_states, full_loss


def test_every_token_is_labelled_with_what_it_shows_and_whether_that_is_new(tiny: DuoGenPipeline) -> None:
    tasks = [draw_task(2, 0, "train", family) for family in ("build", "draw", "arrange")]
    labels = labels_of([task.pictures for task in tasks], 6)
    assert labels.shape == (3, max(len(task.pictures) for task in tasks), 36, 3)
    assert labels.max() < KIND_COUNT
    for row, task in enumerate(tasks):
        assert (labels[row, len(task.pictures) :, :, :2] == UNKNOWN).all()
        for index, scene in enumerate(task.pictures):
            kinds, colours, new = labels[row, index].unbind(-1)
            assert 0 < new.sum() < 36 and (index or torch.equal(new.bool(), kinds > 0))
            # On a sheet a token names the last step that left a mark in it; elsewhere each thing has tokens of its own.
            named = {KINDS[kind - 1] for kind in kinds[kinds > 0].tolist() if kind <= len(KINDS)}
            drawn = {STROKES[kind - 1 - len(KINDS)] for kind in kinds.tolist() if kind > len(KINDS)}
            if scene.stage == "sheet":
                assert not named and (next(iter(scene.things.values())).kind, len(scene.things) - 1) in drawn
            else:
                assert not drawn and named == {thing.kind.partition("_")[0] for thing in scene.things.values()}
            assert {COLOURS[c - 1] for c in colours[colours > 0].tolist()} == {t.colour for t in scene.things.values()}


def test_the_loss_speaks_of_what_is_new_and_known() -> None:
    head = Showing(8)
    torch.manual_seed(0)
    hidden = torch.randn(2, 4, 8)
    labels = torch.zeros(2, 4, 3, dtype=torch.long)
    labels[1, :, :2] = UNKNOWN
    labels[:, 2:, 2] = 1
    loss, right = head.loss(hidden, labels, 5.0)
    assert len(right) == 2 and loss > 0
    changed = hidden.clone()
    changed[1] += torch.randn(4, 8)
    assert torch.equal(head.loss(changed, labels, 5.0)[0], loss), "what nothing is known of has no say"
    loss.backward()
    assert head.kinds.weight.grad is not None and head.colours.weight.shape == (COLOUR_COUNT, 8)


def test_it_reaches_the_dit_in_both_modes(tiny: DuoGenPipeline) -> None:
    tasks = [draw_task(2, index, "train", "build") for index in range(3)]
    batch = collate([turns_of_task(task) for task in tasks if task.turns[0].pictures], tiny.processor)
    aligned = Aligned(tiny.connector, tiny.transformer).thaw()
    for mode in ("causal", "full"):
        generator = torch.Generator().manual_seed(0)
        targets = Targets(batch, tiny.vae, load_recipe("debug").stage2, generator)
        vectors = aligned.connector(frozen_states(tiny.mllm, batch, int(targets.reach.max())))
        if mode == "causal":
            _, _, middle = causal_loss(tiny.painter, targets, vectors)
        else:
            _, _, middle = full_loss(tiny.painter, targets, vectors, generator)
            assert len(middle) == len(batch.slots), "one target a dialogue"
        labels = labels_of(batch.scenes, 6)[targets.counted]
        assert labels.shape[:2] == middle.shape[:2]
        aligned.zero_grad()
        aligned.showing.loss(middle, labels, 5.0)[0].backward()
        first = aligned.transformer.transformer_blocks[0].attn1.to_q.weight.grad
        assert first is not None and first.abs().sum() > 0
