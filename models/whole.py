"""The DiT at every denoising step of one picture, where all frames see one another: each step runs them all.

For checkpoints of ``full`` mode, the paper's. What the noise doesn't decide is computed once a picture all the same: the tokens of
condition frames, modulations at all noise levels, rotary angles and masks. `CosmosDiT` gives the same velocities (a test compares
them).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from duogen.models.canvas import Canvas, text_of
from duogen.models.dit import CosmosDiT, Frame
from duogen.models.step import Step, StepFunction, StepInputs


class WholeDenoiser:
    """Velocities of a picture behind condition frames that see it.

    Args:
        shape: of the picture's latent, (1, C, h, w).
        earlier: latents [1, C, h, w] of the condition frames, in order; of any sizes.
        canvas: the picture's.
        sigmas: [steps], the noise level of each step.
        step: runs the network; torch, where it is None.
    """

    @torch.no_grad()
    def __init__(
        self,
        dit: CosmosDiT,
        shape: Sequence[int],
        earlier: Sequence[Tensor],
        canvas: Canvas,
        sigmas: Tensor,
        step: StepFunction | None = None,
    ) -> None:
        weight = dit.model.patch_embed.proj.weight
        self.dit, self.sigmas, self._step = dit, sigmas, step or Step(dit, keeping=False)
        frames = [*earlier, weight.new_zeros(tuple(shape))]
        positions = torch.cat([dit.positions(Frame(each, n, sigmas[:1], False)) for n, each in enumerate(frames)])
        self._known = torch.cat([dit.patchify(each) for each in earlier], dim=1) if earlier else None
        known = 0 if self._known is None else self._known.shape[1]
        new = torch.arange(len(positions), device=weight.device) >= known
        text = text_of([canvas], dit.segment_heads)
        turn, turn_across = self._step.turning(*(wave[None] for wave in dit.rotary(positions)))
        learned = dit.learned(positions)
        self._inputs = StepInputs(
            shown=(~new).to(weight.dtype)[None, :, None],
            turn=turn,
            turn_across=turn_across,
            past_keys=[],
            past_values=[],
            text_keys=text.keys,
            text_values=text.values,
            reads=text.reads,
            learned=None if learned is None else learned[None],
            sees=None,
            frame=new.long(),
        )
        self._modulations, self._branches = dit.modulations.at(sigmas), len(canvas.cross_mask)

    def __call__(self, latent: Tensor, step: int, guided: bool) -> Tensor:
        """The velocities [branches, C, h, w] at a step, of a latent [1, C, h, w]; with one branch, where it isn't guided."""
        rows = self._branches if guided else 1
        new = self.dit.patchify(latent)
        tokens = new if self._known is None else torch.cat([self._known, new], dim=1)
        both = torch.stack([self._modulations[-1], self._modulations[step]])
        inputs = self._inputs._replace(
            text_keys=[keys.expand(rows, -1, -1, -1) for keys in self._inputs.text_keys],
            text_values=[values.expand(rows, -1, -1, -1) for values in self._inputs.text_values],
            reads=[reads if reads is None else reads[:rows] for reads in self._inputs.reads],
        )
        out = self._step(tokens.expand(rows, -1, -1), both, *inputs)
        return self.dit.velocity(out.answer[:, -new.shape[1] :], latent.expand(rows, -1, -1, -1), self.sigmas[step])
