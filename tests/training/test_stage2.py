from __future__ import annotations

from pathlib import Path

import torch

from duogen.models.dit import CosmosDiT
from duogen.models.mllm import batch_states
from duogen.models.pipeline import DuoGenPipeline
from duogen.training.config import load_recipe
from duogen.training.data import collate, draw_task, turns_of_task
from duogen.training.stage2 import FAINTEST, Targets, causal_loss, causal_masks, frozen_states, news, show_own, weighted


def tasks_with_pictures(count: int) -> list:
    drawn = (draw_task(3, index) for index in range(100))
    return [task for task in drawn if len(task.pictures) > len(task.shown)][:count]


def test_masks_let_a_picture_see_what_it_will_see_when_painted(tiny: DuoGenPipeline) -> None:
    """Three pictures of one token each; the second one's last text segment is dropped."""
    dit = CosmosDiT(tiny.transformer, segment_heads=1)
    targets = Targets.__new__(Targets)
    side = dit.patch
    targets.clean = torch.zeros(1, 3, 4, side, side)
    targets.start, targets.reach = torch.tensor([[1, 4, 6]]), torch.tensor([[2, 5, 8]])
    targets.noisy_reach = torch.tensor([[2, 4, 8]])
    seen, read = causal_masks(dit, targets, length=9)
    clean0, clean1, noisy0, noisy1, noisy2 = seen[0, 0].int().tolist()
    assert clean0 == [1, 0, 0, 0, 0]
    assert clean1 == [1, 1, 0, 0, 0]
    assert noisy0 == [0, 0, 1, 0, 0]
    assert noisy1 == [1, 0, 0, 1, 0]
    assert noisy2 == [1, 1, 0, 0, 1]
    segment, text = ([row.nonzero()[:, 0].tolist() for row in head] for head in read[0])
    assert segment == [[1], [4], [1], [0], [6, 7]]
    assert text == [list(range(end)) for end in (2, 5, 2, 4, 8)]


@torch.no_grad()
def test_a_packed_batch_gives_each_dialogue_its_own_loss(tiny: DuoGenPipeline) -> None:
    """Dialogues of different lengths in one batch, and every picture of a dialogue in one pass, change nothing."""
    config, dit = load_recipe("debug").stage2, tiny.painter
    tasks = tasks_with_pictures(5)
    everything = collate([turns_of_task(task) for task in tasks], tiny.processor)
    together = Targets(everything, tiny.vae, config, torch.Generator().manual_seed(0))
    states = frozen_states(tiny.mllm, everything, int(together.reach.max()))
    errors, _, _ = causal_loss(dit, together, tiny.connector(states))
    for row, task in enumerate(tasks):
        batch = collate([turns_of_task(task)], tiny.processor)
        alone = Targets(batch, tiny.vae, config, torch.Generator().manual_seed(0))
        count = alone.clean.shape[1]
        for name in ("noise", "sigma", "shown", "noisy_reach"):
            setattr(alone, name, getattr(together, name)[row : row + 1, :count])
        single, _, _ = causal_loss(dit, alone, tiny.connector(frozen_states(tiny.mllm, batch, int(alone.reach.max()))))
        assert torch.allclose(single[0], errors[row, :count], atol=1e-4)


@torch.no_grad()
def test_the_states_are_those_of_the_whole_dialogue(tiny: DuoGenPipeline) -> None:
    """Cutting the sequence behind the last `<BOV>` saves work and changes no state that is read."""
    batch = collate([turns_of_task(task) for task in tasks_with_pictures(4)], tiny.processor)
    length = max(slots[-1].asked for slots in batch.slots)
    _, whole, _ = batch_states(tiny.mllm, batch.ids, batch.positions, batch.pixels, batch.grids)
    cut = frozen_states(tiny.mllm, batch, length)
    for row, slots in enumerate(batch.slots):
        asked = slots[-1].asked
        assert torch.allclose(cut[row, :asked], whole[row, :asked], atol=1e-4)


def test_what_is_new_counts_more() -> None:
    """One dialogue: an empty stage, a picture with one changed latent, one with another, and a copy of that."""
    empty = torch.randn(1, 4, 2, 2)
    clean = empty[:, None].repeat(1, 3, 1, 1, 1)
    clean[0, :, 1, 1, 0] += 1
    clean[0, 1:, 2, 0, 1] += 1
    weight = news(clean, empty, 8.0)
    assert weight.tolist() == [[[[1, 1], [8, 1]], [[1, 8], [1, 1]], [[1, 1], [1, 1]]]]
    squared = torch.zeros(1, 3, 2, 2)
    squared[0, 1, 0, 1] = 1.0
    assert torch.isclose(weighted(squared, weight), torch.tensor(8 / (11 + 11 + 4)))
    assert torch.isclose(weighted(squared, news(clean, empty, 1.0)), squared.mean())
    clean[0, 1:, 2, 0, 1] -= 0.9  # of two changes one is a tenth as large now
    faint, plain = news(clean, empty, 8.0)[0, 1, 0, 1], news(clean, empty, 8.0)[0, 0, 1, 0]
    assert plain == 8 and faint == 1 + 7 * FAINTEST


def test_a_first_picture_is_held_against_its_empty_stage(tiny: DuoGenPipeline) -> None:
    task = draw_task(3, 0, "train", "build")
    targets = Targets(
        collate([turns_of_task(task)], tiny.processor), tiny.vae, load_recipe("debug").stage2,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    blocks = 4 * len(task.pictures[0].things)
    low, *high = targets.weight[0, 0].unique().tolist()
    assert int((targets.weight[0, 0] > low).sum()) == blocks
    assert 8 * low <= high[0] * 1.0001 and high[-1] <= (1 + 7 * FAINTEST) * low * 1.0001


def test_own_pictures_stand_where_the_model_painted_them(tiny: DuoGenPipeline) -> None:
    task = next(t for t in tasks_with_pictures(50) if t.shown and len(t.pictures) > 3)
    batch = collate([turns_of_task(task)], tiny.processor)
    targets = Targets(batch, tiny.vae, load_recipe("debug").stage2, torch.Generator().manual_seed(0))
    true, given = targets.shown.clone(), len(task.shown)
    vectors = tiny.connector(frozen_states(tiny.mllm, batch, int(targets.reach.max()))).requires_grad_(True)
    show_own(tiny.painter, targets, vectors, torch.Generator().manual_seed(1))
    assert torch.equal(targets.shown[:, :given], true[:, :given]), "the user's pictures stay"
    assert (targets.shown - true)[:, given:].abs().mean() > 0.01
    assert not targets.shown.requires_grad, "what they show is not trained through them"


def test_the_log_tells_high_from_low_noise(debug_run: Path) -> None:
    log = (debug_run / "stage2" / "log.jsonl").read_text()
    assert "loss_high" in log and "loss_low" in log
