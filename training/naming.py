"""Naming: each picture token of the MLLM is to say what it shows, in the embeddings of the words themselves.

From next-token prediction alone a small model learns to name what it looks at, but not to look for what is named: shapes
differ by a fiftieth of the variance of its picture tokens, too little for attention to match them with a word. Where
picture tokens are first drawn to the words' embeddings, finding is learned within a few hundred steps (docs/LOG.md;
alignment of single picture tokens is from SEA, arXiv 2408.11813).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from duogen.models.layout import Slot
from duogen.models.processor import DuoGenProcessor
from duogen.training.data import Batch
from duogen.training.world.render import corner
from duogen.training.world.scene import CANVAS, STAGES, Scene


def _kind(kind: str) -> str:
    """The word for a kind of thing: 'roof' for each of a roof's parts."""
    return kind.partition("_")[0]


_ALL = [thing for name, stage in STAGES.items() if name != "sheet" for thing in stage.things]
KINDS = tuple(dict.fromkeys(_kind(thing.kind) for thing in _ALL))
COLOURS = tuple(dict.fromkeys(thing.colour for thing in _ALL))
"""Colours and what stands in their place: forms of ingredients, sizes, digits."""


def token_things(scene: Scene, columns: int) -> list[tuple[int, int, int]]:
    """The picture tokens that show a thing: index in reading order, index in `KINDS`, index in `COLOURS`.

    Nothing for drawings, whose strokes lie one over the other, and nothing where the picture is so small to the model
    that a token shows more than one place.

    Args:
        columns: tokens in a row of the picture.
    """
    found = []
    side = CANVAS // columns
    if scene.stage == "sheet":
        return []
    wide, high = STAGES[scene.stage].width // side, STAGES[scene.stage].height // side
    for place, thing in scene.things.items():
        x, y = (edge // side for edge in corner(scene.stage, place))
        names = KINDS.index(_kind(thing.kind)), COLOURS.index(thing.colour)
        found += [((y + down) * columns + x + right, *names) for down in range(high) for right in range(wide)]
    return found


def picture_tokens(slot: Slot, merge: int) -> range:
    """Where a picture's tokens stand in its dialogue, in reading order; behind them stands the picture's end mark."""
    return range(slot.end - 1 - slot.grid[1] * slot.grid[2] // merge**2, slot.end - 1)


@dataclass(frozen=True)
class Naming:
    """Which tokens of a batch show a thing, and how it is called.

    `where` [N, 2] row and column in the batch, `kinds` and `colours` [N] indices in `KINDS` and `COLOURS`.
    """

    where: Tensor
    kinds: Tensor
    colours: Tensor

    @staticmethod
    def of(batch: Batch, processor: DuoGenProcessor) -> Naming | None:
        """None where no picture of the batch shows a thing."""
        merge = processor.image_processor.merge_size
        named: list[tuple[int, ...]] = []
        for row, (slots, scenes) in enumerate(zip(batch.slots, batch.scenes, strict=True)):
            for slot, scene in zip(slots, scenes, strict=True):
                if scene is None:
                    continue
                tokens = picture_tokens(slot, merge)
                named += [(row, tokens[index], *names) for index, *names in token_things(scene, slot.grid[2] // merge)]
        if not named:
            return None
        table = torch.tensor(named)
        return Naming(table[:, :2], table[:, 2], table[:, 3])

    def loss(self, embedded: Tensor, words: Tensor, processor: DuoGenProcessor) -> tuple[Tensor, float]:
        """Cross-entropy of kind and colour among all kinds and all colours.

        Args:
            embedded: [B, L, hidden], what the language model is given. words: [vocabulary, hidden], its embeddings.

        Returns:
            The sum of the two, and the share of tokens whose kind is named right.
        """
        tokens = embedded[self.where[:, 0], self.where[:, 1]]
        tokens = F.rms_norm(tokens, tokens.shape[-1:])
        of_kind, of_colour = ((tokens @ word_vectors(names, words, processor).T).float() for names in (KINDS, COLOURS))
        kinds, colours = self.kinds.to(tokens.device), self.colours.to(tokens.device)
        loss = F.cross_entropy(of_kind, kinds) + F.cross_entropy(of_colour, colours)
        return loss, (of_kind.argmax(-1) == kinds).float().mean().item()


def word_vectors(names: tuple[str, ...], words: Tensor, processor: DuoGenProcessor) -> Tensor:
    """[names, hidden]: the embedding of each word as it stands within a sentence, the mean of its tokens'."""
    return torch.stack([words[processor.tokenizer(" " + name)["input_ids"]].mean(0) for name in names])
