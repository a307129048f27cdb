"""From what a dialogue asks for to a picture; for one dialogue, or for several at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from duogen.models.canvas import Canvas
from duogen.models.denoiser import Denoiser
from duogen.models.dit import KeyValue
from duogen.models.plain import PlainDenoiser, keep
from duogen.models.sampler import OnStep, PaintSettings, VelocityOf, denoise, initial_noise, noise_levels
from duogen.models.whole import WholeDenoiser

if TYPE_CHECKING:
    from duogen.models.pipeline import DuoGenPipeline
    from duogen.models.session import Session


class Order(NamedTuple):
    """The picture that a session asks for. The settings leave nothing open but the seed to differ within a group.

    `ended`: the error that `on_step` met, if any: nobody waits for this picture any more, but others of the group are to be finished.
    """

    session: Session
    settings: PaintSettings
    on_step: OnStep
    ended: list[Exception]

    def told(self, step: int, steps: int) -> None:
        """Tells a step, unless nobody waits any more."""
        if not self.ended:
            try:
                self.on_step(step, steps)
            except Exception as error:
                self.ended.append(error)


class Painted(NamedTuple):
    """A picture and the clean latent [1, C, h, w] behind it."""

    image: Image.Image
    latent: Tensor


@torch.no_grad()
def paint_together(orders: Sequence[Order]) -> list[Painted]:
    """Paints pictures at the same time."""
    sessions = [order.session for order in orders]
    pipeline, settings = sessions[0].pipeline, orders[0].settings
    steps, guidance = settings.steps, settings.guidance
    assert steps and guidance and settings.width and settings.height
    device, dtype = sessions[0].device, sessions[0].dtype
    shape = pipeline.latent_shape(settings.width, settings.height)
    noise = torch.cat([initial_noise(shape, order.settings.seed, device, dtype) for order in orders])
    canvases = [session.canvas(guidance != 1) for session in sessions]
    sigmas = noise_levels(pipeline.scheduler, steps, device)

    def telling(group: Sequence[Order]) -> OnStep:
        def on_step(step: int, steps: int) -> None:
            for order in group:
                order.told(step, steps)
            if all(order.ended for order in orders):
                raise orders[0].ended[0]

        return on_step

    def paint(velocity_of: VelocityOf, noise: Tensor, on_step: OnStep) -> Tensor:
        return denoise(velocity_of, pipeline.scheduler, noise, settings, on_step)

    pipeline.bring("transformer")
    causal, network = pipeline.config.attention_mode == "causal", pipeline.stepping()
    if causal and network is not None:
        denoiser = Denoiser(network.dit, shape, canvases, sigmas, network.step)
        together = paint(denoiser, noise, telling(orders))
        latents = together.split(1)

        @cache
        def kept() -> list[list[KeyValue]]:
            pipeline.bring("transformer")
            return denoiser.keep(together)

        for number, (session, latent) in enumerate(zip(sessions, latents, strict=True)):
            session.noted(latent, partial(_one_of, kept, number))
    else:

        def alone(session: Session, canvas: Canvas) -> VelocityOf:
            earlier = [] if causal else session.latents
            if network is None:
                return PlainDenoiser(pipeline.painter, earlier, canvas, sigmas)
            return WholeDenoiser(network.dit, shape, earlier, canvas, sigmas, network.step)

        latents = [
            paint(alone(order.session, canvas), each, telling([order]))
            for order, canvas, each in zip(orders, canvases, noise.split(1), strict=True)
        ]
    return [Painted(pipeline.decode_picture(latent), latent) for latent in latents]


def _one_of(kept: Callable[[], list[list[KeyValue]]], number: int) -> list[KeyValue]:
    return kept()[number]


def kept_frames(pipeline: DuoGenPipeline, latent: Tensor, canvas: Canvas) -> list[KeyValue]:
    """In ``causal`` mode, keys and values of all pictures up to one that wasn't painted here; of the last, its `canvas` and latent."""
    pipeline.bring("transformer")
    network = pipeline.stepping()
    if network is None:
        return keep(pipeline.painter, latent, canvas)
    (frames,) = Denoiser(network.dit, latent.shape, [canvas], latent.new_empty(0), network.step).keep(latent)
    return frames
