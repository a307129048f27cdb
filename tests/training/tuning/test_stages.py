"""Packs against documents one by one; what moves, and what comes out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CosmosTransformer3DModel
from transformers import Qwen2_5_VLForConditionalGeneration

from duogen.cli import run
from duogen.errors import InputError
from duogen.loading import DEFAULT_MODEL
from duogen.models.dit import Frame
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV
from duogen.training.tuning.config import load_tuning
from duogen.training.tuning.packing import Sample
from duogen.training.tuning.sharding import World
from duogen.training.tuning.stages import LanguageStage, PaintingStage

ALONE = World(0, 1, torch.device("cpu"))


def stage_of(path: Path, name: str, folder: Path) -> Any:
    config = load_tuning(path)
    return {"stage1": LanguageStage, "stage2": PaintingStage}[name](config, getattr(config, name), folder, ALONE)


def gradients(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in module.parameters() if weight.grad is not None])


CASES = [
    ("stage1", "qwen2.5-vl", "cosmos-predict2.5", ""),
    ("stage1", "qwen3-vl", "cosmos-predict2.5", ""),
    ("stage1", "llava-onevision", "cosmos-predict2.5", ""),
    ("stage2", "qwen2.5-vl", "cosmos-predict2.5", "stage2:mode = 'full'"),
    ("stage2", "qwen2.5-vl", "cosmos-predict2.5", "stage2:mode = 'causal'"),
    ("stage2", "qwen3-vl", "wan-t2v", "stage2:mode = 'full'"),
    ("stage2", "qwen2.5-vl", "wan-i2v", ""),
    ("stage2", "qwen2.5-vl", "wan-t2v", "stage2:mode = 'causal'"),
]


@pytest.mark.parametrize(("name", "mllm", "dit", "extra"), CASES)
def test_a_pack_teaches_what_its_documents_teach(
    setting: Any, tmp_path: Path, name: str, mllm: str, dit: str, extra: str
) -> None:
    stage = stage_of(setting(mllm, dit, extra=f"{extra};stage2:state_cache_mb = 0"), name, tmp_path)
    for weight in stage.trained.module.parameters():
        if weight.requires_grad and weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.08)  # large enough that every part shows
    samples = next(pack for pack in map(stage.packer.pack, range(20)) if len(pack) >= 3)
    whole, _ = stage.loss(stage.made(stage.records, stage.measures, samples))
    whole.backward()
    together = gradients(stage.trained.module)
    stage.trained.module.zero_grad(set_to_none=True)
    single = 0.0
    for sample in samples:
        loss, _ = stage.loss(stage.made(stage.records, stage.measures, [sample]))
        loss.backward()
        single += float(loss.detach())
    apart = gradients(stage.trained.module)
    assert abs(float(whole.detach()) - single) < 1e-5 * single
    assert float((together - apart).norm() / apart.norm()) < 1e-5
    assert float(apart.norm()) > 1e-3


def test_validation_and_logs(setting: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = setting(extra="stage1:validate_every = 2;stage1:log_with = ['tensorboard']")
    assert run(["train", "stage1", str(path), "-o", str(tmp_path / "run"), "-q"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run" / "model")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [1, 2, 3, 4] and log[-1]["loss"] < log[0]["loss"]
    words = len(DuoGenPipeline.from_pretrained(load_tuning(path).model).processor.tokenizer)
    assert abs(log[0]["loss"] - torch.tensor(float(words)).log()) < 0.3, (
        "an untaught model takes all words for equally likely"
    )
    validation = [json.loads(line) for line in (tmp_path / "run" / "validation.jsonl").read_text().splitlines()]
    assert [record["step"] for record in validation] == [2, 4] and "validation_emission_f1" in validation[0]
    assert list((tmp_path / "run").rglob("events.out.tfevents*"))


def test_plans_and_scores_on_the_way(setting: Any, tmp_path: Path) -> None:
    path = setting(extra="stage2:sample_every = 4;stage2:sample_requests = ['Draw a red ball.'];stage2:world_tasks = 1")
    assert run(["train", "stage2", str(path), "-o", str(tmp_path / "run"), "-q"]) == 0
    made = tmp_path / "run" / "samples" / "step-4"
    assert (made / "0" / "plan.html").exists() and json.loads((made / "world.json").read_text())
    path.write_text(path.read_text().replace("sample_every = 4\n", ""))
    assert run(["train", "stage2", str(path), "-o", str(tmp_path / "other")]) == 2


def test_stage_1_changes_the_mllm_alone_and_leaves_a_plain_folder(setting: Any, tmp_path: Path) -> None:
    path = setting(extra="stage1:merger_learning_rate = 0.0")
    text = path.read_text().replace("vision_learning_rate = 1e-3\n", "", 1)
    path.write_text(text)
    assert run(["train", "stage1", str(path), "-o", str(tmp_path / "run"), "-q"]) == 0
    before, after = load_tuning(path).model, tmp_path / "run" / "model"
    for part in ("transformer", "connector", "vae", "processor"):
        for file in (before / part).iterdir():
            assert (after / part / file.name).read_bytes() == file.read_bytes()
    old, new = (Qwen2_5_VLForConditionalGeneration.from_pretrained(folder / "mllm") for folder in (before, after))
    moved = {
        name for (name, a), b in zip(old.named_parameters(), new.parameters(), strict=True) if not torch.equal(a, b)
    }
    assert moved and not any("visual" in name for name in moved)
    assert {name.split(".")[0] for name in moved} == {"model", "lm_head"}


def test_adapters_of_stage_1(setting: Any, tmp_path: Path) -> None:
    from peft import PeftModel

    path = setting(extra="stage1:lora_rank = 4")
    assert run(["train", "stage1", str(path), "-o", str(tmp_path / "run"), "-q"]) == 0
    base = load_tuning(path).model
    merged = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "run" / "model" / "mllm")
    adapted = PeftModel.from_pretrained(
        Qwen2_5_VLForConditionalGeneration.from_pretrained(base / "mllm"), tmp_path / "run" / "lora"
    )
    ids = torch.tensor([[5, 9, 40, 41, DuoGenPipeline.from_pretrained(base).processor.id(BOV)]])
    assert torch.allclose(adapted(input_ids=ids).logits, merged(input_ids=ids).logits, atol=1e-4)
    old = Qwen2_5_VLForConditionalGeneration.from_pretrained(base / "mllm")
    words, were = (model.get_input_embeddings().weight for model in (merged, old))
    changed = (words != were).any(-1).nonzero()[:, 0].tolist()
    assert changed == [int(ids[0, -1])], "of all words <BOV> alone has learned"


@pytest.mark.parametrize("mllm", ["qwen2.5-vl", "qwen3-vl", "llava-onevision"])
def test_what_is_not_trained_is_kept_in_half_the_memory_and_written_as_it_was(
    setting: Any, tmp_path: Path, mllm: str
) -> None:
    path = setting(mllm)
    text = path.read_text().replace('precision = "float32"', 'precision = "bfloat16"')
    path.write_text(text.replace("vision_learning_rate = 1e-3\n", "", 1))
    stage = stage_of(path, "stage1", tmp_path)
    assert stage.run(None, True)
    model = stage.pipeline.mllm
    kinds = {weight.requires_grad: weight.dtype for weight in model.parameters()}
    assert kinds == {False: torch.bfloat16, True: torch.float32}
    before, after = (
        DuoGenPipeline.from_pretrained(folder).mllm.state_dict()
        for folder in (load_tuning(path).model, tmp_path / "model")
    )
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert frozen and all(torch.equal(before[name], after[name]) for name in frozen)


def test_heads_that_read_the_last_segment_alone(setting: Any, documents: Path, tmp_path: Path) -> None:
    """The default model has such heads; where the segment is dropped, each document's own first token stands for it."""
    path = setting(extra="stage2:drop_last_text = 1.0")
    lines = [
        f'model = "{DEFAULT_MODEL}"' if line.startswith("model") else line for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines).replace("frame_tokens = 48", "frame_tokens = 720"))
    stage = stage_of(path, "stage2", tmp_path)
    assert stage.causal and stage.pipeline.config.segment_heads == 3
    samples = next(pack for pack in map(stage.packer.pack, range(20)) if len(pack) >= 3)
    whole, _ = stage.loss(stage.made(stage.records, stage.measures, samples))
    single = sum(
        float(stage.loss(stage.made(stage.records, stage.measures, [sample]))[0].detach()) for sample in samples
    )
    assert abs(float(whole.detach()) - single) < 1e-4 * single


