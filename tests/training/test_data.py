from __future__ import annotations

import random

import pytest
import torch
from PIL import Image

from duogen.models.layout import lay_out
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.vae import to_frames
from duogen.training.data import (
    FAMILIES,
    GROUP,
    WorldBatches,
    collate,
    draw_lesson,
    draw_task,
    glimpsed_turns_of_task,
    mixed_view,
    rough_length,
    spoken_turns_of_task,
    turns_of_task,
)
from duogen.training.world.render import render


def test_a_step_always_sees_the_same_dialogues(tiny: DuoGenPipeline) -> None:
    one, two = (WorldBatches(1, 3, tiny.processor, turns_of_task) for _ in range(2))
    two.batch(40)
    assert torch.equal(one.batch(5).ids, two.batch(5).ids)
    assert not torch.equal(one.batch(5).ids, one.batch(6).ids[:, : one.batch(5).ids.shape[1]])


def test_training_has_more_slips_of_the_pen_than_the_held_out_requests() -> None:
    family = FAMILIES["draw"]
    for index in range(60):
        rng = random.Random(f"held-out/1/{index}")
        assert (
            draw_task(1, index, "held-out", "draw").turns[0].request == family.sample(rng, "held-out").turns[0].request
        )
    slipped = 0
    for index in range(400):
        rng = random.Random(f"train/1/{index}")
        plain, said = family.sample(rng, "train").turns[0].request, draw_task(1, index, family="draw").turns[0].request
        slipped += said != plain
        assert len(said.split()) == len(plain.split())
    assert 0.1 < slipped / 400 < 0.2


def test_a_group_is_sorted_so_that_little_is_padded(tiny: DuoGenPipeline) -> None:
    batches = WorldBatches(1, 4, tiny.processor, turns_of_task)
    used = padded = 0
    for step in range(GROUP):
        batch = batches.batch(step)
        # Behind the last trained token, the end mark, stands one line break.
        used += sum(int(row.nonzero()[-1]) + 2 for row in batch.trained)
        padded += batch.ids.numel()
    assert used / padded > 0.8


def test_a_batch_holds_what_its_dialogues_hold(tiny: DuoGenPipeline) -> None:
    tasks = [draw_task(1, index) for index in range(4)]
    batch = collate([turns_of_task(task) for task in tasks], tiny.processor)
    for row, task in enumerate(tasks):
        tape, _ = lay_out(turns_of_task(task), tiny.processor)
        size = len(tape.ids)
        assert batch.ids[row, :size].tolist() == tape.ids
        assert torch.equal(batch.positions[:, row, :size], tape.positions())
        assert batch.trained[row, :size].tolist() == tape.trained
        assert not batch.trained[row, size:].any() and batch.slots[row] == tape.slots
    scenes = [scene for task in tasks for scene in task.pictures]
    assert batch.grids is not None and batch.frames is not None
    assert len(batch.grids) == len(batch.frames) == len(scenes)
    assert torch.equal(batch.frames, to_frames([render(scene) for scene in scenes]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_begins_at_any_step(tiny: DuoGenPipeline, workers: int) -> None:
    batches = WorldBatches(1, 2, tiny.processor, turns_of_task)
    stream = batches.stream(GROUP - 2, workers)
    for step in range(GROUP - 2, GROUP + 2):
        assert torch.equal(next(stream).ids, batches.batch(step).ids)


def test_both_ways_to_show_a_task_have_the_same_answer() -> None:
    for index in range(60):
        task = draw_task(2, index)
        whole, spoken = turns_of_task(task), spoken_turns_of_task(task)
        if any(isinstance(part, Image.Image) for _, parts in spoken for part in parts):
            assert task.shown
            assert len(spoken) == 2 or spoken == glimpsed_turns_of_task(task), "described, or shown by necessity"
            continue
        for (role, parts), (_, told) in zip(whole, spoken, strict=True):
            if role == "assistant":
                shown = [None if isinstance(part, Image.Image) else part for part in parts]
                assert shown == [part for part in told if part != ""]


def test_the_mixed_view_has_its_shares_and_hides_only_what_the_model_paints() -> None:
    tasks = [task for index in range(1200) if (task := draw_task(3, index)).turns[0].pictures]
    view = mixed_view(spoken=0.3, whole=0.2)
    shown = [[part for _, parts in view(task) for part in parts if isinstance(part, Image.Image)] for task in tasks]
    whole = sum(len(images) == len(task.pictures) for images, task in zip(shown, tasks, strict=True))
    assert abs(whole / len(tasks) - 0.2) < 0.08
    started = [len(images) for images, task in zip(shown, tasks, strict=True) if task.shown]
    # Told tasks show no picture, or the one that they describe.
    assert 0.02 < started.count(0) / len(started) < 0.3 < started.count(1) / len(started)

    glimpsed = mixed_view(spoken=0, whole=0)
    for task in tasks[:50]:
        for (role, parts), (_, all_parts) in zip(glimpsed(task), turns_of_task(task), strict=True):
            hidden = [None if isinstance(part, Image.Image) else part for part in all_parts]
            assert (parts == hidden) if role == "assistant" else (len(parts) == len(all_parts))
        assert rough_length(glimpsed(task)) <= rough_length(turns_of_task(task))


def test_lessons_come_first_and_in_fixed_shares(tiny: DuoGenPipeline) -> None:
    lessons = [draw_lesson(1, index) for index in range(24)]
    assert [lesson.kind for lesson in lessons] == ["set out", "list", *["point"] * 3, *["find"] * 3] * 3
    alike = [len({thing.colour for thing in lesson.start.things.values()}) == 1 for lesson in lessons[3::8]]
    assert all(alike), "every other shelf of things to find holds one colour, so that shapes must tell them apart"
    batches = WorldBatches(1, 8, tiny.processor, spoken_turns_of_task, lesson_steps=GROUP)
    for step in range(GROUP):
        # One lesson in eight, a list to set out, shows no picture.
        assert sorted(len(slots) for slots in batches.batch(step).slots) == [0] + [1] * 7
