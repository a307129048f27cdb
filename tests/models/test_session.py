"""The fast path against the strict one.

The tolerance is 2e-5 in float32, absolute: both paths do the same sums in another order. It holds for hidden states
after the connector, for every block's condition keys and values, and for final latents; texts must be equal.
"""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor

from duogen.errors import InputError
from duogen.models import strict
from duogen.models.denoiser import Denoiser
from duogen.models.dit import KeyValue
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings, Session, pick

TOLERANCE = 2e-5
PAINT = PaintSettings(steps=3, guidance=2.5, guidance_interval=(0.0, 0.9))


def given_picture() -> Image.Image:
    image = Image.new("RGB", (96, 64), "white")
    image.paste((210, 40, 40), (16, 16, 50, 50))
    return image


@pytest.mark.parametrize("mode", ["causal", "full"])
@pytest.mark.parametrize("segment_heads", [0, 1])
@torch.no_grad()
def test_fast_and_strict_agree(tiny: DuoGenPipeline, mode: str, segment_heads: int) -> None:
    tiny.register_to_config(attention_mode=mode)
    tiny.painter.segment_heads = segment_heads
    session = Session(tiny, [("user", [given_picture(), "Paint the cube red."])])
    pixels = [tiny.processor.pixels([given_picture()])[0]]
    for number in range(4):
        expected, stop = strict.write(tiny, session.tape, torch.cat(pixels), 7)
        start = len(session.tape.ids)
        text = "".join(session.decode(DecodeSettings(max_tokens=7)))
        written = session.tape.ids[start:]
        # The fast path also stops where the text runs into a loop; up to there both must write the same.
        text_ids = written[:-1] if session.stopped == "picture" else written
        assert text_ids == expected[: len(text_ids)] and text == tiny.processor.decode(text_ids)
        assert len(text_ids) == len(expected) or session.stopped == "repetition"
        if session.stopped == "picture":
            assert stop == tiny.processor.id(BOV)
        else:
            session.ask()
        asked = len(session.tape.ids) - 1

        _, states = strict.prefill(tiny, session.tape, torch.cat(pixels), asked)
        vectors = tiny.connector(states)
        settings = PAINT.for_picture(number)
        size = {"width": 64, "height": 96} if number == 2 else {"width": 64, "height": 64}
        settings = settings.model_copy(update=size)
        latent = strict.paint(tiny, session.tape, torch.cat(pixels), session.latents, asked, settings)
        painted = session.paint(settings)

        for (key, value), (kept_key, kept_value) in zip(
            tiny.painter.context(vectors), session.condition(asked), strict=True
        ):
            assert torch.allclose(key, kept_key, atol=TOLERANCE) and torch.allclose(value, kept_value, atol=TOLERANCE)
        assert torch.allclose(painted.latent, latent, atol=TOLERANCE)
        assert latent.std() > 0.3, "a latent without spread would compare equal to anything like it"
        session.append(painted.image, painted.latent)
        pixels.append(tiny.processor.pixels([painted.image])[0])
    assert len(session.tape.slots) == 5


@pytest.mark.parametrize(
    ("asked", "first", "later"),
    [(PaintSettings(), 3, 2), (PaintSettings(steps=4), 4, 4), (PaintSettings(first_steps=5), 5, 2)],
)
def test_a_first_picture_has_steps_of_its_own(
    tiny: DuoGenPipeline, asked: PaintSettings, first: int, later: int
) -> None:
    """The checkpoint's own numbers; a request's number is for all pictures, unless it says otherwise."""
    tiny.register_to_config(default_steps=2, default_first_steps=3)

    def painted(session: Session) -> int:
        told: list[int] = []
        session.ask()
        done = session.paint(asked, lambda step, steps: told.append(steps))
        session.append(done.image, done.latent)
        assert told == [len(told)] * len(told)
        return len(told)

    session = Session(tiny, [("user", ["Paint a cube."])])
    assert [painted(session) for _ in range(3)] == [first, later, later]
    assert painted(Session(tiny, [("user", [given_picture(), "Paint the cube red."])])) == later


