"""Naming: each picture token of the MLLM is to say what it shows and where it is, in the embeddings of the words themselves.

From next-token prediction alone a small model learns to name what it looks at, but not to look for what is named: shapes
differ by a fiftieth of the variance of its picture tokens, too little for attention to match them with a word. Where
picture tokens are first drawn to the words' embeddings, finding is learned within a few hundred steps (docs/LOG.md;
alignment of single picture tokens is from SEA, arXiv 2408.11813). Places have names on shelf and page, and in the kitchen
those of its vessels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from duogen.models.layout import Slot
from duogen.models.processor import DuoGenProcessor
from duogen.training.data import Batch
from duogen.training.world.arrange import PLACES, place_names
from duogen.training.world.render import corner
from duogen.training.world.scene import CANVAS, STAGES, VESSELS, Place, Scene, vessel_places


def _kind(kind: str) -> str:
    """The word for a kind of thing: 'roof' for each of a roof's parts."""
    return kind.partition("_")[0]


_ALL = [thing for name, stage in STAGES.items() if name != "sheet" for thing in stage.things]
KINDS = tuple(dict.fromkeys(_kind(thing.kind) for thing in _ALL))
COLOURS = tuple(dict.fromkeys(thing.colour for thing in _ALL))
"""Colours and what stands in their place: forms of ingredients, sizes, digits."""
SPOTS = (*dict.fromkeys(place_names(*place)[0] for place in PLACES), *VESSELS)


@cache
def token_spots(stage: str, columns: int) -> list[tuple[int, int]]:
    """The picture tokens of a stage whose places have names: index in reading order, index in `SPOTS`.

    Args:
        columns: tokens in a row of the picture.
    """
    if stage in ("shelf", "page"):
        named = [(place, place_names(*place)[0]) for place in PLACES]
    elif stage == "kitchen":
        named = [(place, vessel) for vessel in VESSELS for place in vessel_places(vessel)]
    else:
        return []
    return [(index, SPOTS.index(name)) for place, name in named for index in _tokens_at(stage, place, columns)]


def _tokens_at(stage: str, place: Place, columns: int) -> list[int]:
    """The picture tokens that a place covers."""
    side = CANVAS // columns
    wide, high = STAGES[stage].width // side, STAGES[stage].height // side
    x, y = (edge // side for edge in corner(stage, place))
    return [(y + down) * columns + x + right for down in range(high) for right in range(wide)]


def token_things(scene: Scene, columns: int) -> list[tuple[int, int, int]]:
    """The picture tokens that show a thing: index in reading order, index in `KINDS`, index in `COLOURS`.

    Nothing for drawings, whose strokes lie one over the other, and nothing where the picture is so small to the model
    that a token shows more than one place.

    Args:
        columns: tokens in a row of the picture.
    """
    found = []
    if scene.stage == "sheet":
        return []
    for place, thing in scene.things.items():
        names = KINDS.index(_kind(thing.kind)), COLOURS.index(thing.colour)
        found += [(index, *names) for index in _tokens_at(scene.stage, place, columns)]
    return found


def picture_tokens(slot: Slot, merge: int) -> range:
    """Where a picture's tokens stand in its dialogue, in reading order; behind them stands the picture's end mark."""
    return range(slot.end - 1 - slot.grid[1] * slot.grid[2] // merge**2, slot.end - 1)


@dataclass(frozen=True)
class Naming:
    """Which tokens of a batch show a thing or a place with a name, and how these are called.

    `where` [N, 2] row and column in the batch, `kinds` and `colours` [N] indices in `KINDS` and `COLOURS`; `around` [M, 2] and
    `spots` [M] the same for places, empty ones too.
    """

    where: Tensor
    kinds: Tensor
    colours: Tensor
    around: Tensor
    spots: Tensor

    @staticmethod
    def of(batch: Batch, processor: DuoGenProcessor) -> Naming | None:
        """None where no picture of the batch shows a thing."""
        merge = processor.image_processor.merge_size
        named: list[tuple[int, ...]] = []
        placed: list[tuple[int, ...]] = []
        for row, (slots, scenes) in enumerate(zip(batch.slots, batch.scenes, strict=True)):
            for slot, scene in zip(slots, scenes, strict=True):
                if scene is None:
                    continue
                tokens = picture_tokens(slot, merge)
                columns = slot.grid[2] // merge
                named += [(row, tokens[index], *names) for index, *names in token_things(scene, columns)]
                placed += [(row, tokens[index], spot) for index, spot in token_spots(scene.stage, columns)]
        if not named:
            return None
        table, places = torch.tensor(named), torch.tensor(placed, dtype=torch.long).reshape(-1, 3)
        return Naming(table[:, :2], table[:, 2], table[:, 3], places[:, :2], places[:, 2])

    def loss(self, embedded: Tensor, words: Tensor, processor: DuoGenProcessor) -> tuple[Tensor, float]:
        """Cross-entropy of kind, colour and place among all kinds, all colours and all places.

        Args:
            embedded: [B, L, hidden], what the language model is given. words: [vocabulary, hidden], its embeddings.

        Returns:
            The sum of the three, and the share of tokens whose kind is named right.
        """

        def scores(where: Tensor, names: tuple[str, ...]) -> Tensor:
            tokens = embedded[where[:, 0], where[:, 1]]
            return (F.rms_norm(tokens, tokens.shape[-1:]) @ word_vectors(names, words, processor).T).float()

        kinds, colours, spots = (wanted.to(words.device) for wanted in (self.kinds, self.colours, self.spots))
        of_kind = scores(self.where, KINDS)
        loss = F.cross_entropy(of_kind, kinds) + F.cross_entropy(scores(self.where, COLOURS), colours)
        if len(spots):
            loss = loss + F.cross_entropy(scores(self.around, SPOTS), spots)
        return loss, (of_kind.argmax(-1) == kinds).float().mean().item()


def word_vectors(names: tuple[str, ...], words: Tensor, processor: DuoGenProcessor) -> Tensor:
    """[names, hidden]: the embedding of each word as it stands within a sentence, the mean of its tokens'."""
    return torch.stack([words[processor.tokenizer(" " + name)["input_ids"]].mean(0) for name in names])
