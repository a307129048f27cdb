"""How a dialogue becomes tokens: one rule for training, inference and the tests.

    <|im_start|>user\\n <|vision_start|><|image_pad|>...<|vision_end|> text <|im_end|>\\n
    <|im_start|>assistant\\n text <BOV> <|vision_start|><|image_pad|>...<|vision_end|> text ... <|im_end|>\\n

A picture that the user gives stands between its vision marks alone; one that the model makes follows its `<BOV>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from duogen.document import Document, TextPart
from duogen.models.processor import BOV, IM_END, IM_START, DuoGenProcessor


class Unseen(NamedTuple):
    """A picture of which only the size, width and height, is known: enough to lay it out."""

    size: tuple[int, int]


Turn = tuple[str, Sequence[str | Image.Image | Unseen | None]]
"""A role and its parts in order; None is a bare `<BOV>` whose picture isn't shown (pretraining on text)."""


@dataclass(frozen=True)
class Slot:
    """Where one picture stands in the token sequence.

    `start` is where the last text segment before it begins. `asked` is the index of its `<BOV>`, or of its vision start
    where the user gave it: the tokens before it are the picture's semantic condition. `end` is one past its last token.
    `generated` tells who made it.
    """

    start: int
    asked: int
    end: int
    generated: bool
    grid: tuple[int, int, int]


@dataclass
class Tape:
    """A growing token sequence with the positions, the loss mask and the places of its pictures.

    Positions are those of multimodal RoPE (`Qwen2_5_VLModel.get_rope_index`): a text token counts one on all three
    axes; a picture's tokens lie as the MLLM's family has them (`DuoGenProcessor.spread`).
    """

    processor: DuoGenProcessor
    ids: list[int] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    _positions: list[tuple[int, int, int]] = field(default_factory=list)
    _next: int = 0

    def branch(self) -> Tape:
        """A copy that grows on its own."""
        return Tape(
            self.processor, list(self.ids), list(self.trained), list(self.slots), list(self._positions), self._next
        )

    def add_ids(self, ids: Iterable[int], trained: bool = False) -> None:
        """Appends text tokens; `trained` ones count in the loss of stage 1."""
        for token in ids:
            self.ids.append(token)
            self.trained.append(trained)
            self._positions.append((self._next,) * 3)
            self._next += 1

    def add_picture(self, grid: Tensor, generated: bool) -> None:
        """Appends a picture of `grid` = (t, h, w) patches; a generated one's `<BOV>` must be on the tape already."""
        asked = len(self.ids) - 1 if generated else len(self.ids)
        start = self.unconditional(asked)
        if generated and self.ids[-1] != self.processor.id(BOV):
            raise ValueError("a generated picture must follow <BOV>")
        before, behind = self.processor.marks()
        self.add_ids(before)
        spread, pad = self.processor.spread(grid), self.processor.id(self.processor.image_token)
        for offsets in spread.offsets:
            self.ids.append(pad)
            self.trained.append(False)
            time, row, column = (self._next + offset for offset in offsets)
            self._positions.append((time, row, column))
        self._next += spread.advance
        self.add_ids(behind)
        sides = tuple(int(side) for side in grid)
        self.slots.append(Slot(start, asked, len(self.ids), generated, sides))  # type: ignore[arg-type]

    def open_turn(self, role: str) -> None:
        """Appends the header of a turn."""
        self.add_ids([self.processor.id(IM_START), *self.processor.encode(f"{role}\n")])

    def close_turn(self, trained: bool = False) -> None:
        """Appends the end of a turn; only the end mark itself is ever trained."""
        self.add_ids([self.processor.id(IM_END)], trained)
        self.add_ids(self.processor.encode("\n"))

    def positions(self, start: int = 0) -> Tensor:
        """Positions [3, length - start] of the tokens from `start` on."""
        return torch.tensor(self._positions[start:], dtype=torch.long).T.reshape(3, -1)

    def unconditional(self, asked: int) -> int:
        """How many leading tokens guidance's negative branch keeps for a picture asked for at token `asked`.

        Only the last text segment is dropped: all tokens up to the last picture before stay. With no picture before,
        the sequence's first token alone stays, so that there is always something to attend to.
        """
        ends = [slot.end for slot in self.slots if slot.end <= asked]
        return ends[-1] if ends else 1


def lay_out(turns: Sequence[Turn], processor: DuoGenProcessor, open_end: bool = False) -> tuple[Tape, Tensor | None]:
    """A whole dialogue on a tape.

    Args:
        open_end: leave the last assistant turn open, so that decoding can go on from there. Where the last turn isn't
            the assistant's, its header is added.

    Returns:
        The tape, and the patches [sum of h * w, patch_dim] of all pictures (None where there are none, or one of them is
        `Unseen`).
    """
    shown = [part for _, parts in turns for part in parts if isinstance(part, Image.Image | Unseen)]
    images = [part for part in shown if isinstance(part, Image.Image)]
    if images and len(images) == len(shown):
        pixels, grids = processor.pixels(images)
    else:
        pixels, grids = None, processor.grids([part.size for part in shown])
    tape, index = Tape(processor), 0
    for number, (role, parts) in enumerate(turns):
        own = role == "assistant"
        tape.open_turn(role)
        for part in parts:
            if isinstance(part, str):
                tape.add_ids(processor.encode(part), trained=own)
                continue
            if own:
                tape.add_ids([processor.id(BOV)], trained=True)
            if part is None:
                continue
            tape.add_picture(grids[index], generated=own)
            index += 1
        if not (open_end and own and number == len(turns) - 1):
            tape.close_turn(trained=own)
    if open_end and (not turns or turns[-1][0] != "assistant"):
        tape.open_turn("assistant")
    return tape, pixels


def turns_of(document: Document, system_prompt: str | None = None, unseen: bool = False) -> list[Turn]:
    """The turns of a document, with the model's own system prompt where the document has none.

    Args:
        unseen: tell the pictures' sizes alone.
    """
    turns: list[Turn] = []
    if system_prompt and not any(message.role == "system" for message in document.messages):
        turns.append(("system", [system_prompt]))
    for message in document.messages:
        parts: list[str | Image.Image | Unseen | None] = []
        for part in message.content:
            if isinstance(part, TextPart):
                parts.append(part.text)
            else:
                parts.append(Unseen((part.width, part.height)) if unseen else document.picture(part).image())
        turns.append((message.role, parts))
    return turns
