from __future__ import annotations

import pytest
import torch
from PIL import Image

from duogen.models.layout import lay_out
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV, IM_END, IMAGE_PAD, VISION_END, VISION_START

WIDE, TALL = Image.new("RGB", (96, 64), "red"), Image.new("RGB", (64, 128), "blue")
TURNS = [
    ("user", [WIDE, "Look."]),
    ("assistant", ["One.", TALL, "Two.", WIDE, "End."]),
    ("user", ["More."]),
    ("assistant", [TALL]),
]


def test_positions_are_those_of_the_upstream_model(tiny: DuoGenPipeline) -> None:
    tape, pixels = lay_out(TURNS, tiny.processor)
    ids = torch.tensor([tape.ids])
    kinds = (ids == tiny.processor.id(IMAGE_PAD)).int()
    grids = torch.tensor([slot.grid for slot in tape.slots])
    upstream, _ = tiny.mllm.model.get_rope_index(ids, kinds, image_grid_thw=grids)
    assert torch.equal(tape.positions(), upstream[:, 0])
    assert pixels is not None and len(pixels) == int(grids.prod(-1).sum())


def test_only_the_assistant_is_trained(tiny: DuoGenPipeline) -> None:
    processor = tiny.processor
    tape, _ = lay_out(TURNS, processor)
    trained = [token for token, wanted in zip(tape.ids, tape.trained, strict=True) if wanted]
    words = [*processor.encode("One."), processor.id(BOV), *processor.encode("Two."), processor.id(BOV)]
    words += [*processor.encode("End."), processor.id(IM_END), processor.id(BOV), processor.id(IM_END)]
    assert trained == words


def test_slots_name_what_a_picture_may_read(tiny: DuoGenPipeline) -> None:
    processor = tiny.processor
    tape, _ = lay_out(TURNS, processor)
    given, first, second, last = tape.slots
    assert tape.ids[given.asked] == processor.id(VISION_START) and not given.generated
    for slot in (first, second, last):
        assert tape.ids[slot.asked] == processor.id(BOV) and slot.generated
    assert all(tape.ids[slot.end - 1] == processor.id(VISION_END) for slot in tape.slots)


def test_the_negative_branch_drops_the_last_text_segment_alone(tiny: DuoGenPipeline) -> None:
    tape, _ = lay_out(TURNS, tiny.processor)
    given, first, second, last = tape.slots
    assert tape.unconditional(first.asked) == given.end
    assert tape.unconditional(second.asked) == first.end
    assert tape.unconditional(last.asked) == second.end, "the user's second request is part of the last segment"
    assert tape.unconditional(given.asked) == 1, "with no picture before, the first token stays"


def test_an_open_end_can_be_continued(tiny: DuoGenPipeline) -> None:
    processor = tiny.processor
    whole, _ = lay_out(TURNS[:2], processor)
    open_end, _ = lay_out(TURNS[:2], processor, open_end=True)
    assert whole.ids[: len(open_end.ids)] == open_end.ids and whole.ids[len(open_end.ids)] == processor.id(IM_END)
    asked, _ = lay_out(TURNS[:1], processor, open_end=True)
    assert asked.ids == open_end.ids[: len(asked.ids)]


def test_a_generated_picture_needs_its_bov(tiny: DuoGenPipeline) -> None:
    tape, _ = lay_out(TURNS[:1], tiny.processor, open_end=True)
    with pytest.raises(ValueError, match="BOV"):
        tape.add_picture(torch.tensor([1, 4, 4]), generated=True)
