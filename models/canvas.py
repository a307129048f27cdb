"""What one picture is painted from, and what of it a denoising step is given: the text, each head's own part of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from duogen.models.attention import as_bias
from duogen.models.dit import KeyValue


class Canvas(NamedTuple):
    """What one picture is painted from.

    `time`: its place among the pictures. `context`: of `CosmosDiT.context`. `cross_mask`: what it reads of that, boolean
    [branches, heads or 1, 1, S]. `past`: self-attention's keys and values of the pictures before, if there are any.
    """

    time: int
    context: Sequence[KeyValue]
    cross_mask: Tensor
    past: Sequence[KeyValue] | None = None

    def first_branch(self) -> Canvas:
        """The same without guidance."""
        return self._replace(cross_mask=self.cross_mask[:1])


class Text(NamedTuple):
    """The text that P pictures read. Heads that read alike are a group: one of G.

    `keys`, `values`: of each block's groups, one block after the other, [P, heads of the group, S, head_dim], where S is the longest text
    that the group reads. `reads`: each group's bias [branches * P, 1, 1, S], all first branches first; None where all is read.
    """

    keys: list[Tensor]
    values: list[Tensor]
    reads: list[Tensor | None]


def text_of(canvases: Sequence[Canvas], segment_heads: int) -> Text:
    """What is read of the text; nothing that a group of heads doesn't read is left in it.

    Args:
        canvases: all with as many branches.
        segment_heads: of `CosmosDiT`; the last segment is a small part of a long dialogue.
    """
    heads = canvases[0].context[0][0].shape[1]
    groups = [_read_by(canvases, start, end) for start, end in pairwise(sorted({0, segment_heads, heads}))]
    keys, values = (
        [part for parts in zip(*(group[which] for group in groups), strict=True) for part in parts] for which in (0, 1)
    )
    return Text(keys, values, [group.reads[0] for group in groups])


def _read_by(canvases: Sequence[Canvas], start: int, end: int) -> Text:
    """The same for a range of heads that read alike."""
    masks = [canvas.cross_mask[:, start : start + 1] for canvas in canvases]
    read = [mask.any(0).flatten().nonzero()[:, 0] for mask in masks]
    longest = max(map(len, read))

    def chosen(part: Tensor, index: Tensor) -> Tensor:
        part = part[:, start:end]
        if len(index) < part.shape[2]:
            part = part.index_select(2, index)
        return part if len(index) == longest else F.pad(part, (0, 0, 0, longest - len(index)))

    def together(parts: Sequence[Tensor]) -> Tensor:
        ours = list(map(chosen, parts, read))
        return ours[0] if len(ours) == 1 else torch.cat(ours)

    sees = [F.pad(mask[..., index], (0, longest - len(index))) for mask, index in zip(masks, read, strict=True)]
    mask = torch.stack(sees, dim=1).flatten(0, 1)
    blocks = list(zip(*(canvas.context for canvas in canvases), strict=True))
    keys, values = ([together([pair[which] for pair in block]) for block in blocks] for which in (0, 1))
    return Text(keys, values, [None if bool(mask.all()) else as_bias(mask, keys[0].dtype)])
