"""Shift, scale and gate of a Cosmos transformer's norms, at the noise levels of a picture's steps.

They depend on nothing else, and pictures of a plan have the same steps: of the default model, making them took as long as a
denoising step. So they are kept for as long as the weights stay what they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SCHEDULES = 4
"""Of so many sequences of noise levels modulations are kept."""


class Modulations:
    """The modulations of a transformer.

    Args:
        last: the noise level that comes behind those asked for, that of condition frames.
    """

    def __init__(self, model: Any, last: float) -> None:
        self.model, self.last = model, last
        self._known: dict[tuple[float, ...], Tensor] = {}
        self._of: Hashable = None

    @torch.no_grad()
    def at(self, sigmas: Tensor) -> Tensor:
        """Shift, scale (plus one) and gate of all norms, in the order in which they come: [steps + 1, (3 L + 1) * 3 * width].

        The last ones are computed by themselves: their rounding mustn't depend on how many steps there are.
        """
        stand, levels = tuple(self._stand()), tuple(sigmas.tolist())
        if stand != self._of or (len(self._known) >= SCHEDULES and levels not in self._known):
            self._of, self._known = stand, {}
        if levels not in self._known:
            parts = [self._make(sigmas)] if levels else []
            self._known[levels] = torch.cat([*parts, self._make(sigmas.new_tensor([self.last]))])
        return self._known[levels]

    def _norms(self) -> Iterator[Any]:
        """All that have three modulations; the last norm has two."""
        for block in self.model.transformer_blocks:
            yield from (block.norm1, block.norm2, block.norm3)

    def _stand(self) -> Iterator[Hashable]:
        """What changes when the weights do, however that happens: trained, replaced, or moved."""
        for part in (self.model.time_embed, *self._norms(), self.model.norm_out):
            for weight in part.parameters():
                place = weight.data_ptr() if type(weight.data) is Tensor else id(weight)
                yield place, 0 if weight.is_inference() else weight._version, weight.dtype, weight.device

    def _make(self, sigmas: Tensor) -> Tensor:
        model, weight = self.model, self.model.patch_embed.proj.weight
        temb, embedded = model.time_embed(weight, sigmas.to(weight.device))
        width = weight.shape[0]
        tables = [norm.linear_2(norm.linear_1(F.silu(embedded))) + temb for norm in self._norms()]
        last = model.norm_out.linear_2(model.norm_out.linear_1(F.silu(embedded))) + temb[:, : 2 * width]
        tables.append(F.pad(last, (0, width)))
        all_of_them = torch.stack(tables, dim=1).unflatten(-1, (3, width))
        all_of_them[:, :, 1] += 1
        return all_of_them.flatten(1)
