"""Stage 2 on packs: connector and DiT learn to paint, by flow matching; the MLLM is frozen (paper, section 4).

A document's part in a pack ends where its last target is asked for. In ``full`` mode one of its pictures is the target, which is drawn
anew each turn, and sees all pictures before it; in ``causal`` mode every picture that the assistant made is a target, and sees clean copies
of those before it. Pictures of all sizes stand in one row, and none sees another document's.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from duogen.document import Document, Picture, write_atomically
from duogen.models.attention import Block
from duogen.models.connector import Connector
from duogen.models.dit import CONDITION_SIGMA, DiT, Frame, Uncast
from duogen.models.layout import Slot
from duogen.models.mllm import batch_states
from duogen.models.processor import DuoGenProcessor
from duogen.models.upstream import Model
from duogen.training.tuning.config import Stage2Config
from duogen.training.tuning.packing import Sample
from duogen.training.tuning.packs import Pack, packed
from duogen.training.tuning.records import Measure


def target_of(measure: Measure, sample: Sample, seed: int) -> int | None:
    """Which picture of a document is painted this turn, in ``full`` mode; None, where it has none to paint."""
    made = [index for index, slot in enumerate(measure.slots) if slot.generated]
    return random.Random(f"target/{seed}/{sample.turn}").choice(made) if made else None


def costs_of(measure: Measure, target: int | None, causal: bool) -> tuple[int, int] | None:
    """Tokens of the MLLM and of the DiT that a document takes; None, where there is nothing to paint."""
    made = [index for index, slot in enumerate(measure.slots) if slot.generated]
    if not made:
        return None
    if not causal:
        assert target is not None
        return measure.slots[target].asked, sum(measure.frames[: target + 1])
    last = made[-1]
    return measure.slots[last].asked, sum(measure.frames[:last]) + sum(measure.frames[index] for index in made)


class Canvas(NamedTuple):
    """A noisy or clean copy of a picture in a pack, with all that is drawn at random for it.

    `latent` [1, C, h, w] as it is shown, `time` its place among its document's pictures, `sigma` its noise level. `start`, `reach`: its
    last text segment, and the end of what it reads, in tokens of the pack; `dialogue` whose it is. `wanted` [1, C, h, w]: the velocity, of
    targets.
    """

    latent: Tensor
    time: int
    sigma: float
    dialogue: int
    base: int
    start: int
    reach: int
    wanted: Tensor | None


def shifted(sigma: float, shift: float) -> float:
    """A noise level as a sampler's shift has it (Esser et al. 2024, section 5.3.2)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def canvases(
    pack: Pack, samples: Sequence[Sample], targets: Sequence[int | None], latents: Sequence[Sequence[Tensor]], config: Stage2Config,
    causal: bool, seed: int,
) -> list[Canvas]:  # fmt: skip
    """All copies of pictures that the DiT is shown for a pack.

    What is drawn for a document depends on the seed and its turn alone, whatever it is packed with.
    """
    made: list[Canvas] = []
    for index, (placed, sample, target) in enumerate(zip(pack.dialogues, samples, targets, strict=True)):
        generator = torch.Generator().manual_seed(random.Random(f"paint/{seed}/{sample.turn}").getrandbits(48))
        slots, base, clean = placed.slots, placed.start, latents[index]
        chosen = [number for number, slot in enumerate(slots) if slot.generated]
        if not causal:
            assert target is not None
            chosen = [target]
        last = chosen[-1]
        own: list[Canvas] = []
        for number in range(last):
            share = config.frame_noise * float(torch.rand((), generator=generator))
            noise = torch.randn(clean[number].shape, generator=generator)
            shown = clean[number] + share * (noise - clean[number])
            # In full mode condition frames read what the target reads.
            slot = slots[number] if causal else slots[last]
            own.append(_copy(shown, number, CONDITION_SIGMA, index, base, slot, slot.asked, None))
        for number in chosen:
            slot = slots[number]
            # Guidance's negative branch keeps all but the last text segment; in full mode that is so for all of its frames.
            dropped = float(torch.rand((), generator=generator)) < config.drop_last_text
            reach = slot.start if dropped else slot.asked
            time = float(torch.randn((), generator=generator)) * config.time_spread + config.time_shift
            sigma = shifted(1 / (1 + math.exp(-time)), config.sigma_shift)
            noise = torch.randn(clean[number].shape, generator=generator)
            noisy = (1 - sigma) * clean[number] + sigma * noise
            own.append(_copy(noisy, number, sigma, index, base, slot, reach, noise - clean[number]))
        made += own if causal else [each._replace(reach=own[-1].reach) for each in own]
    return made


