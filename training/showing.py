"""What each token of a painted picture is to show, said by the DiT itself on its way to painting it.

The squared error hardly speaks of what a picture shows: to the latents a ball and a cup of one colour differ less than two
backdrops do, and where little is left of the picture but noise, where it is decided, all of it speaks of averages. So a linear
head behind two thirds of the blocks names kind and colour of what each token of a noisy picture will show, and its
cross-entropy is added to the loss (the DiT's inner states are aligned with what a picture shows in REPA, arXiv 2410.06940, too;
there with the features of another network). The head is of training alone and isn't kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duogen.training.naming import COLOURS, KINDS, token_things
from duogen.training.world.figures import FIGURES, figure
from duogen.training.world.scene import CANVAS, Scene

STROKES = tuple((subject, step) for subject in FIGURES for step in range(len(FIGURES[subject])))
"""Kinds of a sheet: the last step that left its mark."""
NOTHING = (0, 0)
KIND_COUNT, COLOUR_COUNT = 1 + len(KINDS) + len(STROKES), 1 + len(COLOURS)
UNKNOWN = -100


class Showing(nn.Module):
    """The head: hidden states [.., width] to scores of kinds and of colours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kinds, self.colours = nn.Linear(width, KIND_COUNT), nn.Linear(width, COLOUR_COUNT)

    def loss(self, hidden: Tensor, labels: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy of kinds and colours, and which kinds are named right.

        Args:
            hidden: [P, n, width], of noisy pictures. labels: [P, n, 3] of `labels_of`.
            weight: of tokens that show something else than in the picture before, against those that don't.
        """
        hidden = F.layer_norm(hidden.float(), hidden.shape[-1:])
        kinds, colours, new = labels.unbind(-1)
        counts = torch.where(new.bool(), weight, 1.0) * (kinds != UNKNOWN)
        scores = self.kinds(hidden)
        errors = sum(
            F.cross_entropy(given.float().movedim(-1, 1), wanted, reduction="none", ignore_index=UNKNOWN)
            for given, wanted in ((scores, kinds), (self.colours(hidden), colours))
        )
        right = (scores.argmax(-1) == kinds)[new.bool() & (kinds != UNKNOWN)]
        return (errors * counts).sum() / counts.sum().clamp_min(1), right


def labels_of(dialogues: Sequence[Sequence[Scene | None]], columns: int) -> Tensor:
    """What all pictures of some dialogues show: [B, K, columns^2, 3], kind and colour of each token, and whether it is new.

    New is what the picture before doesn't show; before the first picture stands the empty stage. `UNKNOWN` where nothing is known of a picture, and
    where a dialogue has no more.
    """
    most = max(len(scenes) for scenes in dialogues)
    labels = np.full((len(dialogues), most, columns**2, 3), UNKNOWN)
    for row, scenes in enumerate(dialogues):
        for index, scene in enumerate(scenes):
            if scene is not None and columns * 32 <= CANVAS:
                labels[row, index, :, :2] = _tokens(scene, columns)
    labels[:, :1, :, 2] = labels[:, :1, :, 0] > 0
    labels[:, 1:, :, 2] = (labels[:, 1:, :, :2] != labels[:, :-1, :, :2]).any(-1)
    return torch.from_numpy(labels)


@lru_cache(maxsize=4096)
def _tokens(scene: Scene, columns: int) -> np.ndarray:
    """Kind and colour [columns^2, 2] of a scene's tokens in reading order."""
    found = np.zeros((columns**2, 2), dtype=np.int64)
    found[:] = NOTHING
    for index, kind, colour in token_things(scene, columns):
        found[index] = 1 + kind, 1 + colour
    if scene.stage == "sheet":
        for (step, _), (subject, shade) in sorted(scene.things.items()):
            label = 1 + len(KINDS) + STROKES.index((subject, step)), 1 + COLOURS.index(shade)
            found[_marked(subject, step, columns)] = label
    return found


@cache
def _marked(subject: str, step: int, columns: int) -> np.ndarray:
    """Which tokens [columns^2] a step of a drawing leaves a mark in."""
    side = CANVAS // columns
    alpha = np.asarray(figure(subject, step, "red"))[..., 3]
    return alpha.reshape(columns, side, columns, side).max((1, 3)).reshape(-1) > 64
