"""Several dialogues in one row of tokens, none of which sees another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duogen.document import Document, Picture
from duogen.models.layout import Slot, lay_out, turns_of
from duogen.models.processor import DuoGenProcessor


@dataclass(frozen=True)
class Placed:
    """A dialogue in a pack: from which token to which, its pictures' places, counted from its own beginning, and the pictures."""

    start: int
    end: int
    slots: list[Slot]
    pictures: list[Picture]


@dataclass
class Pack:
    """Dialogues in a row of L tokens: `ids` [1, L], `positions` [3, 1, L], `order` [1, L], where each token stands in its own dialogue,
    `trained` [1, L], and the `pixels` and `grids` of all pictures that are seen."""

    ids: Tensor
    positions: Tensor
    order: Tensor
    trained: Tensor
    pixels: Tensor | None
    grids: Tensor | None
    dialogues: list[Placed]


def packed(
    documents: Sequence[Document],
    processor: DuoGenProcessor,
    system_prompt: str | None = None,
    lengths: Sequence[int] | None = None,
    unseen: bool = False,
) -> Pack:
    """A pack of documents.

    Args:
        lengths: how many tokens of each are taken, where not all are: pictures behind them aren't seen by the MLLM.
        unseen: leave the pictures' pixels away.
    """
    ids: list[int] = []
    trained: list[bool] = []
    positions, orders, pixels, grids, dialogues = [], [], [], [], []
    for index, document in enumerate(documents):
        tape, patches = lay_out(turns_of(document, system_prompt, unseen), processor)
        length = len(tape.ids) if lengths is None else lengths[index]
        start = len(ids)
        ids += tape.ids[:length]
        trained += tape.trained[:length]
        positions.append(tape.positions()[:, :length])
        orders.append(torch.arange(length))
        seen = [slot for slot in tape.slots if slot.end <= length]
        if seen and patches is not None:
            own = torch.tensor([slot.grid for slot in seen])
            pixels.append(patches[: sum(processor.pixel_rows(own))])
            grids.append(own)
        pictures = [document.picture(part) for part in document.images]
        dialogues.append(Placed(start, len(ids), tape.slots, pictures))
    return Pack(
        torch.tensor([ids]),
        torch.cat(positions, dim=1)[:, None],
        torch.cat(orders)[None],
        torch.tensor([trained]),
        torch.cat(pixels) if pixels else None,
        torch.cat(grids) if grids else None,
        dialogues,
    )