def _copy(
    latent: Tensor, time: int, sigma: float, dialogue: int, base: int, slot: Slot, reach: int, wanted: Tensor | None
) -> Canvas:
    return Canvas(latent, time, sigma, dialogue, base, base + slot.start, base + reach, wanted)


class Painter(nn.Module):
    """Connector and DiT with their loss."""

    def __init__(self, connector: Connector, transformer: Any, dit: DiT, causal: bool) -> None:
        super().__init__()
        self.connector, self.transformer = connector, transformer
        self._dit, self.causal = [dit], causal  # no module, and not to be found as one

    def forward(self, states: Tensor, drawn: Uncast) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean squared errors of all targets' velocities, added up, and how many there are.

        Args:
            states: the MLLM's hidden states [1, S, layers, hidden] of the pack.
            drawn: all `Canvas`es.
        """
        dit, device, shown = self._dit[0], states.device, drawn.tensors
        vectors = self.connector(states)
        frames = [
            Frame(
                each.latent.to(vectors),
                each.time,
                vectors.new_full((1,), each.sigma, dtype=torch.float32),
                each.wanted is None,
            )
            for each in shown
        ]
        counts = [dit.tokens_of(frame.latent) for frame in frames]
        seen, read = self._blocks(shown, counts, device)
        out = dit(frames, vectors, read, seen)
        errors = [
            (velocity.float() - each.wanted.to(velocity.device)).square().mean()
            for velocity, each in zip(out.velocity, shown, strict=True)
            if each.wanted is not None
        ]
        return torch.stack(errors).sum(), {"targets": torch.tensor(len(errors))}

    def _blocks(
        self, shown: Sequence[Canvas], counts: list[int], device: torch.device
    ) -> tuple[list[Block], list[Block]]:
        """What the tokens of each document's frames see of one another, and what they read of its text; of no other document's anything."""
        seen, read = [], []
        start = 0
        for _, group in groupby(zip(shown, counts, strict=True), key=lambda pair: pair[0].dialogue):
            frames, tokens = zip(*group, strict=True)
            end = start + sum(tokens)
            base, length = frames[0].base, max(frame.reach for frame in frames) - frames[0].base
            texts = (base, base + length)
            seen.append(Block((start, end), (start, end), _unless_all(self._sees(frames, tokens), device)))
            read.append(Block((start, end), texts, _unless_all(self._reads(frames, tokens, length), device)))
            start = end
        return seen, read

    def _sees(self, frames: Sequence[Canvas], counts: Sequence[int]) -> Tensor:
        """Which token of a document's frames sees which: in ``full`` mode all; in ``causal`` mode clean copies of earlier pictures, and its
        own frame. [1, 1, N, N]."""
        if not self.causal:
            return torch.ones(1, 1, 1, 1, dtype=torch.bool)
        time = torch.tensor([frame.time for frame in frames])
        clean = torch.tensor([frame.wanted is None for frame in frames])
        seen = (clean[None, :] & (time[None, :] < time[:, None])) | torch.eye(len(frames), dtype=torch.bool)
        spread = torch.tensor(counts)
        return seen.repeat_interleave(spread, 0).repeat_interleave(spread, 1)[None, None]

    def _reads(self, frames: Sequence[Canvas], counts: Sequence[int], length: int) -> Tensor:
        """Which tokens of a document's text each token of its frames reads, [1, heads or 1, N, length]."""
        starts, ends = (
            torch.tensor([getattr(frame, name) - frame.base for frame in frames]) for name in ("start", "reach")
        )
        read = self._dit[0].reading(starts, ends, length)  # frames, heads or 1, length
        return read.transpose(0, 1).repeat_interleave(torch.tensor(counts), dim=1)[None]


