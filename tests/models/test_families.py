"""Every MLLM with every transformer: sessions give what a prefill from nothing gives, whatever runs them."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import pytest
import torch
from checkpoints import DITS, MLLMS
from PIL import Image

from duogen.cli import run
from duogen.document import Document, Picture, write_jsonl
from duogen.errors import InputError
from duogen.models import strict
from duogen.models.assembling import assemble, matched
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings, Session

PAIRS = list(product(MLLMS, DITS))


@pytest.fixture(scope="session")
def assembled(public: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """A pipeline folder of each pair."""
    home = tmp_path_factory.mktemp("assembled")
    for mllm, dit in PAIRS:
        parts = matched(str(public[mllm]), str(public[dit]))
        assemble(parts, home / f"{mllm}+{dit}", torch.float32, size=32)
    return {pair: home / "+".join(pair) for pair in PAIRS}


def loaded(folder: Path, mode: str = "full") -> DuoGenPipeline:
    pipeline = DuoGenPipeline.from_pretrained(folder)
    torch.manual_seed(1)
    for weight in pipeline.transformer.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    pipeline.register_to_config(attention_mode=mode)
    return pipeline


def picture(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), (220, 210, 190))
    image.paste((200, 30, 40), (4, 6, width // 2, height // 2))
    return image


# A Wan image-to-video transformer has no causal mode.
MODES = [(pair, mode) for pair, mode in product(PAIRS, ["full", "causal"]) if (pair[1], mode) != ("wan-i2v", "causal")]


@pytest.mark.parametrize(("pair", "mode"), MODES)
@torch.no_grad()
def test_sessions_agree_with_the_strict_path(
    assembled: dict[tuple[str, str], Path], pair: tuple[str, str], mode: str
) -> None:
    pipeline = loaded(assembled[pair], mode)
    given = [picture(80, 64), picture(48, 64)]
    session = Session(pipeline, [("user", [given[0], "Draw a red ball.", given[1]])])
    pixels = [pipeline.processor.pixels(given)[0]]
    for number in range(2):
        expected, _ = strict.write(pipeline, session.tape, torch.cat(pixels), 4)
        start = len(session.tape.ids)
        list(session.decode(DecodeSettings(max_tokens=4)))
        assert session.tape.ids[start : start + len(expected)] == expected
        if not session.asking:
            session.ask()
        settings = PaintSettings(steps=2, guidance=2.0, width=32, height=48, seed=number)
        latent = strict.paint(
            pipeline, session.tape, torch.cat(pixels), session.latents, len(session.tape.ids) - 1, settings
        )
        painted = session.paint(settings)
        assert torch.allclose(painted.latent, latent, atol=5e-5)
        session.append(painted.image, painted.latent)
        pixels.append(pipeline.processor.pixels([painted.image])[0])


@torch.no_grad()
def test_layer_by_layer_gives_the_same(assembled: dict[tuple[str, str], Path]) -> None:
    latents = []
    for plain in (False, True):
        pipeline = loaded(assembled["qwen2.5-vl", "cosmos-predict2.5"])
        pipeline.run_plainly(plain)
        session = Session(pipeline, [("user", [picture(80, 64), "Draw."])])
        session.ask()
        latents.append(session.paint(PaintSettings(steps=2, guidance=2.0, width=32, height=48)).latent)
    assert torch.allclose(*latents, atol=2e-5)


@pytest.fixture(scope="session")
def tuned(
    assembled: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """An MLLM that stage 1 has taught one answer by heart, with three pictures."""
    home = tmp_path_factory.mktemp("tuned")
    document = Document()
    document.add_request("Draw three balls.")
    document.add_message("assistant")
    for colour in ("red", "green", "blue"):
        document.add_text(f"A {colour} ball.\n")
        document.add_picture(Picture.from_image(picture(48, 48)))
    document.add_text("Done.")
    write_jsonl([document] * 4, home / "documents.jsonl")
    (home / "config.toml").write_text(
        f"""
        model = "{assembled[request.param, "cosmos-predict2.5"]}"
        [data]
        train = ["documents.jsonl"]
        [stage1]
        steps = 70
        packs_per_step = 1
        pack_tokens = 700
        learning_rate = 4e-3
        precision = "float32"
        """
    )
    assert run(["train", "stage1", str(home / "config.toml"), "-o", str(home / "run"), "-q"]) == 0
    return home / "run" / "model" / "mllm"


@pytest.mark.parametrize("tuned", list(MLLMS), indirect=True)
def test_each_pair_plans_three_pictures(
    assembled: dict[tuple[str, str], Path], tuned: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """From public checkpoints to a plan: put together, tuned, saved, loaded, asked."""
    mllm = request.node.callspec.params["tuned"]
    for dit in DITS:
        folder = tmp_path / dit
        shutil.copytree(assembled[mllm, dit], folder)
        shutil.rmtree(folder / "mllm")
        shutil.copytree(tuned, folder / "mllm")
        assert (
            run(
                [
                    "plan",
                    "Draw three balls.",
                    "-m",
                    str(folder),
                    "-o",
                    str(tmp_path / f"plan-{dit}"),
                    "--steps",
                    "2",
                    "-q",
                ]
            )
            == 0
        )
        plan = Document.load(tmp_path / f"plan-{dit}")
        assert [part.type for part in plan.messages[-1].content] == ["text", "image"] * 3 + ["text"]
        assert plan.messages[-1].text.split() == [
            "A",
            "red",
            "ball.",
            "A",
            "green",
            "ball.",
            "A",
            "blue",
            "ball.",
            "Done.",
        ]
        assert len({part.sha256 for part in plan.images}) == 3


def test_what_a_transformer_cannot_do_is_said(assembled: dict[tuple[str, str], Path]) -> None:
    parts = DuoGenPipeline.from_pretrained(assembled["qwen2.5-vl", "wan-i2v"]).components
    with pytest.raises(InputError, match="no causal mode"):
        DuoGenPipeline(**parts, attention_mode="causal")
    with pytest.raises(InputError, match="predicts velocities"):
        DuoGenPipeline(**parts, prediction_type="sample")