def test_adapters_of_stage_2_load_with_diffusers(setting: Any, tmp_path: Path) -> None:
    path = setting(extra="stage2:lora_rank = 4")
    assert run(["train", "stage2", str(path), "-o", str(tmp_path / "run"), "-q"]) == 0
    base = CosmosTransformer3DModel.from_pretrained(load_tuning(path).model / "transformer")
    untouched = {name: weight.clone() for name, weight in base.state_dict().items()}
    base.load_lora_adapter(str(tmp_path / "run" / "lora"), prefix=None, weight_name="pytorch_lora_weights.safetensors")
    base.fuse_lora()
    base.unload_lora()
    merged = CosmosTransformer3DModel.from_pretrained(tmp_path / "run" / "model" / "transformer").state_dict()
    assert all(torch.allclose(merged[name], weight, atol=1e-5) for name, weight in base.state_dict().items())
    assert any(not torch.equal(merged[name], weight) for name, weight in untouched.items())


def test_a_full_model_becomes_a_causal_one(setting: Any, tmp_path: Path) -> None:
    path = setting(extra="stage2:mode = 'causal';stage2:gradient_checkpointing = true")
    assert run(["train", "stage2", str(path), "-o", str(tmp_path / "run"), "-q"]) == 0
    assert DuoGenPipeline.from_pretrained(tmp_path / "run" / "model").config.attention_mode == "causal"
    assert list((tmp_path / "run" / "latents").rglob("*.safetensors"))