def _unless_all(mask: Tensor, device: torch.device) -> Tensor | None:
    """A mask, where it hides anything: without one, attention has faster kernels."""
    return None if bool(mask.all()) else mask.to(device)


class LatentCache:
    """Latents of pictures, on disk by the pictures' hashes.

    Args:
        pipeline: encodes what isn't there yet.
        folder: of this VAE and of this size limit alone.
    """

    def __init__(self, pipeline: Any, folder: Path) -> None:
        self.pipeline, self.folder = pipeline, folder

    @torch.no_grad()
    def __call__(self, picture: Picture) -> Tensor:
        """The latent [1, C, h, w] of a picture, in float32, in the host's memory."""
        path = self.folder / picture.sha256[:2] / f"{picture.sha256}.safetensors"
        if not path.exists():
            latent = self.pipeline.encode_picture(picture.image()).float().cpu().contiguous()
            write_atomically(path, save({"latent": latent}))
        return load_file(path)["latent"]


class StateCache:
    """Hidden states of documents, in the host's memory, those used longest ago given up first.

    A document's states are always computed of it alone, and all of it that any target reads: they are the same bits however it is packed,
    and whether they were kept or not.

    Args:
        budget: bytes.
    """

    def __init__(self, mllm: Model, processor: DuoGenProcessor, prompt: str | None, budget: int) -> None:
        self.mllm, self.processor, self.prompt, self.budget, self.used = mllm, processor, prompt, budget, 0
        self._kept: OrderedDict[object, Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(self, document: Document, measure: Measure, key: object) -> Tensor:
        """The states [S, layers, hidden] of the tokens before a document's last `<BOV>`.

        Args:
            key: tells the document from others.
        """
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return known
        last = max(slot.asked for slot in measure.slots if slot.generated)
        pack = packed([document], self.processor, self.prompt, [last])
        _, states, _ = batch_states(self.mllm, pack.ids, pack.positions, pack.pixels, pack.grids)
        kept = states[0].cpu()
        self._kept[key] = kept
        self.used += kept.nbytes
        while self.used > self.budget:
            _, gone = self._kept.popitem(last=False)
            self.used -= gone.nbytes
        return kept


def free(painter: Painter, config: Stage2Config) -> list[dict[str, Any]]:
    """Lets connector and DiT move; with LoRA, adapters of the DiT's matrices. Returns parameter groups with learning rates."""
    rate = config.connector_learning_rate if config.connector_learning_rate is not None else config.learning_rate
    painter.connector.requires_grad_(rate > 0)
    if config.lora_rank:
        from peft import LoraConfig

        painter.transformer.requires_grad_(False)
        alpha = config.lora_alpha or 2 * config.lora_rank
        targets = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "ffn.net.0.proj", "ffn.net.2"]
        painter.transformer.add_adapter(LoraConfig(r=config.lora_rank, lora_alpha=alpha, target_modules=targets))
    else:
        painter.transformer.requires_grad_(True)
        table = getattr(painter.transformer, "learnable_pos_embed", None)
        if table is not None:
            table.pos_emb_t.requires_grad_(
                False
            )  # time is left to RoPE, which goes on past the longest plan of training
    groups = []
    for part, each in ((painter.connector, rate), (painter.transformer, config.learning_rate)):
        weights = [weight for weight in part.parameters() if weight.requires_grad]
        if weights:
            groups.append({"params": weights, "lr": each, "weight_decay": config.weight_decay})
    return groups
