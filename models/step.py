"""One denoising step of the DiT as a plain function of tensors: what torch runs, and what is exported to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duogen.models.attention import attend
from duogen.models.dit import CosmosDiT, KeyValue
from duogen.models.kernels import multi_head_attention, rotated, written
from duogen.models.norms import rms_norm


class StepInputs(NamedTuple):
    """What stays the same in all steps of the same pictures. P pictures (and branches) of N tokens, L blocks, F frames.

    `shown` [P or 1, N or 1, 1]: 1 for tokens of condition frames, 0 for those that are painted. `turn`, `turn_across`: what queries and
    keys are turned by, in the form that the step's own `turning` makes of it.
    `past_keys`, `past_values`, of each block, [P, heads, M + N, head_dim]: of the pictures before, with room behind them in which a step puts
    its own. `text_keys`, `text_values`, `reads`: of
    `duogen.models.canvas.Text`, for P pictures and branches. `learned` [P or 1, N, width]: learned positions, if there are any. `sees`
    [P, 1, 1, M + N]: self-attention's bias, where not all see all. `frame` [N]: which frame each token is of, where modulations
    differ between frames. Exported, biases are masks, int32 [P, keys]: 1 for what is seen.
    """

    shown: Tensor
    turn: Tensor
    turn_across: Tensor
    past_keys: list[Tensor]
    past_values: list[Tensor]
    text_keys: list[Tensor]
    text_values: list[Tensor]
    reads: list[Tensor | None]
    learned: Tensor | None
    sees: Tensor | None
    frame: Tensor | None


class StepOutput(NamedTuple):
    """`answer` [P, N, patch values]: what the network says, in tokens. `keys`, `values`: of each block, where they are kept, `past_keys` and
    `past_values`, filled; they hold until the next step."""

    answer: Tensor
    keys: list[Tensor]
    values: list[Tensor]


class StepFunction(Protocol):
    """A `Step`, in torch or elsewhere."""

    def turning(self, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
        """`turn` and `turn_across` of `StepInputs` for cosines and sines [P or 1, N, head_dim] of rotary positions."""

    def __call__(self, tokens: Tensor, modulations: Tensor, *inputs: Any) -> StepOutput:
        """One step; `inputs` are `StepInputs`."""


class Step(nn.Module):
    """The network of a `CosmosDiT` on tokens, their modulations, and what the step is given besides.

    Shares the weights, but for those of queries, keys and values, which are copied into one.

    Args:
        keeping: there are pictures before, and the tokens' own keys and values are returned, for those to come. Without it all
            frames are among the tokens.
    """

    def __init__(self, dit: CosmosDiT, keeping: bool = True) -> None:
        super().__init__()
        self.keeping = keeping
        model = dit.model
        weight = model.patch_embed.proj.weight
        # The channels behind the latent's are the condition mask and the padding mask, which is zero.
        inner, self.heads = model.config.out_channels * dit.patch**2, model.config.num_attention_heads
        self.embed, self.bias = weight[:, :inner].detach(), model.patch_embed.proj.bias
        self.shown = weight[:, inner : inner + dit.patch**2].detach().sum(1)
        self.blocks, self.out = model.transformer_blocks, model.proj_out
        self.ones = weight.new_ones(model.config.attention_head_dim)
        attentions = [block.attn1 for block in model.transformer_blocks]
        self.qkv = [torch.cat([a.to_q.weight, a.to_k.weight, a.to_v.weight]).detach() for a in attentions]

    def forward(
        self, tokens: Tensor, modulations: Tensor, shown: Tensor, turn: Tensor, turn_across: Tensor,
        past_keys: list[Tensor], past_values: list[Tensor], text_keys: list[Tensor], text_values: list[Tensor],
        reads: list[Tensor | None], learned: Tensor | None = None, sees: Tensor | None = None, frame: Tensor | None = None,
        order: Tensor | None = None, places: Tensor | None = None,
    ) -> StepOutput:  # fmt: skip
        """The step on tokens [P, N, patch values].

        Args:
            turn, turn_across: of `turning`; exported, cosines and sines [P or 1, N, head_dim / 2].
            order: int64 [P, N], exported: which of their P * N or N rows each token is turned by.
            modulations: [(3 L + 1) * 3 * width]: shift, scale (plus one) and gate of each norm; with `frame`, [F, ...], of each frame.
            places: int64 [P, N, heads, 3], exported: where each head's own keys and values go among those of the past.
        """

        def modulated(hidden: Tensor, norm: int) -> tuple[Tensor, Tensor]:
            """The input of what stands behind a norm, and its gate."""
            shift, scale, gate = parts[3 * norm : 3 * norm + 3]
            if frame is None:
                return F.layer_norm(hidden, width, scale, shift, eps=1e-6), gate
            shift, scale, gate = shift[frame], scale[frame], gate[frame]
            return torch.addcmul(shift, F.layer_norm(hidden, width, eps=1e-6), scale), gate

        hidden = F.linear(tokens, self.embed, self.bias) + shown * self.shown
        width = hidden.shape[-1:]
        parts, keys, values = modulations.split(width[0], dim=-1), [], []
        for number, block in enumerate(self.blocks):
            if learned is not None:
                hidden = hidden + learned
            normed, gate = modulated(hidden, 3 * number)
            if order is None:
                query, key, value = self._turned(normed, number, turn, turn_across)
            else:
                attn = block.attn1
                query, key = (
                    rotated(rms_norm(self._heads(part(normed)), norm.weight, norm.eps).flatten(2), order, turn, turn_across)
                    for part, norm in ((attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k))
                )  # fmt: skip
                value = attn.to_v(normed)
            past = (past_keys[number], past_values[number]) if self.keeping else None
            out, *own = self._attend_behind(query, self._heads(key), self._heads(value), past, sees, places)
            if own:
                keys.append(own[0])
                values.append(own[1])

            hidden = torch.addcmul(hidden, gate, block.attn1.to_out[0](out))

            normed, gate = modulated(hidden, 3 * number + 1)
            cross = block.attn2
            query = self._heads(cross.to_q(normed))
            query = rms_norm(query, cross.norm_q.weight, cross.norm_q.eps).flatten(2)
            groups = slice(number * len(reads), (number + 1) * len(reads))
            out = _attend_in_groups(query, text_keys[groups], text_values[groups], reads)
            hidden = torch.addcmul(hidden, gate, cross.to_out[0](out))

            normed, gate = modulated(hidden, 3 * number + 2)
            hidden = torch.addcmul(hidden, gate, block.ff(normed))
        normed, _ = modulated(hidden, 3 * len(self.blocks))
        return StepOutput(self.out(normed), keys, values)

    def turning(self, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
        """Two factors [L, P or 1, N, 2, 1, head_dim] of queries and keys, with their norms' weights folded in.

        ``x * w * cos + rotated(x * w) * sin``, as ``x * turn + swapped(x) * turn_across``, w being the norm's weights.
        """
        norms = torch.stack([torch.stack([b.attn1.norm_q.weight, b.attn1.norm_k.weight]) for b in self.blocks])
        norms = norms[:, None, None, :, None]  # blocks, pictures, tokens, queries and keys, heads, head_dim
        cosines, sines = (wave[:, :, None, None] for wave in (cosines, sines))
        half = norms.shape[-1] // 2
        signed = torch.cat([-norms[..., half:], norms[..., :half]], dim=-1)
        return (norms * cosines).to(norms.dtype), (signed * sines).to(norms.dtype)

    def _turned(self, normed: Tensor, number: int, turn: Tensor, turn_across: Tensor) -> tuple[Tensor, ...]:
        """A block's queries, keys and values of its input, [P, N, width] each; the first two with norm and position."""
        pair, value = F.linear(normed, self.qkv[number]).unflatten(-1, (3, self.heads, -1)).split((2, 1), dim=2)
        pair = rms_norm(pair, self.ones, 1e-6)
        swapped = torch.cat(pair.chunk(2, dim=-1)[::-1], dim=-1)
        turned = torch.addcmul(pair * turn[number], swapped, turn_across[number])
        return (*turned.flatten(2).chunk(2, dim=-1), value.flatten(2))

    def _heads(self, flat: Tensor) -> Tensor:
        """[P, N, heads, head_dim] of [P, N, width]."""
        return flat.unflatten(-1, (self.heads, -1))

    def _attend_behind(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        past: KeyValue | None,
        sees: Tensor | None,
        places: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """Attention of new tokens to themselves and to the past, [P, N, width]; with keys and values of both, where there is one.

        Args:
            query: [P, N, width]. key, value: [P, N, heads, head_dim].
        """
        if torch.compiler.is_exporting():
            if past is None or places is None:
                return (multi_head_attention(query, key.flatten(2), value.flatten(2), self.heads, sees),)
            all_keys, all_values = (written(room, part, places) for room, part in zip(past, (key, value), strict=True))
            return multi_head_attention(query, all_keys, all_values, self.heads, sees), all_keys, all_values
        query, key, value = (part.transpose(1, 2) for part in (self._heads(query), key, value))
        if past is None:
            return (attend(query, key, value, sees).transpose(1, 2).flatten(2),)
        for together, part in zip(past, (key, value), strict=True):
            together[:, :, -part.shape[2] :] = part
        return attend(query, *past, sees).transpose(1, 2).flatten(2), *past


def _attend_in_groups(
    query: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], reads: Sequence[Tensor | None]
) -> Tensor:
    """Attention [P, N, width] of groups of heads, each to its own keys and values."""
    heads = [key.shape[1] for key in keys]
    parts = query.split([count * keys[0].shape[3] for count in heads], dim=-1)
    if torch.compiler.is_exporting():
        mixed = list(map(multi_head_attention, parts, keys, values, heads, reads))
    else:
        apart = [part.unflatten(-1, (count, -1)).transpose(1, 2) for part, count in zip(parts, heads, strict=True)]
        mixed = [part.transpose(1, 2).flatten(2) for part in map(attend, apart, keys, values, reads)]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-1)
