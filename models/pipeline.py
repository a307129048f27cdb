"""`DuoGenPipeline`: a diffusers pipeline folder with all that one model needs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import (
    AutoencoderKLWan,
    CosmosTransformer3DModel,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    ImagePipelineOutput,
    WanTransformer3DModel,
)
from PIL import Image
from torch import Tensor
from transformers import (
    LlavaOnevisionForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)

from duogen.errors import InputError
from duogen.models.backend import Backend, TorchBackend
from duogen.models.batching import Batcher
from duogen.models.checkpoints import check_model_folder
from duogen.models.connector import Connector
from duogen.models.decoding import Chunk
from duogen.models.dit import PREDICTIONS, CosmosDiT, DiT
from duogen.models.mllm import language_of
from duogen.models.processor import DuoGenProcessor
from duogen.models.processor_llava import LlavaProcessor
from duogen.models.sampler import PaintSettings
from duogen.models.step import StepFunction
from duogen.models.vae import PatchCodec, spatial_factor, to_frames, to_image, to_latents, to_pixels
from duogen.models.wan import WanDiT, check_mode

MODES = ("causal", "full")


class Stepping(NamedTuple):
    """A DiT whose denoising step can be prepared, and what runs that step."""

    dit: CosmosDiT
    step: StepFunction


class DuoGenPipeline(DiffusionPipeline):
    """MLLM, connector, diffusion transformer and VAE of one model.

    Args:
        attention_mode: how the DiT's frames see one another; a property of the checkpoint. ``full``: condition frames
            and the noisy frame see all (the paper's). ``causal``: a frame sees itself and earlier ones, and reads only
            the text before its own `<BOV>`, so that its keys and values can be kept.
        prediction_type: what the DiT's output means, ``velocity`` or ``sample`` (see `CosmosDiT`).
        segment_heads: how many of the DiT's cross-attention heads read the last text segment alone (see `CosmosDiT`).
        default_steps, default_guidance, default_size: used where a request doesn't say.
        default_first_steps: for a picture that none comes before, which has the most left to decide; `default_steps`, where it is None.
        max_condition_pixels: larger pictures are scaled down before they become condition frames.
        system_prompt: put before dialogues that have none of their own.
        draw_template, edit_template: the wording in which the model was taught to paint without a plan.
        in_words: whether it first says in words what it is going to paint, and where, when it is asked for a single picture.
    """

    model_cpu_offload_seq = "mllm->connector->transformer->vae"

    def __init__(
        self,
        mllm: Qwen2_5_VLForConditionalGeneration
        | Qwen3VLForConditionalGeneration
        | LlavaOnevisionForConditionalGeneration,
        processor: DuoGenProcessor,
        connector: Connector,
        transformer: CosmosTransformer3DModel | WanTransformer3DModel,
        vae: PatchCodec | AutoencoderKLWan,
        scheduler: FlowMatchEulerDiscreteScheduler,
        attention_mode: str = "full",
        prediction_type: str = "velocity",
        segment_heads: int = 0,
        default_steps: int = 36,
        default_first_steps: int | None = None,
        default_guidance: float = 8.0,
        default_size: int = 512,
        max_condition_pixels: int = 512 * 512,
        system_prompt: str | None = None,
        draw_template: str = "{instruction}",
        edit_template: str = "{instruction}",
        in_words: bool = False,
    ) -> None:
        super().__init__()
        if attention_mode not in MODES:
            raise InputError(f"attention_mode must be one of {', '.join(MODES)}, not {attention_mode!r}")
        if prediction_type not in PREDICTIONS:
            raise InputError(f"prediction_type must be one of {', '.join(PREDICTIONS)}, not {prediction_type!r}")
        self.register_modules(
            mllm=mllm, processor=processor, connector=connector, transformer=transformer, vae=vae, scheduler=scheduler
        )
        self.register_to_config(
            attention_mode=attention_mode,
            prediction_type=prediction_type,
            segment_heads=segment_heads,
            default_steps=default_steps,
            default_first_steps=default_first_steps,
            default_guidance=default_guidance,
            default_size=default_size,
            max_condition_pixels=max_condition_pixels,
            system_prompt=system_prompt,
            draw_template=draw_template,
            edit_template=edit_template,
            in_words=in_words,
        )
        self.painter = self._painter()
        check_mode(attention_mode, transformer.config)
        self.batcher = Batcher()
        self._device: torch.device | None = None
        self._swapping = False
        self.run_plainly(False)
        self.backend: Backend = TorchBackend(self)

    def _painter(self) -> DiT:
        config = self.config
        if isinstance(self.transformer, CosmosTransformer3DModel):
            return CosmosDiT(self.transformer, config.prediction_type, config.segment_heads)
        if config.prediction_type != "velocity" or config.segment_heads:
            raise InputError(f"{type(self.transformer).__name__} predicts velocities and has no segment heads")
        return WanDiT(self.transformer)

    def run_plainly(self, plain: bool) -> None:
        """Whether every layer is called as a module, which is slower, in place of the code that is written for its weights."""
        self.plain = plain
        self.language = language_of(self.mllm, plain, self._device)

    def place(self, device: torch.device, swapping: bool) -> None:
        """Says where to compute, where that isn't simply where the weights are.

        Args:
            swapping: only the components that are at work are there, the others wait in the host's memory.
        """
        self._device, self._swapping = device, swapping
        self.run_plainly(self.plain)

    @property
    def work_device(self) -> torch.device:
        """Where text and pictures are computed."""
        return self._device or self.transformer.device

    def bring(self, *names: str) -> None:
        """Has these components on the device, and no others, where they take turns."""
        if self._swapping:
            for name in ("mllm", "connector", "transformer", "vae"):
                getattr(self, name).to(self._device if name in names else "cpu")

    def stepping(self) -> Stepping | None:
        """The prepared denoising step of the DiT, where there is one for it."""
        if self.plain or not isinstance(self.painter, CosmosDiT):
            return None
        return Stepping(self.painter, self.backend.step(self.painter))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> DuoGenPipeline:
        """Loads a pipeline folder.

        Raises:
            InputError: the folder holds no DuoGen model.
        """
        root = Path(pretrained_model_name_or_path)
        check_model_folder(root)
        index = cls.load_config(root)
        dtype = kwargs.pop("torch_dtype", None) or kwargs.pop("dtype", None) or torch.float32
        # diffusers resolves classes of its own and of transformers; ours are handed over ready-made.
        kwargs.setdefault("processor", load_processor(root / "processor"))
        kwargs.setdefault("connector", Connector.from_pretrained(root / "connector", dtype=dtype))
        if index["vae"][1] == PatchCodec.__name__:
            kwargs.setdefault("vae", PatchCodec.from_pretrained(root / "vae", dtype=dtype))
        return super().from_pretrained(root, dtype=dtype, **kwargs)

    # Text

    @torch.no_grad()
    def read(self, chunks: Sequence[Chunk]) -> list[tuple[Tensor, Tensor]]:
        """Runs new tokens of one or more dialogues through the MLLM.

        Returns:
            For each chunk the logits [vocabulary] after its last token, and its states [L, layers, hidden], for the connector.
        """
        self.bring("mllm")
        return [(out.logits.float(), out.states) for out in self.language.extend(chunks)]

    # Latents

    @property
    def side_multiple(self) -> int:
        """Width and height of every picture must be multiples of this."""
        return self._spatial_factor * self.painter.patch

    @property
    def _spatial_factor(self) -> int:
        return spatial_factor(self.vae.config)

    def fitted_size(self, width: int, height: int) -> tuple[int, int]:
        """The size of a picture as a condition frame: its own shape, sides rounded to `side_multiple`, area limited."""
        multiple = self.side_multiple
        shrink = min(1.0, (self.config.max_condition_pixels / (width * height)) ** 0.5)
        wide, high = (max(multiple, round(side * shrink / multiple) * multiple) for side in (width, height))
        return wide, high

    def fitted(self, image: Image.Image) -> Image.Image:
        """The picture as a condition frame takes it, see `fitted_size`."""
        size = self.fitted_size(*image.size)
        return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)

    def encode_picture(self, image: Image.Image) -> Tensor:
        """The normalised latent [1, C, h, w] of a picture."""
        self.bring("vae")
        return to_latents(self.vae, to_pixels(to_frames([self.fitted(image)]))).to(
            self.work_device, self.transformer.dtype
        )

    def decode_picture(self, latent: Tensor) -> Image.Image:
        """The picture of a normalised latent [1, C, h, w]."""
        self.bring("vae")
        return to_image(self.backend.decode(latent))

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Shape of the noise for a picture of that size.

        Raises:
            InputError: a side isn't a multiple of `side_multiple`.
        """
        multiple = self.side_multiple
        if width % multiple or height % multiple:
            raise InputError(f"width and height must be multiples of {multiple} for this model, not {width} x {height}")
        factor = self._spatial_factor
        return (1, self.vae.config.z_dim, height // factor, width // factor)

    def resolve(self, settings: PaintSettings) -> PaintSettings:
        """`settings` with this model's defaults for whatever is None."""
        config = self.config
        first_steps = settings.steps or config.default_first_steps or config.default_steps
        return settings.model_copy(
            update={
                "steps": settings.steps or config.default_steps,
                "first_steps": settings.first_steps or first_steps,
                "guidance": config.default_guidance if settings.guidance is None else settings.guidance,
                "width": settings.width or config.default_size,
                "height": settings.height or config.default_size,
            }
        )

    @torch.no_grad()
    def __call__(
        self,
        prompt: str,
        image: Image.Image | list[Image.Image] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        seed: int = 0,
        callback_on_step: Callable[[int, int], None] | None = None,
    ) -> ImagePipelineOutput:
        """One picture from a prompt and any number of reference pictures, without a plan around it."""
        from duogen.models.session import Session

        references = [] if image is None else image if isinstance(image, list) else [image]
        settings = PaintSettings(
            steps=num_inference_steps, guidance=guidance_scale, width=width, height=height, seed=seed
        )
        session = Session(self, [("user", [*references, prompt])])
        session.ask_at_once(self.config.in_words)
        return ImagePipelineOutput(images=[session.paint(settings, callback_on_step).image])


def load_processor(folder: Path) -> DuoGenProcessor:
    """The processor in a folder, of whatever family it is."""
    kind = ""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            settings = json.loads((folder / name).read_bytes())
            kind = kind or settings.get("image_processor", settings).get("image_processor_type", "")
    return (LlavaProcessor if kind.startswith("LlavaOnevision") else DuoGenProcessor).from_pretrained(folder)
