"""The same dialogue without any cache: the yardstick that the fast path is held against.

Every function prefills the whole token sequence again, recomputes every key and value, and shows the DiT all frames at
every denoising step, with masks where the fast path keeps what it knows. Only the condition latents are shared: a
painted picture's clean latent is its condition frame on both paths, because a round trip through the VAE isn't exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

from duogen.models.dit import CONDITION_SIGMA, Frame
from duogen.models.layout import Tape
from duogen.models.mllm import batch_states
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV, IM_END
from duogen.models.sampler import PaintSettings, denoise, initial_noise, noise_levels


@torch.no_grad()
def prefill(pipeline: DuoGenPipeline, tape: Tape, pixels: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
    """The first `length` tokens of a tape, from nothing.

    Args:
        pixels: patches of all pictures on the tape; those behind `length` are left out.

    Returns:
        Logits [vocabulary] after the last of them, and hidden states [1, length, layers, hidden].
    """
    slots = [slot for slot in tape.slots if slot.end <= length]
    grids = torch.tensor([slot.grid for slot in slots]) if slots else None
    if pixels is not None and grids is not None:
        pixels = pixels[: sum(pipeline.processor.pixel_rows(grids))]
    last, states, _ = batch_states(
        pipeline.mllm,
        torch.tensor([tape.ids[:length]]),
        tape.positions()[:, None, :length],
        pixels if slots else None,
        grids,
    )
    return pipeline.mllm.lm_head(last[0, -1]).float(), states


def write(pipeline: DuoGenPipeline, tape: Tape, pixels: Tensor | None, max_tokens: int) -> tuple[list[int], int | None]:
    """Greedy text after a tape, one whole prefill a token.

    Returns:
        The tokens written, and the `<BOV>` or end mark that stopped them (None at `max_tokens`).
    """
    stops = (pipeline.processor.id(BOV), pipeline.processor.id(IM_END))
    grown = tape.branch()
    written: list[int] = []
    while len(written) < max_tokens:
        token = int(prefill(pipeline, grown, pixels, len(grown.ids))[0].argmax())
        if token in stops:
            return written, token
        written.append(token)
        grown.add_ids([token])
    return written, None


@torch.no_grad()
def paint(
    pipeline: DuoGenPipeline,
    tape: Tape,
    pixels: Tensor | None,
    latents: list[Tensor],
    asked: int,
    settings: PaintSettings,
) -> Tensor:
    """The clean latent [1, C, h, w] of the picture asked for at token `asked`, after the pictures of `latents`."""
    settings = pipeline.resolve(settings).behind(len(latents))
    assert settings.steps and settings.width and settings.height and settings.guidance
    device = pipeline.work_device
    _, states = prefill(pipeline, tape, pixels, asked)
    context = pipeline.painter.context(pipeline.connector(states))
    counts = [pipeline.painter.tokens_of(latent) for latent in latents]
    noise = initial_noise(
        pipeline.latent_shape(settings.width, settings.height), settings.seed, device, pipeline.transformer.dtype
    )
    counts.append(pipeline.painter.tokens_of(noise))
    causal = pipeline.config.attention_mode == "causal"
    frame = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(device)
    seen = (frame[None, :] <= frame[:, None])[None, None] if causal else None
    near_zero = torch.full((1,), CONDITION_SIGMA, device=device)

    sigmas = noise_levels(pipeline.scheduler, settings.steps, device)

    def velocity_of(latent: Tensor, step: int, guided: bool) -> Tensor:
        frames = [Frame(known, number, near_zero, True) for number, known in enumerate(latents)]
        frames.append(Frame(latent, len(latents), sigmas[step].expand(1), False))
        branches = []
        for reach in [asked, tape.unconditional(asked)] if guided else [asked]:
            own = (tape.unconditional(asked), reach)
            spans = [(s.start, s.asked) if causal else own for s in tape.slots[: len(latents)]]
            starts, ends = torch.tensor([*spans, own], device=device)[frame].unbind(-1)
            read = pipeline.painter.reading(starts, ends, asked).transpose(0, 1)
            branches.append(pipeline.painter(frames, context, read[None], seen).velocity[-1])
        return torch.cat(branches)

    return denoise(velocity_of, pipeline.scheduler, noise, settings)
