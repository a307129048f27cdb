"""What stood in a picture token's place in the picture before, said by the MLLM behind half of its layers.

Whether two pictures differ, and where, is asked in words ("What changed?") and needed for every check of a painted picture;
but one answer a dialogue hardly teaches a model to lay 36 tokens over 36 others. Here every token of a picture answers: a
linear head names what the picture before shows in its place, and says whether that is the same. The head is of training alone
and isn't kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duogen.models.processor import DuoGenProcessor
from duogen.training.data import Batch
from duogen.training.naming import picture_tokens
from duogen.training.showing import UNKNOWN, Showing, labels_of


class Comparing(nn.Module):
    """The head: hidden states [.., width] to what stood there, and to whether that is gone or other now."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.changed = Showing(width), nn.Linear(width, 1)

    def loss(
        self, states: Tensor, batch: Batch, processor: DuoGenProcessor, weight: float = 5.0
    ) -> tuple[Tensor, Tensor] | None:
        """None where no picture of the batch follows another one of the same scene.

        Args:
            states: [B, L, hidden], of a layer of the language model.
            weight: of tokens that show something else than in the picture before, against those that don't.

        Returns:
            The sum of the cross-entropies, and which changed tokens' former kinds are named right.
        """
        where, labels = compared(batch, processor)
        if not len(where):
            return None
        hidden = states[where[..., 0].to(states.device), where[..., 1].to(states.device)]
        labels = labels.to(states.device)
        loss, right = self.before.loss(hidden, labels, weight)
        known, new = labels[..., 0] != UNKNOWN, labels[..., 2].float()
        scores = self.changed(F.layer_norm(hidden.float(), hidden.shape[-1:]))[..., 0].float()
        differs = F.binary_cross_entropy_with_logits(scores[known], new[known], pos_weight=scores.new_tensor(weight))
        return loss + differs, right


def compared(batch: Batch, processor: DuoGenProcessor) -> tuple[Tensor, Tensor]:
    """The tokens of all pictures that follow a picture of the same stage.

    Returns:
        [P, n, 2], row and column of each token in the batch; [P, n, 3], kind and colour of what the picture before shows there
        (`duogen.training.showing.labels_of`), and whether this one shows something else. P is 0 where no picture does.
    """
    merge = processor.image_processor.merge_size
    where, labels = [], []
    for row, (slots, scenes) in enumerate(zip(batch.slots, batch.scenes, strict=True)):
        if len(slots) < 2:
            continue
        shown = labels_of([scenes], slots[0].grid[2] // merge)[0]
        for index in range(1, len(slots)):
            before, after = scenes[index - 1], scenes[index]
            if before is None or after is None or before.stage != after.stage:
                continue
            if slots[index - 1].grid != slots[index].grid:
                continue
            tokens = picture_tokens(slots[index], merge)
            where.append(torch.stack([torch.full((len(tokens),), row), torch.tensor(tokens)], dim=-1))
            labels.append(torch.cat([shown[index - 1, :, :2], shown[index, :, 2:]], dim=-1))
    if not where:
        return torch.zeros(0, 0, 2, dtype=torch.long), torch.zeros(0, 0, 3, dtype=torch.long)
    return torch.stack(where), torch.stack(labels)
