"""Carries trained weights over to another tokenizer and another codec, so that a wider world needn't start from nothing.

A new token's embedding begins as the mean of those of the old tokens that spell it. New latents are read and written through
the part of the old codec's space that both share: exactly where one holds the other, nearly so elsewhere. What is lost comes
back within a few hundred steps of training.
"""

from __future__ import annotations

import copy

import torch
from diffusers import CosmosTransformer3DModel
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from duogen.models.mllm import token_ids, vocabulary
from duogen.models.processor import SPECIAL_TOKENS, DuoGenProcessor
from duogen.models.vae import PatchCodec


@torch.no_grad()
def renew_mllm(
    model: Qwen2_5_VLForConditionalGeneration, old: DuoGenProcessor, new: DuoGenProcessor
) -> Qwen2_5_VLForConditionalGeneration:
    """The same model with the new processor's vocabulary; the embeddings are tied to the output, as in `small_qwen`."""
    config: Qwen2_5_VLConfig = copy.deepcopy(model.config)
    for name, value in token_ids(new).items():
        setattr(config, name, value)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(
            config.text_config, name, new.id(old.tokenizer.convert_ids_to_tokens(getattr(config.text_config, name)))
        )
    config.text_config.vocab_size = vocabulary(new)
    renewed = Qwen2_5_VLForConditionalGeneration(config).to(model.dtype)
    words = model.get_input_embeddings().weight
    kept = {name: weight for name, weight in model.state_dict().items() if weight.shape[0] != len(words)}
    renewed.load_state_dict(kept, strict=False)
    renewed.get_input_embeddings().weight[: len(new.tokenizer)] = _spelled(words, old, new)
    return renewed


def _spelled(words: Tensor, old: DuoGenProcessor, new: DuoGenProcessor) -> Tensor:
    """The new tokens' embeddings [tokens, hidden], from the old ones' [old tokens, hidden]."""
    rows = []
    spelling = old.tokenizer.backend_tokenizer.model
    for piece in new.tokenizer.convert_ids_to_tokens(range(len(new.tokenizer))):
        ids = [old.id(piece)] if piece in SPECIAL_TOKENS else [token.id for token in spelling.tokenize(piece)]
        rows.append(words[ids].mean(0))
    return torch.stack(rows)


@torch.no_grad()
def renew_dit(transformer: CosmosTransformer3DModel, old: PatchCodec, new: PatchCodec) -> CosmosTransformer3DModel:
    """The same transformer for the new codec's latents.

    Args:
        old, new: with the same patch size and mean (`fit_codec`'s `mean`).
    """
    before, after = (torch.tensor(codec.config.latents_std) for codec in (old, new))
    shared = old.basis.T @ new.basis  # [old channels, new channels]
    read, write = shared * after / before[:, None], shared.T * before / after[:, None]
    config = dict(transformer.config)
    channels = len(after)
    config |= {"in_channels": config["in_channels"] - len(before) + channels, "out_channels": channels}
    renewed = CosmosTransformer3DModel.from_config(config)
    changed = {"patch_embed.proj.weight", "proj_out.weight"}
    renewed.load_state_dict({n: w for n, w in transformer.state_dict().items() if n not in changed}, strict=False)
    p = config["patch_size"][1]
    into = transformer.patch_embed.proj.weight.unflatten(1, (-1, p * p))  # width, channels and masks, p p
    latent, masks = into[:, : len(before)], into[:, len(before) :]
    latent = torch.einsum("woq,on->wnq", latent, read)
    _fill(renewed.patch_embed.proj, torch.cat([latent, masks], 1).flatten(1))
    out = transformer.proj_out.weight.unflatten(0, (p * p, -1))  # p p, channels, width
    _fill(renewed.proj_out, torch.einsum("qow,no->qnw", out, write).flatten(0, 1))
    return renewed


def _fill(layer: nn.Linear, weight: Tensor) -> None:
    layer.weight.copy_(weight)