def test_what_is_dropped_is_what_guidance_drops(setting: Any, tmp_path: Path) -> None:
    stage = stage_of(setting(extra="stage2:drop_last_text = 1.0;stage2:frame_noise = 0.0"), "stage2", tmp_path)
    number = next(n for n, each in enumerate(stage.measures) if sum(slot.generated for slot in each.slots) >= 2)
    turn = next(t for t in range(900) if stage.packer.sample(t).number == number)
    pack, shown, _ = stage.made(stage.records, stage.measures, [Sample(turn, number)])
    target = shown[-1]
    assert target.wanted is not None and all(each.wanted is None for each in shown[:-1])
    slots = stage.measures[number].slots
    assert target.time > 0 and target.reach == slots[target.time - 1].end == shown[0].reach
    assert len(shown) == target.time + 1 and pack.ids.shape[1] == slots[target.time].asked
    # The frames are those that sessions paint from: clean latents, in order.
    image = pack.dialogues[0].pictures[0].image()
    assert torch.allclose(shown[0].latent, stage.pipeline.encode_picture(image), atol=1e-5)
    assert Frame(shown[0].latent, 0, torch.zeros(1), True).latent.shape == (1, 4, 4, 4)


def test_hidden_states_are_kept_within_their_budget(setting: Any, tmp_path: Path) -> None:
    stage = stage_of(setting(), "stage2", tmp_path)
    samples = stage.packer.pack(0)
    first = stage.made(stage.records, stage.measures, samples).states
    asked: list[int] = []
    stage.states.mllm.model.language_model.register_forward_hook(lambda *_: asked.append(1))
    assert torch.equal(stage.made(stage.records, stage.measures, samples).states, first) and not asked
    stage.states.budget = first.nbytes // 2
    again = stage.made(stage.records, stage.measures, stage.packer.pack(1)).states
    assert stage.states.used <= stage.states.budget and asked
    stage.states.budget = 0
    assert torch.equal(stage.made(stage.records, stage.measures, stage.packer.pack(1)).states, again)


