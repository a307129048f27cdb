"""The rival: interleaved generation on transformers and diffusers as one writes it in an afternoon, and no worse.

For every picture the whole conversation is prefilled again to write the text before it (`generate` keeps its cache within the
call), and once more for its hidden states; all earlier pictures go through the VAE again; and the diffusers transformer
sees all frames at every denoising step, once for each branch of guidance. The public loops of BAGEL, OmniGen2 and Zebra-CoT
do much of this. The weights, the positions, the masks and the noise are those of the fast path, so the pictures agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.transformers.transformer_cosmos import CosmosAttnProcessor2_0
from PIL import Image
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from duogen.models.dit import CONDITION_SIGMA, SMALLEST_SIGMA
from duogen.models.layout import Tape, Turn, lay_out
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV, IM_END
from duogen.models.sampler import PaintSettings, denoise, initial_noise, noise_levels


class Stock:
    """Plans with a pipeline's weights, but none of its caches.

    Pictures must all have one size: the diffusers transformer stacks frames along time.

    Args:
        logits: what `generate` puts its scores through.
    """

    def __init__(self, pipeline: DuoGenPipeline, logits: Sequence[LogitsProcessor] = ()) -> None:
        self.pipeline, self.logits = pipeline, LogitsProcessorList(logits)

    @torch.no_grad()
    def plan(
        self, request: str, images: Sequence[Image.Image] = (), settings: PaintSettings | None = None, most: int = 16
    ) -> list[str | Image.Image]:
        """The answer to a request: text and pictures in order, of these at most `most`."""
        settings = self.pipeline.resolve(settings or PaintSettings())
        answer: list[str | Image.Image] = []
        while True:
            tape, pixels = self._tape(request, images, answer)
            text, stop = self.write(tape, pixels)
            if text:
                answer.append(text)
            painted = sum(isinstance(part, Image.Image) for part in answer)
            if stop != self.pipeline.processor.id(BOV) or painted >= most:
                return answer
            tape, pixels = self._tape(request, images, answer)
            earlier = [*images, *(part for part in answer if isinstance(part, Image.Image))]
            answer.append(self.paint(tape, pixels, earlier, settings.for_picture(len(earlier))))

    def write(self, tape: Tape, pixels: Tensor | None) -> tuple[str, int]:
        """Greedy text behind a tape, and the token that ended it."""
        processor = self.pipeline.processor
        stops = [processor.id(BOV), processor.id(IM_END)]
        inputs = self._inputs(tape, pixels)
        out = self.pipeline.mllm.generate(
            **inputs, max_new_tokens=256, do_sample=False, eos_token_id=stops, pad_token_id=processor.id(IM_END),
            logits_processor=self.logits,
        )  # fmt: skip
        written = out[0, inputs["input_ids"].shape[1] :].tolist()
        ended = written[-1] in stops
        return processor.decode(written[:-1] if ended else written), written[-1]

    def paint(
        self, tape: Tape, pixels: Tensor | None, earlier: Sequence[Image.Image], settings: PaintSettings
    ) -> Image.Image:
        """The picture that is due at the end of a tape, behind `earlier` ones."""
        pipeline, config = self.pipeline, self.pipeline.transformer.config
        settings = settings.behind(len(earlier))
        assert settings.steps and settings.width and settings.height and settings.guidance
        out = pipeline.mllm(**self._inputs(tape, pixels), output_hidden_states=True, use_cache=False)
        text = pipeline.connector(torch.stack(out.hidden_states[1:], dim=2))
        noise = initial_noise(
            pipeline.latent_shape(settings.width, settings.height),
            settings.seed,
            text.device,
            pipeline.transformer.dtype,
        )
        frames = [pipeline.encode_picture(image) for image in earlier]
        known = torch.stack([*frames, torch.zeros_like(noise)], dim=2)
        count, asked = known.shape[2], len(tape.ids)
        mask = torch.zeros(1, 1, count, *noise.shape[-2:], dtype=noise.dtype, device=noise.device)
        mask[:, :, :-1] = 1
        padding = noise.new_zeros(1, 1, *noise.shape[-2:]) if config.concat_padding_mask else None

        reaches = [asked] if settings.guidance == 1 else [asked, tape.unconditional(asked)]
        processors = [_processor(pipeline, tape, noise, count, reach, asked) for reach in reaches]

        sigmas = noise_levels(pipeline.scheduler, settings.steps, noise.device)

        def velocity_of(latent: Tensor, step: int, _: bool) -> Tensor:
            levels = torch.full((1, 1, count, 1, 1), CONDITION_SIGMA, device=latent.device)
            levels[:, :, -1] = sigmas[step]
            shown = mask * known + (1 - mask) * latent.unsqueeze(2)
            velocities = []
            for processor in processors:
                _use(pipeline, processor)
                answer = pipeline.transformer(shown, levels, text, condition_mask=mask, padding_mask=padding)
                sample = answer.sample[:, :, -1]
                if pipeline.config.prediction_type == "sample":
                    sample = (latent - sample) / max(float(sigmas[step]), SMALLEST_SIGMA)
                velocities.append(sample)
            return torch.cat(velocities)

        return pipeline.decode_picture(denoise(velocity_of, pipeline.scheduler, noise, settings))

    def _tape(
        self, request: str, images: Sequence[Image.Image], answer: Sequence[str | Image.Image]
    ) -> tuple[Tape, Tensor | None]:
        turns: list[Turn] = [("user", [*images, request]), ("assistant", list(answer))]
        if prompt := self.pipeline.config.system_prompt:
            turns.insert(0, ("system", [prompt]))
        return lay_out(turns, self.pipeline.processor, open_end=True)

    def _inputs(self, tape: Tape, pixels: Tensor | None) -> dict[str, Any]:
        device = self.pipeline.mllm.device
        ids = torch.tensor([tape.ids], device=device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        inputs["mm_token_type_ids"] = (ids == self.pipeline.mllm.config.image_token_id).int()
        if pixels is not None:
            inputs["pixel_values"] = pixels.to(device)
            inputs["image_grid_thw"] = torch.tensor([slot.grid for slot in tape.slots], device=device)
        return inputs


class _MaskedProcessor(CosmosAttnProcessor2_0):
    """The stock attention with a mask for each query, which the checkpoint's attention mode wants."""

    def __init__(self, own: Tensor | None, text: Tensor) -> None:
        super().__init__()
        self.own, self.text = own, text

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None, image_rotary_emb: Any = None,
    ) -> Tensor:  # fmt: skip
        mask = self.own if encoder_hidden_states is None else self.text
        return super().__call__(attn, hidden_states, encoder_hidden_states, mask, image_rotary_emb)


def _processor(
    pipeline: DuoGenPipeline, tape: Tape, latent: Tensor, count: int, reach: int, asked: int
) -> _MaskedProcessor:
    """Lets `count` frames of a latent's size see what the checkpoint's attention mode says."""
    causal = pipeline.config.attention_mode == "causal"
    last = (tape.unconditional(asked), reach)
    spans = [(slot.start, slot.asked) if causal else last for slot in tape.slots[: count - 1]]
    starts, ends = torch.tensor([*spans, last], device=latent.device).unbind(-1)
    text = pipeline.painter.reading(starts, ends, asked)  # frames, heads or 1, text
    frame = torch.arange(count, device=latent.device).repeat_interleave(pipeline.painter.tokens_of(latent))
    own = (frame[None, :] <= frame[:, None])[None, None] if causal else None
    return _MaskedProcessor(own, text[frame].transpose(0, 1)[None])


def _use(pipeline: DuoGenPipeline, processor: _MaskedProcessor) -> None:
    for block in pipeline.transformer.transformer_blocks:
        block.attn1.set_processor(processor)
        block.attn2.set_processor(processor)
