"""onnxruntime gives the numbers of torch, for every size that the exported files weren't made from."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from duogen.agent.agent import Agent
from duogen.cli import run
from duogen.errors import DuoGenError
from duogen.loading import load, onnx_folder
from duogen.models.backend import TorchBackend
from duogen.models.decoding import ROOM, Chunk, PackedDecoder, new_cache
from duogen.models.exporting import FORM, MANIFEST, OnnxMissingError, export, is_exported, write_reading
from duogen.models.onnx import OnnxBackend
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.sampler import PaintSettings
from duogen.models.seeing import Eyes
from duogen.models.session import Session


@pytest.fixture(scope="module")
def exported(default_agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads, folder = torch.get_num_threads(), tmp_path_factory.mktemp("onnx")
    paths = export(default_agent.pipeline, folder)
    names = ["denoising_step.onnx", "connector.onnx", "vae_decoder.onnx", "language_model.onnx", "vision_encoder.onnx"]
    assert [path.name for path in paths] == names
    yield folder
    torch.set_num_threads(threads)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("tokens", [36, 20])
@pytest.mark.parametrize("past", [0, 72])
@pytest.mark.parametrize("masked", [True, False])
@torch.no_grad()
def test_a_step_is_that_of_torch(
    default_agent: Agent, exported: Path, rows: int, tokens: int, past: int, masked: bool
) -> None:
    pipeline = default_agent.pipeline
    config = pipeline.transformer.config
    blocks, heads, size = config.num_layers, config.num_attention_heads, config.attention_head_dim
    near = pipeline.config.segment_heads
    torch.manual_seed(rows)
    kept = [[torch.randn(rows, heads, past + tokens, size) for _ in range(blocks)] for _ in range(2)]
    other = [[part.clone() for part in parts] for parts in kept]
    text = [[torch.randn(rows, *group, size) for group in [(near, 12), (heads - near, 31)] * blocks] for _ in range(2)]
    reads = torch.zeros(rows, 1, 1, 31)
    reads[..., 20:] = float("-inf")
    sees = torch.zeros(rows, 1, 1, past + tokens)
    sees[..., :5] = float("-inf")
    given = torch.randn(rows, tokens, 256), torch.randn((9 * blocks + 3) * heads * size), torch.ones(1, 1, 1)
    angles = torch.randn(rows, tokens, size // 2).repeat(1, 1, 2)
    rest = (*text, [None, reads], torch.randn(rows, tokens, heads * size), sees if masked else None, None)
    ours, theirs = (
        step(*given, *step.turning(angles.cos(), angles.sin()), *parts, *rest)
        for step, parts in (
            (OnnxBackend(pipeline, exported).step(pipeline.painter), kept),
            (TorchBackend(pipeline).step(pipeline.painter), other),
        )
    )
    for one, two in zip((ours[0], *ours[1], *ours[2]), (theirs[0], *theirs[1], *theirs[2]), strict=True):
        assert one.shape == two.shape and torch.allclose(one, two, rtol=1e-3, atol=1e-3) and two.abs().max() > 0.1


@pytest.mark.parametrize("counts", [(1, 1, 7, 1), (40, 1, 1, 36, 1), (ROOM - 1, 1, 1, ROOM, 3)])
@torch.no_grad()
def test_text_is_read_as_by_torch(default_agent: Agent, exported: Path, counts: tuple[int, ...]) -> None:
    mllm = default_agent.pipeline.mllm
    alone = PackedDecoder(mllm, OnnxBackend(default_agent.pipeline, exported).reading())
    together, caches = PackedDecoder(mllm), [new_cache(mllm), new_cache(mllm)]
    torch.manual_seed(len(counts))
    for number, count in enumerate(counts):
        ids, before = torch.randint(0, 900, (count,)), caches[0].get_seq_length()
        positions = torch.arange(before, before + count) + torch.tensor([[0], [number], [3]])  # as among pictures
        (ours,), (theirs,) = (
            decoder([Chunk(ids, positions, cache)]) for decoder, cache in zip((alone, together), caches, strict=True)
        )
        assert torch.allclose(ours.logits, theirs.logits, atol=1e-3) and theirs.logits.abs().max() > 1
        assert ours.states.shape == theirs.states.shape and torch.allclose(ours.states, theirs.states, atol=1e-3)
    assert caches[0].get_seq_length() == caches[1].get_seq_length() == sum(counts)
    for one, other in zip(caches[0].layers, caches[1].layers, strict=True):
        assert torch.allclose(one.keys, other.keys, atol=1e-3)
        assert torch.allclose(one.values, other.values, atol=1e-3)


@torch.no_grad()
def test_with_matrices_in_8_bit_text_is_read_nearly_as_by_torch(
    default_agent: Agent, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, bool]] = []

    def lend(pipeline: DuoGenPipeline, folder: Path, int8: bool) -> None:
        asked.append((folder, int8))
        shutil.copytree(exported, folder)
        write_reading(pipeline, folder / "language_model.onnx", int8)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("duogen.models.exporting.export", lend)
    agent = load(backend="onnx", memory="int8")
    assert asked == [(onnx_folder(agent.pipeline, int8=True), True)] and "int8" in str(asked[0][0])
    sizes = [(folder / "language_model.onnx").stat().st_size for folder in (asked[0][0], exported)]
    assert sizes[0] < 0.4 * sizes[1]
    mllm, words = agent.pipeline.mllm, agent.pipeline.processor.encode("Put a red ball in the bottom right, please.")
    decoders, caches = (
        [PackedDecoder(mllm, agent.pipeline.backend.reading()), PackedDecoder(mllm)],
        [new_cache(mllm), new_cache(mllm)],
    )
    for number, token in enumerate(words):
        chunks = [Chunk(torch.tensor([token]), torch.full((3, 1), number), cache) for cache in caches]
        (ours,), (theirs,) = (decoder([chunk]) for decoder, chunk in zip(decoders, chunks, strict=True))
        for one, other in ((ours.logits, theirs.logits), (ours.states, theirs.states)):
            assert 1e-4 < (one - other).norm() / other.norm() < 0.08


@pytest.mark.parametrize("size", [(128, 128), (192, 96)])
@torch.no_grad()
def test_pictures_are_seen_as_by_torch(default_agent: Agent, exported: Path, size: tuple[int, int]) -> None:
    pipeline = default_agent.pipeline
    pixels, grids = pipeline.processor.pixels([Image.effect_noise(size, 90).convert("RGB")])
    ours = Eyes(pipeline.mllm, OnnxBackend(pipeline, exported).seeing())(pixels, grids)
    assert torch.allclose(ours, Eyes(pipeline.mllm)(pixels, grids), atol=1e-4 * float(ours.abs().max()))


@torch.no_grad()
def test_connector_and_decoder_are_those_of_torch(default_agent: Agent, exported: Path) -> None:
    pipeline = default_agent.pipeline
    ours, theirs = OnnxBackend(pipeline, exported), TorchBackend(pipeline)
    for count in (1, 50):
        states = torch.randn(1, count, 4, 192)
        for one, other in zip(ours.condition(states), theirs.condition(states), strict=True):
            for mine, its in zip(one, other, strict=True):
                assert mine.shape == its.shape and torch.allclose(mine, its, atol=1e-3) and its.abs().max() > 0.1
    for sides in ((12, 12), (10, 14)):
        latent = torch.randn(1, 64, *sides)
        assert ours.decode(latent).shape == (1, 3, 16 * sides[0], 16 * sides[1])
        assert torch.allclose(ours.decode(latent), theirs.decode(latent), atol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_plans_have_the_same_pictures(default_agent: Agent, exported: Path, guidance: float) -> None:
    pipeline, settings = default_agent.pipeline, PaintSettings(steps=3, guidance=guidance)
    plain = default_agent.plan("How do I build a small red house?", settings=settings)
    kept, pipeline.backend = pipeline.backend, OnnxBackend(pipeline, exported)
    try:
        plan = default_agent.plan("How do I build a small red house?", settings=settings)
    finally:
        pipeline.backend = kept
    assert plan.text == plain.text and len(plan.pictures) > 2
    for one, other in zip(plan.pictures, plain.pictures, strict=True):
        assert abs(np.asarray(one.image(), int) - np.asarray(other.image(), int)).max() <= 2


def test_files_of_other_weights_are_refused(default_agent: Agent, exported: Path, tmp_path: Path) -> None:
    for manifest in (None, {"weights": "ours, of an earlier version"}):
        if manifest is not None:
            (tmp_path / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(DuoGenError, match="no model there that this version has exported"):
            OnnxBackend(default_agent.pipeline, tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps({"form": FORM, "weights": "others"}))
    with pytest.raises(DuoGenError, match="exported from other weights"):
        OnnxBackend(default_agent.pipeline, tmp_path)
    assert is_exported(exported) and not is_exported(tmp_path / "none")


def test_the_command_line_finds_the_files_by_their_weights(
    default_agent: Agent,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = onnx_folder(default_agent.pipeline)
    assert folder.is_relative_to(tmp_path)
    shutil.copytree(exported, folder)
    monkeypatch.setattr("duogen.models.exporting.export", lambda *_: pytest.fail("exported once more"))
    cups = [tmp_path / f"{backend}.png" for backend in ("onnx", "torch")]
    for cup in cups:
        assert (
            run(["draw", "a red cup in the centre", "-o", str(cup), "--steps", "2", "--backend", cup.stem, "-q"]) == 0
        )
    one, other = (np.asarray(Image.open(cup), int) for cup in cups)
    assert abs(one - other).max() <= 2
    capsys.readouterr()
    assert run(["draw", "a cup", "-o", str(tmp_path / "none.png"), "--backend", "tensorrt"]) == 2
    assert "the backend must be torch or onnx" in capsys.readouterr().err


@pytest.mark.parametrize("learned", [True, False])
def test_where_all_frames_see_one_another_a_step_runs_them_all(
    tiny: DuoGenPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learned: bool
) -> None:
    torch.manual_seed(0)
    for weight in tiny.transformer.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    if not learned:
        monkeypatch.setattr(tiny.transformer, "learnable_pos_embed", None)
    tiny.register_to_config(attention_mode="full")
    threads = torch.get_num_threads()
    export(tiny, tmp_path)
    given = [Image.effect_noise(size, 90).convert("RGB") for size in ((64, 64), (96, 64))]

    def latents() -> list[torch.Tensor]:
        session = Session(tiny, [("user", [*given, "a ball"])])
        painted = []
        for seed in range(2):
            session.ask()
            painted.append(session.paint(PaintSettings(steps=2, guidance=2, width=64, height=96, seed=seed)))
            session.append(*painted[-1])
        return [each.latent for each in painted]

    plain = latents()
    tiny.backend = OnnxBackend(tiny, tmp_path)
    torch.set_num_threads(threads)
    for one, other in zip(latents(), plain, strict=True):
        assert torch.allclose(one, other, atol=1e-3 * float(other.abs().max())) and other.std() > 0.1


def test_what_cannot_be_exported_is_said(
    default_agent: Agent, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(OnnxMissingError, match=r"pip install 'duogen\[onnx\]'"):
        export(default_agent.pipeline, tmp_path)
    with pytest.raises(OnnxMissingError, match="onnxruntime"):
        OnnxBackend(default_agent.pipeline, exported)
    assert "onnxruntime" in sys.modules and not list(tmp_path.iterdir())
