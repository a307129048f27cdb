"""One denoising step of the DiT as a plain function of tensors: what torch runs, and what is exported to ONNX."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duogen.models.attention import attend
from duogen.models.dit import CosmosDiT, KeyValue


class StepInputs(NamedTuple):
    """What stays the same in all steps of the same pictures. P pictures (and branches) of N tokens, L blocks, F frames.

    `shown` [P or 1, N or 1, 1]: 1 for tokens of condition frames, 0 for those that are painted. `turn`, `turn_across`
    [L, P or 1, 2, 1, N, head_dim]: how queries and keys are turned, with their norms' weights folded in (see `turns`).
    `past_keys`, `past_values`, of each block, [P, heads, M, head_dim]: of the pictures before; `text_keys`, `text_values`,
    [P, heads, S, head_dim]: of the text. `reads` [P, heads or 1, N or 1, S]: cross-attention's bias. `learned` [P or 1, N, width]: learned positions, if there
    are any. `sees` [P, 1, N or 1, M + N]: self-attention's bias, where not all see all. `frame` [N]: which frame each token is of,
    where modulations differ between frames.
    """

    shown: Tensor
    turn: Tensor
    turn_across: Tensor
    past_keys: list[Tensor]
    past_values: list[Tensor]
    text_keys: list[Tensor]
    text_values: list[Tensor]
    reads: Tensor
    learned: Tensor | None
    sees: Tensor | None
    frame: Tensor | None


class StepOutput(NamedTuple):
    """`answer` [P, N, patch values]: what the network says, in tokens. `own` [L, P, 2, heads, N, head_dim]: their keys and values,
    where these are kept."""

    answer: Tensor
    own: Tensor


class StepFunction(Protocol):
    """A `Step`, in torch or elsewhere."""

    def __call__(self, tokens: Tensor, modulations: Tensor, *inputs: Tensor | list[Tensor] | None) -> StepOutput:
        """One step; `inputs` are `StepInputs`."""


class Step(nn.Module):
    """The network of a `CosmosDiT` on tokens, their modulations, and what the step is given besides.

    Shares the weights, but for those of queries, keys and values, which are copied into one.

    Args:
        fused: attend in one call, to one copy of all keys and values; without it, in plain products, to those of the pictures before
            where they lie. The latter is for onnxruntime, which has no such call that takes our masks.
        keeping: there are pictures before, and the tokens' own keys and values are returned, for those to come. Without it all
            frames are among the tokens.
    """

    def __init__(self, dit: CosmosDiT, fused: bool = True, keeping: bool = True) -> None:
        super().__init__()
        self.fused, self.keeping = fused, keeping
        model = dit.model
        weight = model.patch_embed.proj.weight
        # The channels behind the latent's are the condition mask and the padding mask, which is zero.
        inner, self.heads = model.config.out_channels * dit.patch**2, model.config.num_attention_heads
        self.embed, self.bias = weight[:, :inner].detach(), model.patch_embed.proj.bias
        self.shown = weight[:, inner : inner + dit.patch**2].detach().sum(1)
        self.blocks, self.out = model.transformer_blocks, model.proj_out
        attentions = [block.attn1 for block in model.transformer_blocks]
        self.qkv = [torch.cat([a.to_q.weight, a.to_k.weight, a.to_v.weight]).detach() for a in attentions]

    def forward(
        self, tokens: Tensor, modulations: Tensor, shown: Tensor, turn: Tensor, turn_across: Tensor,
        past_keys: list[Tensor], past_values: list[Tensor], text_keys: list[Tensor], text_values: list[Tensor],
        reads: Tensor, learned: Tensor | None = None, sees: Tensor | None = None, frame: Tensor | None = None,
    ) -> StepOutput:  # fmt: skip
        """The step on tokens [P, N, patch values].

        Args:
            modulations: [P or 1, F or 1, (3 L + 1) * 3 * width]: shift, scale (plus one) and gate of each norm.
        """

        def modulation(norm: int) -> list[Tensor]:
            each = parts[3 * norm : 3 * norm + 3]
            return [part if frame is None else part[:, frame] for part in each]

        hidden = F.linear(tokens, self.embed, self.bias) + shown * self.shown
        width = hidden.shape[-1:]
        parts, own = modulations.split(width[0], dim=-1), []
        for number, block in enumerate(self.blocks):
            if learned is not None:
                hidden = hidden + learned
            shift, scale, gate = modulation(3 * number)
            normed = torch.addcmul(shift, F.layer_norm(hidden, width, eps=1e-6), scale)
            heads = F.linear(normed, self.qkv[number]).unflatten(-1, (3, self.heads, -1)).permute(0, 2, 3, 1, 4)
            pair = F.rms_norm(heads[:, :2], heads.shape[-1:], eps=1e-6)
            swapped = torch.cat(pair.chunk(2, dim=-1)[::-1], dim=-1)
            turned = torch.addcmul(pair * turn[number], swapped, turn_across[number])
            query, key, value = turned[:, 0], turned[:, 1], heads[:, 2]
            if self.keeping:
                own.append(torch.cat([turned[:, 1:], heads[:, 2:]], dim=1))
                out = self._attend(query, (past_keys[number], past_values[number]), (key, value), sees)
            else:
                out = attend(query, key, value, sees)
            out = out.transpose(1, 2).flatten(2)
            hidden = torch.addcmul(hidden, gate, block.attn1.to_out[0](out))

            shift, scale, gate = modulation(3 * number + 1)
            normed = torch.addcmul(shift, F.layer_norm(hidden, width, eps=1e-6), scale)
            cross = block.attn2
            query = cross.to_q(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            query = F.rms_norm(query, query.shape[-1:], cross.norm_q.weight, cross.norm_q.eps)
            out = attend(query, text_keys[number], text_values[number], reads).transpose(1, 2).flatten(2)
            hidden = torch.addcmul(hidden, gate, cross.to_out[0](out))

            shift, scale, gate = modulation(3 * number + 2)
            normed = torch.addcmul(shift, F.layer_norm(hidden, width, eps=1e-6), scale)
            hidden = torch.addcmul(hidden, gate, block.ff(normed))
        shift, scale, _ = modulation(3 * len(self.blocks))
        normed = torch.addcmul(shift, F.layer_norm(hidden, width, eps=1e-6), scale)
        return StepOutput(self.out(normed), torch.stack(own) if own else normed.new_empty(0))

    def _attend(self, query: Tensor, past: KeyValue, own: KeyValue, bias: Tensor | None) -> Tensor:
        """Attention of new tokens to the past and to themselves."""
        if self.fused:
            return attend(query, torch.cat([past[0], own[0]], dim=2), torch.cat([past[1], own[1]], dim=2), bias)
        query = query * query.shape[-1] ** -0.5
        scores = torch.cat([query @ keys.transpose(-1, -2) for keys in (past[0], own[0])], dim=-1)
        chances = (scores if bias is None else scores + bias).softmax(-1)
        before = past[0].shape[2]
        return chances[..., :before] @ past[1] + chances[..., before:] @ own[1]


def turns(dit: CosmosDiT, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
    """`turn` and `turn_across` for cosines and sines [P or 1, 1, N, head_dim].

    ``x * w * cos + rotated(x * w) * sin``, as ``x * turn + swapped(x) * turn_across``, w being the norm's weights.
    """
    blocks: Any = dit.model.transformer_blocks
    norms = torch.stack([torch.stack([b.attn1.norm_q.weight, b.attn1.norm_k.weight]) for b in blocks])
    norms = norms[:, None, :, None, None]  # blocks, pictures, queries and keys, heads, tokens, head_dim
    half = norms.shape[-1] // 2
    signed = torch.cat([-norms[..., half:], norms[..., :half]], dim=-1)
    return (norms * cosines[:, None]).to(norms.dtype), (signed * sines[:, None]).to(norms.dtype)
