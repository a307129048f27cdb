from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from PIL import Image
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from duogen.benchmarks.rivals import upstream
from duogen.models import decoding
from duogen.models.decoding import ROOM, Chunk, PackedDecoder, RoomyLayer, new_cache
from duogen.models.layout import lay_out
from duogen.models.mllm import small_qwen
from duogen.models.pipeline import DuoGenPipeline


def model(tiny: DuoGenPipeline, kv_heads: int) -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(0)
    made = small_qwen(tiny.processor, 64, 3, 2, kv_heads, 32, 1).eval()
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return made


def chunks(tiny: DuoGenPipeline, words: str, shade: int, cache: object) -> list[Chunk]:
    """A dialogue in pieces: words, a picture and more words behind them, then token by token."""
    picture = Image.new("RGB", (48 + shade, 64), (shade, 90, 255 - shade))
    tape, pixels = lay_out([("user", [words]), ("user", [picture, words]), ("assistant", [])], tiny.processor, True)
    first = tape.slots[0].asked
    cuts = [0, first, len(tape.ids) - 4, *range(len(tape.ids) - 3, len(tape.ids) + 1)]
    grids = torch.tensor([slot.grid for slot in tape.slots])
    return [
        Chunk(
            torch.tensor(tape.ids[start:end]),
            tape.positions()[:, start:end],
            cache,
            *((pixels, grids) if start == first else (None, None)),
        )
        for start, end in pairwise(cuts)
    ]


@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("copied", [True, False])
def test_dialogues_in_one_row_are_read_as_each_by_itself(
    tiny: DuoGenPipeline, kv_heads: int, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not copied:
        monkeypatch.setattr(decoding, "LARGEST_COPY", 0)
    qwen = model(tiny, kv_heads)
    decoder = PackedDecoder(qwen)
    caches = [new_cache(qwen) for _ in range(3)]
    plain = [DynamicCache(config=qwen.config.get_text_config()) for _ in caches]
    dialogues = [
        chunks(tiny, words, shade, cache)
        for words, shade, cache in zip(("a ball", "two red cubes", "x"), (0, 80, 200), caches, strict=True)
    ]
    # Out of step, so that words, pictures and single tokens meet in a row.
    for wait, (dialogue, cache) in enumerate(zip(dialogues, caches, strict=True)):
        for piece in dialogue[:wait]:
            decoder([piece])
            upstream(qwen, piece._replace(cache=plain[caches.index(cache)]))
        del dialogue[:wait]
    while all(dialogues):
        row = [dialogue.pop(0) for dialogue in dialogues]
        for (logits, states), kept, piece in zip(decoder(row), plain, row, strict=True):
            expected, expected_states = upstream(qwen, piece._replace(cache=kept))
            assert torch.allclose(logits, expected, atol=1e-3) and logits.abs().max() > 0.1
            assert states.shape == (len(piece.ids), 3, 64) and torch.allclose(states, expected_states, atol=1e-3)
    for cache, kept in zip(caches, plain, strict=True):
        assert cache.get_seq_length() == kept.get_seq_length()
        for ours, theirs in zip(cache.layers, kept.layers, strict=True):
            assert torch.allclose(ours.keys, theirs.keys, atol=1e-3)
            assert torch.allclose(ours.values, theirs.values, atol=1e-3)


def test_a_cache_grows_by_rooms_and_keeps_what_it_has() -> None:
    layer = RoomyLayer(torch.empty(0), 2, 4)
    parts = [torch.randn(1, 2, count, 4) for count in (3, 1, ROOM, 1, 2 * ROOM)]
    homes = set()
    for part in parts:
        keys, values = layer.update(part, -part)
        homes.add(keys.data_ptr())
        assert torch.equal(keys, -values)
    assert torch.equal(keys, torch.cat(parts, dim=2)) and layer.get_seq_length() == 3 * ROOM + 5
    assert len(homes) < len(parts) and all(room.isfinite().all() for room in layer.rooms), (
        "one more token is no copy of all"
    )
