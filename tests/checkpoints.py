"""Scaled-down checkpoints in the layout of the public ones: the same files, configuration keys and tensor names, random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLWan,
    CosmosTransformer3DModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from safetensors.torch import load_file, save_file
from tokenizers import trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipVisionConfig,
)

QWEN = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
LLAVA = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
SIZES = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3}
TEXT = ["Step 1: draw a red ball on the shelf.", "Now put the green cube beside it.", "How do I build a castle?"]


def tokenizer(folder: Path, special: list[str], texts: list[str] = TEXT, size: int = 300) -> Qwen2Tokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    empty = Qwen2Tokenizer()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False)
    empty.backend_tokenizer.train_from_iterator(texts, trainer)
    trained = json.loads(empty.backend_tokenizer.to_str())["model"]
    made = Qwen2Tokenizer(vocab=trained["vocab"], merges=[tuple(merge) for merge in trained["merges"]])
    made.add_special_tokens({"additional_special_tokens": special})
    made.save_pretrained(folder)
    return made


def preprocessor(folder: Path, kind: str, **settings: object) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind, **settings}))


def qwen2_5_vl(
    folder: Path, hidden: int = 64, layers: int = 3, texts: list[str] = TEXT, vocabulary: int = 320, tied: bool = False
) -> Path:
    """A Qwen2.5-VL; `tied`: reads and writes with one table of embeddings, as the one of 3B does."""
    words = tokenizer(folder, QWEN, texts, vocabulary - 20)
    ids = dict(zip(QWEN, words.convert_tokens_to_ids(QWEN), strict=True))
    preprocessor(
        folder, "Qwen2VLImageProcessor", min_pixels=3136, max_pixels=12544, patch_size=14, temporal_patch_size=2, merge_size=2,
        image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711],
    )  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config={
            **SIZES, "hidden_size": hidden, "num_hidden_layers": layers, "vocab_size": vocabulary,
            "intermediate_size": hidden * 3 // 2, "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e6, "mrope_section": [hidden // 32, hidden * 3 // 64, hidden * 3 // 64]
            },
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 14, "out_hidden_size": hidden,
            "fullatt_block_indexes": [1], "window_size": 56,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"], tie_word_embeddings=tied,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder, max_shard_size="200KB")
    # The public configuration is older than transformers 5: the language model's settings stand beside the others.
    path = folder / "config.json"
    new = json.loads(path.read_text())
    text, vision = new.pop("text_config"), new.pop("vision_config")
    rope = text.pop("rope_parameters")
    flat = {name: value for name, value in text.items() if name not in ("model_type", "dtype", "layer_types")}
    flat |= {
        "rope_theta": rope["rope_theta"], "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "torch_dtype": "float32", "vision_token_id": 0, "vision_config": vision | {"in_chans": 3, "spatial_patch_size": 14},
    }  # fmt: skip
    path.write_text(json.dumps(new | flat | {"model_type": "qwen2_5_vl"}))
    return folder


def qwen3_vl(folder: Path) -> Path:
    words = tokenizer(folder, QWEN)
    ids = dict(zip(QWEN, words.convert_tokens_to_ids(QWEN), strict=True))
    preprocessor(
        folder, "Qwen2VLImageProcessorFast", size={"shortest_edge": 4096, "longest_edge": 16384}, patch_size=16,
        temporal_patch_size=2, merge_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    config = Qwen3VLConfig(
        text_config={
            **SIZES, "vocab_size": 320, "intermediate_size": 96, "head_dim": 16, "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 3, 3], "mrope_interleaved": True},
        },
        vision_config={
            "depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 16, "out_hidden_size": 64,
            "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"], tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder, max_shard_size="200KB")
    path = folder / "config.json"
    new = json.loads(path.read_text())
    rope = new["text_config"].pop("rope_parameters")
    new["text_config"] |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    path.write_text(json.dumps(new))
    return folder


def llava_onevision(folder: Path) -> Path:
    words = tokenizer(folder, LLAVA)
    preprocessor(
        folder, "LlavaOnevisionImageProcessor", size={"height": 56, "width": 56}, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        image_grid_pinpoints=[[56, 56], [56, 112]], resample=3, rescale_factor=1 / 255,
    )  # fmt: skip
    (folder / "processor_config.json").write_text(
        json.dumps(
            {
                "num_image_tokens": 16,
                "processor_class": "LlavaOnevisionProcessor",
                "vision_feature_select_strategy": "full",
            }
        )
    )
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14,
            vision_use_head=False,
        ),
        text_config={"model_type": "qwen2", **SIZES, "vocab_size": 304, "intermediate_size": 96, "max_position_embeddings": 4096},
        image_token_index=words.convert_tokens_to_ids("<image>"), video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[56, 56], [56, 112]], vision_feature_layer=-1, vision_feature_select_strategy="full",
    )  # fmt: skip
    torch.manual_seed(0)
    LlavaOnevisionForConditionalGeneration(config).save_pretrained(folder, max_shard_size="200KB")
    _rename(folder, "vision_tower.", "vision_tower.vision_model.")  # as transformers 4 called the tower's parts
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_image_newline_parameter": True}))
    return folder


def _rename(folder: Path, old: str, new: str) -> None:
    """Changes how names of tensors begin, in all shards and in their index."""
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    for shard in sorted(set(content["weight_map"].values())):
        tensors = load_file(folder / shard)
        renamed = {
            new + name.removeprefix(old) if name.startswith(old) else name: each for name, each in tensors.items()
        }
        save_file(renamed, folder / shard, {"format": "pt"})
    content["weight_map"] = {
        new + name.removeprefix(old) if name.startswith(old) else name: shard
        for name, shard in content["weight_map"].items()
    }
    index.write_text(json.dumps(content))


def vae(folder: Path) -> None:
    torch.manual_seed(0)
    AutoencoderKLWan(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
    ).save_pretrained(folder)


def cosmos(
    folder: Path, states: int = 192, channels: int = 4, heads: int = 2, layers: int = 2, learned_positions: bool = False
) -> Path:
    """A Cosmos-Predict2.5, whose own projection reads `states` numbers a token.

    Args:
        learned_positions: adds the table of absolute positions that Cosmos-Predict1 has. Rotary positions are relative: from these alone a
            transformer learns where a picture's edges are only slowly.
    """
    torch.manual_seed(0)
    model = CosmosTransformer3DModel(
        in_channels=channels + 1, out_channels=channels, num_attention_heads=heads, attention_head_dim=24, num_layers=layers,
        text_embed_dim=32,
        adaln_lora_dim=8, max_size=(32, 32, 32), patch_size=(1, 2, 2), rope_scale=(1.0, 3.0, 3.0), concat_padding_mask=True,
        extra_pos_embed_type="learnable" if learned_positions else None, use_crossattn_projection=True,
        crossattn_proj_in_channels=states, encoder_hidden_states_channels=32,
    )  # fmt: skip
    if learned_positions:
        for table in model.learnable_pos_embed.parameters():
            torch.nn.init.normal_(table, std=0.5)
    model.save_pretrained(folder / "transformer", max_shard_size="200KB")
    vae(folder / "vae")
    UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, use_karras_sigmas=True, sigma_max=200.0, sigma_min=0.01
    ).save_pretrained(folder / "scheduler")
    return folder


def wan(folder: Path, image_to_video: bool = False) -> Path:
    torch.manual_seed(0)
    WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=12 if image_to_video else 4, out_channels=4, text_dim=32,
        freq_dim=32, ffn_dim=64, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        **({"image_dim": 16, "added_kv_proj_dim": 48} if image_to_video else {}),
    ).save_pretrained(folder / "transformer", max_shard_size="200KB")  # fmt: skip
    vae(folder / "vae")
    UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, num_train_timesteps=1000
    ).save_pretrained(folder / "scheduler")
    return folder


MLLMS = {"qwen2.5-vl": qwen2_5_vl, "qwen3-vl": qwen3_vl, "llava-onevision": llava_onevision}
DITS = {"cosmos-predict2.5": cosmos, "wan-t2v": wan, "wan-i2v": lambda folder: wan(folder, image_to_video=True)}
