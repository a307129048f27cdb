from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

from duogen.errors import InputError
from duogen.models.assembling import assemble, matched
from duogen.models.keeping import Keeping, load_kept
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings, Session


@pytest.fixture(scope="module", params=["cosmos-predict2.5", "wan-t2v"])
def folder(public: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    made = tmp_path_factory.mktemp("kept") / "model"
    assemble(matched(str(public["qwen2.5-vl"]), str(public[request.param])), made, torch.bfloat16, size=32)
    return made


@torch.no_grad()
def dialogue(pipeline: DuoGenPipeline) -> torch.Tensor:
    """The latents of two pictures, behind text that is written first."""
    session = Session(pipeline, [("user", [Image.new("RGB", (64, 48), "red"), "Draw a ball."])])
    list(session.decode(DecodeSettings(max_tokens=5)))
    latents = []
    for number in range(2):
        session.ask()
        painted = session.paint(PaintSettings(steps=2, guidance=2.0, seed=number))
        session.append(painted.image, painted.latent)
        latents.append(painted.latent)
    return torch.cat(latents).float()


@pytest.mark.parametrize("words", ["offload-layer", "offload-model", "tiling"])
def test_where_weights_wait_changes_nothing(folder: Path, words: str) -> None:
    kept = dialogue(load_kept(folder, Keeping.parse(words), "cpu"))
    assert torch.allclose(kept, dialogue(DuoGenPipeline.from_pretrained(folder)), atol=2e-5)


def test_components_take_turns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = load_kept(folder, Keeping(offload="model"), "cpu")
    moved: list[tuple[str, str]] = []
    for name in ("mllm", "transformer", "vae"):
        part = getattr(pipeline, name)
        monkeypatch.setattr(part, "to", lambda where, name=name: moved.append((name, str(where))))
    pipeline.place(torch.device("meta"), swapping=True)
    pipeline.bring("transformer")
    assert moved == [("mllm", "cpu"), ("transformer", "meta"), ("vae", "cpu")]


def test_weights_in_other_numbers(folder: Path) -> None:
    exact = dialogue(load_kept(folder, Keeping(), "cpu"))
    half = load_kept(folder, Keeping.parse("bfloat16"), "cpu")
    assert half.mllm.dtype == half.transformer.dtype == torch.bfloat16
    assert (dialogue(half) - exact).abs().max() < 0.3


@pytest.mark.skipif(find_spec("torchao") is None, reason="torchao isn't installed; .ci/run installs it for this test")
def test_quantised(folder: Path) -> None:
    whole, small = load_kept(folder, Keeping(), "cpu"), load_kept(folder, Keeping.parse("int8,float32"), "cpu")
    weight = small.mllm.model.language_model.layers[0].mlp.up_proj.weight
    assert type(weight) is not type(whole.mllm.model.language_model.layers[0].mlp.up_proj.weight)
    apart = (dialogue(small) - dialogue(whole)).abs().max()
    assert 0 < apart < 0.5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_four_bits_need_a_gpu(folder: Path) -> None:
    with pytest.raises(InputError, match="nf4 needs a GPU"):
        load_kept(folder, Keeping.parse("nf4"), "cpu")


def test_words_that_say_nothing() -> None:
    assert Keeping.parse("bfloat16, offload-layer,tiling") == Keeping("bfloat16", None, "layer", True)
    for text, message in (("int7", "'int7' isn't a way"), ("int8,nf4", "there is 'int8' already")):
        with pytest.raises(InputError, match=message):
            Keeping.parse(text)
