from __future__ import annotations

import pytest
import torch

from duogen.errors import InputError
from duogen.models.layout import lay_out
from duogen.models.mllm import batch_states
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV
from duogen.models.vae import PatchCodec, to_frames, to_latents, to_pixels
from duogen.training.codec import fit_codec
from duogen.training.config import load_recipe
from duogen.training.data import draw_task, turns_of_task
from duogen.training.renew import renew_dit, renew_mllm
from duogen.training.tokenizer import train_processor
from duogen.training.world.render import render

TASK = next(task for index in range(50) if (task := draw_task(3, index)).shown)


@torch.no_grad()
def test_words_that_stay_whole_are_understood_as_before(tiny: DuoGenPipeline) -> None:
    old = tiny.processor
    side = old.image_processor.patch_size
    texts = [turn.request for index in range(300) for turn in draw_task(9, index).turns]
    new = train_processor(texts, len(old.tokenizer) + 100, side, 192 * 192)
    renewed = renew_mllm(tiny.mllm, old, new)
    words, before = (model.get_input_embeddings().weight for model in (renewed, tiny.mllm))
    assert torch.equal(words[new.id(BOV)], before[old.id(BOV)])
    same = new.tokenizer.get_vocab().keys() & old.tokenizer.get_vocab().keys()
    assert len(same) > 250
    for piece in same:
        assert torch.equal(words[new.id(piece)], before[old.id(piece)])
    long = next(
        piece for piece in new.tokenizer.get_vocab() if piece not in same and piece.isascii() and piece.isalpha()
    )
    ids = old.tokenizer(long)["input_ids"]
    assert torch.allclose(words[new.id(long)], before[ids].mean(0), atol=1e-6)
    assert renewed.config.image_token_id != tiny.mllm.config.image_token_id
    tape, pixels = lay_out(turns_of_task(TASK), new)
    ids = torch.tensor([tape.ids])
    grids = torch.tensor([slot.grid for slot in tape.slots])
    states, _, _ = batch_states(renewed, ids, tape.positions()[:, None], pixels, grids)
    assert states.isfinite().all()


@torch.no_grad()
def test_the_same_picture_is_seen_and_painted_through_a_wider_codec(tiny: DuoGenPipeline) -> None:
    """A codec with all old components and some more: what the DiT reads is the same, what it writes looks the same."""
    old: PatchCodec = tiny.vae
    images = [render(scene) for index in range(12) for scene in draw_task(4, index).pictures]
    patch, channels = old.config.patch_size, old.config.z_dim
    new = fit_codec(images, patch, 3 * patch**2, 0.5, old.mean)
    renewed = renew_dit(tiny.transformer, old, new)
    frames = to_pixels(to_frames([render(TASK.pictures[0])]))
    mask = torch.ones(1, 1, 1, *to_latents(old, frames).shape[-2:])
    seen = [
        model.patch_embed(torch.cat([to_latents(codec, frames).unsqueeze(2), mask], 1))
        for model, codec in ((tiny.transformer, old), (renewed, new))
    ]
    assert torch.allclose(*seen, atol=1e-3)
    hidden = torch.randn(1, 5, tiny.transformer.proj_out.in_features)
    written = [
        (model.proj_out(hidden).unflatten(2, (-1, codec.config.z_dim)) * torch.tensor(codec.config.latents_std))
        @ codec.basis.T
        for model, codec in ((tiny.transformer, old), (renewed, new))
    ]
    assert torch.allclose(*written, atol=1e-3) and written[0].std() > 0.1
    assert renewed.config.out_channels == 3 * patch**2 > channels


def test_nothing_can_be_renewed_without_a_start(tmp_path) -> None:
    recipe = tmp_path / "bad.toml"
    stage = "steps = 1\nbatch_size = 1\nlearning_rate = 1e-3\n"
    recipe.write_text(
        "renew = ['codec']\n" + "".join(f"[{name}]\n{stage}" for name in ("pretrain", "stage1", "stage2"))
    )
    with pytest.raises(InputError, match="there is no start"):
        load_recipe(recipe)