@torch.no_grad()
def test_guidance_and_conditions_matter(tiny: DuoGenPipeline) -> None:
    """What the agreement above compares must depend on what it is said to depend on."""

    def latent(text: str, image: Image.Image | None, guidance: float, seed: int = 1) -> torch.Tensor:
        session = Session(tiny, [("user", [*([image] if image else []), text])])
        session.ask()
        return session.paint(PaintSettings(steps=3, guidance=guidance, width=64, height=64, seed=seed)).latent

    base = latent("a red ball", given_picture(), 2.0)
    assert torch.equal(base, latent("a red ball", given_picture(), 2.0)), "the same seed paints the same picture"
    for other in (
        latent("a blue cup", given_picture(), 2.0),
        latent("a red ball", given_picture().rotate(180), 2.0),
        latent("a red ball", None, 2.0),
        latent("a red ball", given_picture(), 1.0),
        latent("a red ball", given_picture(), 2.0, seed=2),
    ):
        assert (other - base).abs().max() > 1e-3


def test_a_session_can_be_rebuilt_from_its_dialogue(tiny: DuoGenPipeline) -> None:
    first = Session(tiny, [("user", ["Draw a cup."])])
    first.ask()
    painted = first.paint(PaintSettings(steps=2, width=64, height=64))
    first.append(painted.image, painted.latent)
    first.ask()
    again = Session(tiny, [("user", ["Draw a cup."]), ("assistant", [painted.image])], {0: painted.latent})
    again.ask()
    assert again.tape.ids == first.tape.ids
    settings = PaintSettings(steps=2, width=64, height=64, seed=4)
    assert torch.allclose(first.paint(settings).latent, again.paint(settings).latent, atol=TOLERANCE)


def test_a_picture_is_read_by_the_dit_when_another_follows(
    tiny: DuoGenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []

    def keep(denoiser: Denoiser, latents: Tensor) -> list[list[KeyValue]]:
        kept.append(len(kept))
        return inner(denoiser, latents)

    inner = Denoiser.keep
    monkeypatch.setattr(Denoiser, "keep", keep)
    session, settings = Session(tiny, [("user", ["Draw a cup."])]), PaintSettings(steps=1, width=64, height=64)
    shown = []
    for number in range(4):
        session.ask()
        painted = session.paint(settings)
        assert len(kept) == number
        # In place of the last one, another picture than was painted goes on.
        image = given_picture() if number == 3 else painted.image
        session.append(image, tiny.encode_picture(image) if number == 3 else painted.latent)
        shown.append(tiny.processor.pixels([image])[0])
    session.ask()
    asked, latents = len(session.tape.ids) - 1, session.latents
    expected = strict.paint(tiny, session.tape, torch.cat(shown), latents, asked, settings)
    assert torch.allclose(session.paint(settings).latent, expected, atol=TOLERANCE) and len(kept) == 4


def test_sizes_that_do_not_fit(tiny: DuoGenPipeline) -> None:
    session = Session(tiny, [("user", ["Draw."])])
    session.ask()
    with pytest.raises(InputError, match="multiples of 32"):
        session.paint(PaintSettings(width=100))


def test_pick() -> None:
    logits = torch.tensor([0.0, 3.0, 2.0, -1.0])
    generator = torch.Generator().manual_seed(0)
    assert pick(logits, DecodeSettings(), generator) == 1
    nucleus = DecodeSettings(temperature=1.0, top_p=0.5)
    assert {pick(logits, nucleus, generator) for _ in range(50)} == {1}
    free = DecodeSettings(temperature=2.0)
    assert len({pick(logits, free, generator) for _ in range(200)}) == 4


def test_limits_end_the_text(tiny: DuoGenPipeline) -> None:
    session = Session(tiny, [("user", ["Say something."])])
    bias = torch.zeros(tiny.mllm.config.text_config.vocab_size)
    word = tiny.processor.encode("a")[0]
    bias[word] = 1e4
    tiny.mllm.lm_head.bias = torch.nn.Parameter(bias)
    session = Session(tiny, [("user", ["Say something."])])
    "".join(session.decode(DecodeSettings(max_tokens=3)))
    assert session.stopped == "length"
    "".join(session.decode(DecodeSettings(max_tokens=100)))
    assert session.stopped == "repetition"
