"""The DiT at every denoising step of some pictures, with all that their noise doesn't decide computed once.

A step of a small model is a few hundred small operations, and half of its time is spent between them; a step of a large one
repeats work that is the same in all steps. What is prepared here, once a picture: the modulations of all blocks at all noise
levels; rotary angles, with the norms of queries and keys folded in; the keys and values of the pictures before; the mask over the text. What is left is a `Step`, whoever runs it.

For checkpoints of ``causal`` mode, whose earlier pictures don't see the new one; `duogen.models.whole` has those of ``full`` mode.
`CosmosDiT` gives the same velocities (a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from duogen.models.attention import as_bias
from duogen.models.canvas import Canvas, text_of
from duogen.models.dit import CosmosDiT, Frame, KeyValue
from duogen.models.step import Step, StepFunction, StepInputs


class Denoiser:
    """Velocities of pictures of one size that are painted at the same time.

    Args:
        shape: of one picture's latent, (1, C, h, w).
        canvases: of each picture, all with as many branches.
        sigmas: [steps], the noise level of each step.
        step: runs the network; torch, where it is None.
    """

    @torch.no_grad()
    def __init__(
        self,
        dit: CosmosDiT,
        shape: Sequence[int],
        canvases: Sequence[Canvas],
        sigmas: Tensor,
        step: StepFunction | None = None,
    ) -> None:
        weight = dit.model.patch_embed.proj.weight
        self.dit, self.canvases, self.branches = dit, canvases, len(canvases[0].cross_mask)
        self.sigmas, self._step = sigmas, step or Step(dit)
        blank = weight.new_zeros(tuple(shape))
        positions = [dit.positions(Frame(blank, canvas.time, sigmas[:1], False)) for canvas in canvases]
        learned = [each for each in map(dit.learned, positions) if each is not None]
        self._waves = [self._rows(torch.stack(each)) for each in zip(*map(dit.rotary, positions), strict=True)]
        counts = [0 if canvas.past is None else canvas.past[0][0].shape[2] for canvas in canvases]
        before, tokens = max(counts), len(positions[0])
        self._before = [before - count for count in counts]
        sees = None
        if min(counts) < before:  # shorter pasts stand to the right, behind nothing
            seen = torch.arange(before + tokens) >= before - torch.tensor(counts)[:, None]
            sees = as_bias(self._rows(seen[:, None, None].to(weight.device)), weight.dtype)
        empty = weight.new_zeros(1, dit.model.config.num_attention_heads, 0, dit.model.config.attention_head_dim)
        nothing = [(empty, empty)] * len(dit.model.transformer_blocks)
        turn, turn_across = self._step.turning(*self._waves)
        past_keys, past_values = self._padded([canvas.past or nothing for canvas in canvases], before, tokens)
        text = text_of(canvases, dit.segment_heads)
        self._inputs = StepInputs(
            shown=weight.new_zeros(1, 1, 1),
            turn=turn,
            turn_across=turn_across,
            past_keys=past_keys,
            past_values=past_values,
            text_keys=list(map(self._rows, text.keys)),
            text_values=list(map(self._rows, text.values)),
            reads=text.reads,
            learned=self._rows(torch.stack(learned)) if learned else None,
            sees=sees,
            frame=None,
        )
        self._modulations = dit.modulations.at(sigmas)

    @cached_property
    def _first_branch(self) -> StepInputs:
        """The inputs of a step without guidance."""
        rows = len(self.canvases)

        def first(value: Any) -> Any:
            if isinstance(value, list):
                return [part[:rows] for part in value]
            return value if value is None or len(value) == 1 else value[:rows]

        turn, turn_across = self._step.turning(*(wave[:rows] for wave in self._waves))
        text = text_of([canvas.first_branch() for canvas in self.canvases], self.dit.segment_heads)
        alone = self._inputs._replace(text_keys=text.keys, text_values=text.values, reads=[])
        return StepInputs(*map(first, alone))._replace(turn=turn, turn_across=turn_across, reads=text.reads)

    def _rows(self, each: Tensor) -> Tensor:
        """What is said of each picture, for each branch of each: all pictures' first branches come first."""
        return each if self.branches == 1 else each.repeat(self.branches, *[1] * (each.ndim - 1))

    def _padded(self, each: Sequence[Sequence[KeyValue]], length: int, room: int) -> tuple[list[Tensor], list[Tensor]]:
        """Each block's keys, and its values, [rows, heads, length + room, head_dim], on the right, with the room behind them."""

        def together(parts: Sequence[Tensor]) -> Tensor:
            return self._rows(torch.cat([F.pad(part, (0, 0, length - part.shape[2], room)) for part in parts]))

        blocks = [[together(parts) for parts in zip(*pictures, strict=True)] for pictures in zip(*each, strict=True)]
        return [keys for keys, _ in blocks], [values for _, values in blocks]

    def __call__(self, latents: Tensor, step: int, guided: bool) -> Tensor:
        """The velocities [branches * pictures, C, h, w] at a step, of latents [pictures, C, h, w]; with one branch, where it isn't
        guided."""
        inputs = self._inputs if guided or self.branches == 1 else self._first_branch
        latents = self._rows(latents) if guided else latents
        out = self._step(self.dit.patchify(latents), self._modulations[step], *inputs)
        return self.dit.velocity(out.answer, latents, self.sigmas[step])

    def keep(self, latents: Tensor) -> list[list[KeyValue]]:
        """For each picture: the keys and values of those before it and, behind them, its own as a condition frame.

        Of one picture they are the same to the last bit, whatever it was painted with: a session that is made anew has them again.
        """
        inputs = self._inputs if self.branches == 1 else self._first_branch
        shown = inputs._replace(shown=torch.ones_like(inputs.shown))
        out = self._step(self.dit.patchify(latents), self._modulations[-1], *shown)
        return [
            [(self._own(key, row), self._own(value, row)) for key, value in zip(out.keys, out.values, strict=True)]
            for row in range(len(self.canvases))
        ]

    def _own(self, all_of_them: Tensor, row: int) -> Tensor:
        """A picture's keys, or values, of what a step returns for all; shorter pasts stand to the right there."""
        own = all_of_them[row : row + 1, :, self._before[row] :]
        return own if len(all_of_them) == 1 else own.clone()
