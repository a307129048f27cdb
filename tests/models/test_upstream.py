from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from duogen.models.assembling import MLLMS, add_bov
from duogen.models.checkpoints import read_config
from duogen.models.decoding import Chunk
from duogen.models.layout import lay_out
from duogen.models.mllm import QwenVL, batch_states
from duogen.models.pipeline import load_processor
from duogen.models.upstream import UpstreamMLLM, see

FAMILIES = ["qwen2.5-vl", "qwen3-vl", "llava-onevision"]


def model_of(folder: Path) -> Any:
    model = MLLMS[read_config(folder)["architectures"][0]].from_pretrained(folder, dtype=torch.float32).eval()
    add_bov(model, load_processor(folder))
    return model


def picture(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), (220, 210, 190))
    image.paste((200, 30, 40), (4, 6, width // 2, height // 2))
    return image


TURNS: Any = [
    ("user", [picture(80, 60), "Draw a red ball, then", picture(50, 90)]),
    ("assistant", ["Step 1: here it is.", picture(64, 64), "Done."]),
]


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_a_dialogue_in_pieces_is_that_in_one(public: dict[str, Path], name: str) -> None:
    model, processor = model_of(public[name]), load_processor(public[name])
    tape, pixels = lay_out(TURNS, processor)
    assert pixels is not None and len(tape.slots) == 3
    grids = torch.tensor([slot.grid for slot in tape.slots])
    ids = torch.tensor(tape.ids)
    _, whole, _ = batch_states(model, ids[None], tape.positions()[:, None], pixels, grids)

    language = UpstreamMLLM(model)
    cache, states, rows = language.new_cache(), [], processor.pixel_rows(grids)
    cuts = [0, tape.slots[0].end, tape.slots[1].end, tape.slots[2].asked + 1, tape.slots[2].end, len(ids)]
    for start, end in pairwise(cuts):
        inside = [index for index, slot in enumerate(tape.slots) if start < slot.end <= end]
        own = torch.cat([pixels.split(rows)[index] for index in inside]) if inside else None
        chunk = Chunk(
            ids[start:end], tape.positions(start)[:, : end - start], cache, own, grids[inside] if inside else None
        )
        (out,) = language.extend([chunk])
        states.append(out.states)
    assert torch.allclose(torch.cat(states), whole[0], atol=2e-5)
    assert torch.allclose(out.logits, model.lm_head(whole[0, -1, -1]), atol=2e-5)
    blind = batch_states(model, ids[None], tape.positions()[:, None], torch.zeros_like(pixels), grids)[1]
    assert (blind - whole).abs().max() > 1e-3, "what pictures show must matter"


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl"])
def test_positions_are_those_of_upstream(public: dict[str, Path], name: str) -> None:
    model, processor = model_of(public[name]), load_processor(public[name])
    tape, _ = lay_out(TURNS, processor)
    ids = torch.tensor(tape.ids)[None]
    types = (ids == model.config.image_token_id).int()
    grids = torch.tensor([slot.grid for slot in tape.slots])
    positions, _ = model.model.get_rope_index(ids, mm_token_type_ids=types, image_grid_thw=grids)
    assert torch.equal(positions[:, 0], tape.positions())


@torch.no_grad()
def test_the_fast_path_gives_the_same(public: dict[str, Path]) -> None:
    model, processor = model_of(public["qwen2.5-vl"]), load_processor(public["qwen2.5-vl"])
    tape, pixels = lay_out(TURNS, processor)
    grids = torch.tensor([slot.grid for slot in tape.slots])
    results = []
    for language in (QwenVL(model), UpstreamMLLM(model)):
        chunk = Chunk(torch.tensor(tape.ids), tape.positions(), language.new_cache(), pixels, grids)
        results += language.extend([chunk])
    assert torch.allclose(results[0].states, results[1].states, atol=2e-5)
    assert torch.allclose(results[0].logits, results[1].logits, atol=2e-5)


@torch.no_grad()
def test_llava_sees_as_upstream_sees_pictures_in_number(public: dict[str, Path]) -> None:
    folder = public["llava-onevision"]
    model, processor = model_of(folder), load_processor(folder)
    images = [picture(80, 60), picture(50, 90)]
    pixels, grids = processor.pixels(images)
    given = LlavaOnevisionImageProcessorPil.from_pretrained(folder)([images], return_tensors="pt")
    assert torch.allclose(pixels, given["pixel_values"].flatten(0, 1), atol=1e-5)
    # Told of two pictures in one request, upstream makes one view of each.
    out = model.model.get_image_features(
        given["pixel_values"], given["image_sizes"], vision_feature_layer=-1, batch_num_images=torch.tensor([2])
    )
    assert torch.allclose(see(model, pixels, grids).embeddings, torch.cat(list(out.pooler_output)), atol=1e-5)
    assert len(processor.spread(grids[0]).offsets) == 17


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_packed_dialogues_do_not_see_one_another(public: dict[str, Path], name: str) -> None:
    model, processor = model_of(public[name]), load_processor(public[name])
    laid = [lay_out(turns, processor) for turns in (TURNS, [("user", ["How do I build a castle?", picture(70, 70)])])]
    alone = []
    for tape, pixels in laid:
        grids = torch.tensor([slot.grid for slot in tape.slots])
        alone.append(batch_states(model, torch.tensor([tape.ids]), tape.positions()[:, None], pixels, grids)[1][0])
    ids = torch.tensor([[*laid[0][0].ids, *laid[1][0].ids]])
    positions = torch.cat([tape.positions() for tape, _ in laid], dim=1)[:, None]
    order = torch.cat([torch.arange(len(tape.ids)) for tape, _ in laid])[None]
    grids = torch.tensor([slot.grid for tape, _ in laid for slot in tape.slots])
    pixels = torch.cat([pixels for _, pixels in laid if pixels is not None])
    together = batch_states(model, ids, positions, pixels, grids, order)[1][0]
    assert torch.allclose(together, torch.cat(alone), atol=2e-5)
