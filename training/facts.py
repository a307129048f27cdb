"""Facts: words that a picture could contradict, and what each counts in stage 1.

How an answer is worded can't be foreseen, what it states can: where all tokens count alike, most of the gradient is about
wording. And where all facts count alike, most of it is about places and colours: one herb in a hundred facts was still
guessed at after ten thousand steps (docs/LOG.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from duogen.models.check import NO, YES
from duogen.models.processor import DuoGenProcessor
from duogen.training.data import FAMILIES, draw_task

SAMPLE = 2000
"""Tasks in which facts are counted."""
RAREST = 4.0
"""How much more a rare fact may count than the most frequent one."""


def fact_ids(processor: DuoGenProcessor) -> list[int]:
    """The tokens of all facts: colours, shapes, places, numbers, parts, ingredients, yes and no.

    A word that the tokenizer cuts into pieces is left out: its pieces are those of other words, too. Yes and no are known by
    their first piece.
    """
    slots = (slot for family in FAMILIES.values() for slot in family.grammar.words.values())
    words = {word for values in slots for names in values.values() for name in names for word in name.split()}
    found = [processor.tokenizer(" " + word)["input_ids"] for word in words - {"and"}]
    verdicts = [processor.tokenizer(f" {word}")["input_ids"][0] for word in (YES, NO)]
    return sorted({*(ids[0] for ids in found if len(ids) == 1), *verdicts})


def fact_weights(processor: DuoGenProcessor, weight: float, shares: Mapping[str, float]) -> Tensor:
    """What each token of the vocabulary counts as a target: 1, and for facts `weight` or more.

    A fact counts by the square root of how much rarer it is than the most frequent one, up to `RAREST` times as much.

    Args:
        weight: of the most frequent fact.
        shares: of the families, in which facts are counted.
    """
    weights = torch.ones(len(processor.tokenizer))
    facts = fact_ids(processor)
    texts = [
        segment
        for index in range(SAMPLE)
        for turn in draw_task(0, index, shares=shares).turns
        for segment in turn.segments
    ]
    counts = Counter(token for ids in processor.tokenizer(texts)["input_ids"] for token in ids)
    most = max(counts[fact] for fact in facts)
    for fact in facts:
        weights[fact] = weight * min(RAREST, (most / max(1, counts[fact])) ** 0.5)
    return weights
