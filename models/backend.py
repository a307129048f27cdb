"""Who runs the networks: torch, or onnxruntime on files that were exported from the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from duogen.models.decoding import ReadingFunction
from duogen.models.dit import CosmosDiT, KeyValue
from duogen.models.seeing import SeeingFunction
from duogen.models.step import Step, StepFunction
from duogen.models.vae import from_latents

if TYPE_CHECKING:
    from duogen.models.pipeline import DuoGenPipeline

BACKENDS = ("torch", "onnx")


class Backend(Protocol):
    """The networks that text and pictures pass through."""

    def reading(self) -> ReadingFunction | None:
        """The language model on new tokens of one dialogue; None leaves them to torch."""

    def seeing(self) -> SeeingFunction | None:
        """The vision encoder on a small picture; None leaves it to torch."""

    def step(self, dit: CosmosDiT) -> StepFunction:
        """The denoising step of the pipeline's DiT."""

    def condition(self, states: Tensor) -> list[KeyValue]:
        """What each block's cross-attention reads of hidden states [1, S, layers, hidden], see `duogen.models.dit.DiT.context`."""

    def decode(self, latent: Tensor) -> Tensor:
        """Pixels in about -1..1 [1, 3, H, W] of a normalised latent [1, C, h, w]."""


class TorchBackend:
    """The pipeline's own modules, with the weights that they have at the moment."""

    def __init__(self, pipeline: DuoGenPipeline) -> None:
        self.pipeline = pipeline

    def reading(self) -> ReadingFunction | None:
        return None

    def seeing(self) -> SeeingFunction | None:
        return None

    def step(self, dit: CosmosDiT) -> StepFunction:
        return Step(dit, keeping=self.pipeline.config.attention_mode == "causal")

    def condition(self, states: Tensor) -> list[KeyValue]:
        return self.pipeline.painter.context(self.pipeline.connector(states))

    def decode(self, latent: Tensor) -> Tensor:
        return from_latents(self.pipeline.vae, latent)