def test_a_batch_can_be_looked_at(setting: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = setting()
    for name in ("stage1", "stage2"):
        assert run(["train", "show-batch", str(path), "-o", str(tmp_path / name), "--stage", name]) == 0
        shown = capsys.readouterr().out
        assert "document 0: tokens 0 to" in shown, shown
        pictures, seen = sum(map(int, re.findall(r", (\d+) picture", shown))), shown.count("'<|image_pad|> x 9'")
        assert seen == pictures if name == "stage1" else seen < pictures, "stage 2 ends before the <BOV> of its target"
        ends = [re.findall(r"'(<BOV>|<\|image_pad\|>)", document)[-1] for document in shown.split("document ")[1:]]
        assert "<BOV>" not in ends and "trained  '" in shown and ("trained  '<BOV>'" in shown or name == "stage2")
        assert ("target, noise level" in shown) == (name == "stage2")
        page = (tmp_path / name / "batch.html").read_text()
        assert "<img src=" in page and "&lt;|im_start|&gt;" in page


def test_bad_input_is_said_in_a_line(
    setting: Any, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = setting()
    good = path.read_text()
    faults = {
        "learning_rate = 1e-3": ("learning_rate = -1.0", "stage1.learning_rate"),
        "seed = 3": ("sed = 3", "sed: "),
        'train = ["documents.jsonl"]': ('train = ["nothing-*.jsonl"]', "no such file of documents"),
        "pack_tokens = 1600": ("pack_tokens = 16", "none of the 30 documents fits"),
        'model = "': ('model = "/nowhere', "not a DuoGen model folder"),
        "[stage1]": ("[stage1", "not a TOML file"),
        "validation = [": ("validations = [", "data.validations"),
    }
    for number, (old, (new, message)) in enumerate(faults.items()):
        path.write_text(good.replace(old, new, 1))
        assert run(["train", "stage1", str(path), "-o", str(tmp_path / f"{number}")]) == 2
        said = capsys.readouterr().err
        assert message in said and len(said.strip().splitlines()) <= 2, said
    path.write_text(good.replace("[stage1]", '[stage1]\nattention = "flash_attention_2"', 1))
    assert run(["train", "stage1", str(path), "-o", str(tmp_path / "flash")]) == 1
    assert "attention 'flash_attention_2' can't be used" in capsys.readouterr().err
    path.write_text(good.split("[stage2]")[0])
    assert (
        run(["train", "stage2", str(path), "-o", str(tmp_path / "x")]) == 2
        and "no section [stage2]" in capsys.readouterr().err
    )
    assert run(["train", "show-batch", str(path), "-o", str(tmp_path / "y"), "--stage", "stage3"]) == 2
    path.write_text(good)
    assert run(["train", "stage1", str(path), "-o", str(tmp_path / "run"), "-q"]) == 0
    path.write_text(good.replace("seed = 3", "seed = 4"))
    assert run(["train", "stage1", str(path), "-o", str(tmp_path / "run"), "-q"]) == 2
    assert "another configuration" in capsys.readouterr().err
    (documents / "broken.jsonl").write_text('{"messages": [{"role": "cook"}]}\n')
    path.write_text(good.replace('train = ["documents.jsonl"]', 'train = ["broken.jsonl"]'))
    assert run(["train", "stage1", str(path), "-o", str(tmp_path / "z")]) == 2
    assert "broken.jsonl, at byte 0: not a document" in capsys.readouterr().err


def test_processes_must_be_able_to_share_a_step(setting: Any, tmp_path: Path) -> None:
    from duogen.training.tuning.loop import Loop

    stage = stage_of(setting(), "stage1", tmp_path)
    with pytest.raises(InputError, match="packs_per_step, 2, must be divisible by the 3 processes"):
        Loop(stage.trained.module, stage.trained.groups, stage, stage.stage, tmp_path, World(0, 3, torch.device("cpu")))


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_one_table_of_embeddings_stays_one(
    public: dict[str, Path], setting: Any, tmp_path: Path, lora_rank: int
) -> None:
    """As in Qwen2.5-VL-3B, whose `<BOV>` is read and written by the same row."""
    from checkpoints import qwen2_5_vl
    from safetensors import safe_open

    from duogen.models.assembling import assemble, matched

    mllm = qwen2_5_vl(tmp_path / "mllm", tied=True)
    assemble(matched(str(mllm), str(public["cosmos-predict2.5"])), tmp_path / "model", torch.float32, size=32)
    config = setting(steps=3)
    text = config.read_text().replace("[stage1]\n", f"[stage1]\nlora_rank = {lora_rank}\n")
    (config.parent / f"tied-{lora_rank}.toml").write_text(text)
    output = tmp_path / "out"
    command = ["train", "stage1", str(config.parent / f"tied-{lora_rank}.toml"), "-o", str(output), "-q"]
    assert run([*command, "-m", str(tmp_path / "model")]) == 0
    trained = DuoGenPipeline.from_pretrained(output / "model")
    read, written = (
        each.weight for each in (trained.mllm.get_input_embeddings(), trained.mllm.get_output_embeddings())
    )
    assert read.data_ptr() == written.data_ptr()
    names: set[str] = set()
    for shard in (output / "model" / "mllm").glob("*.safetensors"):
        with safe_open(shard, "pt") as file:
            names |= set(file.keys())
    assert "lm_head.weight" not in names and any(name.endswith("embed_tokens.weight") for name in names)
    before = DuoGenPipeline.from_pretrained(tmp_path / "model").mllm.get_input_embeddings().weight
    bov = trained.processor.id(BOV)
    assert not torch.equal(read[bov], before[bov])
    if lora_rank:  # adapters move no other row
        assert torch.equal(read[:bov], before[:bov])
