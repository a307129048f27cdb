"""Stage 2: interleaved context alignment. The MLLM is frozen; connector and DiT learn to paint (paper, section 4).

Flow matching on the DiT's latents. Two forms, one for each attention mode:

* ``causal``: a clean and a noisy copy of every picture stand in one sequence. A noisy picture sees the clean ones
  before it and itself, a clean one the clean ones before it and itself, and each reads only the text before its own
  `<BOV>`. So every generated picture of a dialogue is a target in one pass.
* ``full``: one target picture a dialogue, drawn at random; it and all pictures before it see one another.

Condition dropout keeps what guidance's negative branch will keep: all but the last text segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import CosmosTransformer3DModel
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from duogen.models.connector import Connector
from duogen.models.dit import CONDITION_SIGMA, CosmosDiT, Frame
from duogen.models.layout import Turn
from duogen.models.mllm import batch_states
from duogen.models.processor import DuoGenProcessor
from duogen.models.vae import PatchCodec, to_frames, to_latents, to_pixels
from duogen.training.config import DiTConfig, Stage2Config
from duogen.training.data import PRACTISED, Batch, WorldBatches, picture_count, rough_length, turns_of_task
from duogen.training.loop import Trainer
from duogen.training.showing import Showing, labels_of
from duogen.training.world.render import render
from duogen.training.world.scene import CANVAS, Scene
from duogen.training.world.task import Task

DECIDED = 0.9
"""Below this noise level a picture of the world can be told from its noisy latent (docs/LOG.md)."""
FAINTEST = 4.0
"""How much more what hardly changes may count than what changes as much as most."""
OWN_SIGMA = (0.2, 0.8)
"""Noise levels from which the DiT makes pictures of its own to paint on from."""


class Aligned(nn.Module):
    """What stage 2 moves: connector and DiT, and the head that its second loss needs."""

    def __init__(self, connector: Connector, transformer: CosmosTransformer3DModel) -> None:
        super().__init__()
        self.connector, self.transformer = connector, transformer
        self.showing = Showing(transformer.config.num_attention_heads * transformer.config.attention_head_dim)

    def thaw(self) -> Aligned:
        """Lets everything move but the table of learned times: time is left to RoPE, which goes on past the longest plan
        of training, as a table would not."""
        self.requires_grad_(True).train()
        if self.transformer.learnable_pos_embed is not None:
            self.transformer.learnable_pos_embed.pos_emb_t.requires_grad_(False)
        return self


class Targets:
    """The pictures of a batch as latents, with all that is drawn at random for a step, on the generator's device.

    Attributes (B dialogues of at most K pictures, each [C, h, w]):
        clean, noise: [B, K, C, h, w]. sigma: [B, K] noise level of the noisy copies.
        shown: [B, K, C, h, w], the clean copies with a little noise. counted: [B, K], which noisy copies are targets.
        start: [B, K], where the last text segment before a picture begins.
        reach: [B, K], how many tokens a clean copy reads. noisy_reach: the same for the noisy copy, after dropout.
        weight: [B, K, h, w], what each latent counts in the loss.
    """

    def __init__(self, batch: Batch, vae: PatchCodec, config: Stage2Config, generator: torch.Generator) -> None:
        assert batch.frames is not None
        rows, most = len(batch.slots), max(len(slots) for slots in batch.slots)
        # generated, start, reach of every picture; where a dialogue has no more pictures, its first token is read.
        places = torch.tensor([
            [(int(slot.generated), slot.start, slot.asked) for slot in slots] + [(0, 1, 1)] * (most - len(slots))
            for slots in batch.slots
        ])  # fmt: skip
        there = torch.tensor([[index < len(slots) for index in range(most)] for slots in batch.slots])
        device = generator.device
        latents = to_latents(vae, to_pixels(batch.frames.to(device)))
        self.clean = latents.new_zeros(rows, most, *latents.shape[1:])
        self.clean[there.to(device)] = latents
        generated, self.start, self.reach = places.to(device).unbind(-1)
        self.counted = generated.bool()
        self.weight = news(self.clean, _empty(batch, vae, device), config.new_weight)
        dropped = torch.rand(rows, most, generator=generator, device=device) < config.drop_last_text
        self.noisy_reach = torch.where(dropped, self.start, self.reach)
        self.noise = torch.randn(self.clean.shape, generator=generator, device=device)
        times = torch.randn(rows, most, generator=generator, device=device)
        self.sigma = torch.sigmoid(config.time_spread * times + config.time_shift)
        # The velocity's error is the sample's by the noise level: unbounded, the rare times near 0 would drown all others.
        self.weight = self.weight * (self.sigma / config.sigma_floor).clamp_max(1).square()[..., None, None]
        share = config.frame_noise * torch.rand(rows, most, 1, 1, 1, generator=generator, device=device)
        self.shown = self.clean + share * (
            torch.randn(self.clean.shape, generator=generator, device=device) - self.clean
        )

    def noisy(self, sigma: Tensor) -> Tensor:
        """The noisy copies at these levels [B, K]."""
        level = sigma[..., None, None, None]
        return (1 - level) * self.clean + level * self.noise


def news(clean: Tensor, empty: Tensor, weight: float) -> Tensor:
    """1 where a picture repeats the one before, or a first one its empty stage; `weight` or more where it doesn't.

    Most of an edited picture is as it was. By area alone, copying would be nearly all that the loss speaks of (regions of
    edits are weighted for the same reason in UniWorld-V1, arXiv 2506.03147); and most of a first picture is a backdrop, which
    of several nobody can foresee. An eye or a whisker changes a latent by a hundredth of what a block does: what changes less
    than most does counts more, up to `FAINTEST` times as much.

    Args:
        clean: [B, K, C, h, w]. empty: [B, C, h, w], what stands before the first ones.
    """
    before = torch.cat([empty[:, None], clean[:, :-1]], dim=1)
    change = clean - before
    new, energy = change.abs().amax(2) >= 1e-3, change.square().mean(2)
    faintness = (energy[new].mean() / energy.clamp_min(1e-6)).sqrt().clamp(1, FAINTEST)
    return torch.where(new, 1 + (weight - 1) * faintness, 1.0)


def _empty(batch: Batch, vae: PatchCodec, device: torch.device) -> Tensor:
    """The latents [B, C, h, w] of the empty stage of each dialogue's first picture; of black where its scene isn't known."""
    black = Image.new("RGB", (CANVAS, CANVAS))
    first = [scenes[0] for scenes in batch.scenes]
    images = [black if scene is None else render(Scene(scene.stage, {}, scene.look)) for scene in first]
    return to_latents(vae, to_pixels(to_frames(images).to(device)))


def weighted(squared: Tensor, weight: Tensor) -> Tensor:
    return (squared * weight).sum() / weight.sum()


def causal_masks(dit: CosmosDiT, targets: Targets, length: int) -> tuple[Tensor, Tensor]:
    """Masks for [clean 0 .. K-2 | noisy 0 .. K-1].

    Returns:
        self-attention [1, 1, N, N] and cross-attention [B, heads or 1, N, length], both boolean.
    """
    most, tokens = targets.reach.shape[1], dit.tokens_of(targets.clean)
    device = targets.reach.device
    frame = torch.cat([torch.arange(most - 1, device=device), torch.arange(most, device=device)])
    noisy = torch.arange(2 * most - 1, device=device) >= most - 1
    earlier = ~noisy[None, :] & (frame[None, :] < frame[:, None])
    same = (noisy[None, :] == noisy[:, None]) & (frame[None, :] == frame[:, None])
    seen = (earlier | same).repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
    ends = torch.cat([targets.reach[:, :-1], targets.noisy_reach], dim=1)
    read = dit.reading(targets.start[:, frame], ends, length).transpose(1, 2)
    return seen[None, None], read.repeat_interleave(tokens, 2)


def causal_loss(dit: CosmosDiT, targets: Targets, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared velocity error of every noisy copy, [B, K], the weighted mean over the counted ones, and the inner states of
    these, [counted, tokens, width]."""
    velocity, middle = _all_at_once(dit, targets, targets.sigma, vectors)
    squared = (velocity - (targets.noise - targets.clean)).square().mean(2)
    loss = weighted(squared[targets.counted], targets.weight[targets.counted])
    return squared.detach().mean((2, 3)), loss, middle[targets.counted]


def _all_at_once(dit: CosmosDiT, targets: Targets, sigma: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Velocity [B, K, C, h, w] and inner states [B, K, tokens, width] of the noisy copies at these levels [B, K]."""
    most = sigma.shape[1]
    near_zero = torch.full_like(sigma[:, 0], CONDITION_SIGMA)
    noisy = targets.noisy(sigma)
    frames = [Frame(targets.shown[:, k], k, near_zero, True) for k in range(most - 1)]
    frames += [Frame(noisy[:, k], k, sigma[:, k], False) for k in range(most)]
    seen, read = causal_masks(dit, targets, vectors.shape[1])
    out = dit(frames, dit.context(vectors), cross_mask=read, self_mask=seen)
    return torch.stack(out.velocity[most - 1 :], dim=1), torch.stack(list(out.middle[most - 1 :]), dim=1)


@torch.no_grad()
def show_own(dit: CosmosDiT, targets: Targets, vectors: Tensor, generator: torch.Generator) -> None:
    """Puts the DiT's own pictures in place of the true ones that later pictures are painted from.

    A plan is painted on top of one's own pictures, and what is a little amiss in one is more so in the next. Each own picture is
    what the DiT makes, in one step, of the true one under so much noise that what it shows can still be told. Pictures
    that the user gave stay as they are.
    """
    low, high = OWN_SIGMA
    sigma = low + (high - low) * torch.rand(targets.sigma.shape, generator=generator, device=targets.sigma.device)
    velocity, _ = _all_at_once(dit, targets, sigma, vectors)
    own = targets.noisy(sigma) - sigma[..., None, None, None] * velocity
    targets.shown = torch.where(targets.counted[..., None, None, None], own.to(targets.shown.dtype), targets.shown)


def full_loss(
    dit: CosmosDiT, targets: Targets, vectors: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """As `causal_loss`, for one random target a dialogue, which alone counts then; the other entries of the errors are zero."""
    picked = torch.multinomial(targets.counted.float(), 1, generator=generator)[:, 0]
    targets.counted = F.one_hot(picked, targets.counted.shape[1]).bool()
    noisy = targets.noisy(targets.sigma)
    context = dit.context(vectors)
    error = torch.zeros_like(targets.sigma)
    losses, weights = [], []
    middle: dict[int, Tensor] = {}
    # The target's place in time differs from dialogue to dialogue: those with the same place go together.
    for place in picked.unique().tolist():
        group = (picked == place).nonzero()[:, 0]
        near_zero = torch.full_like(targets.sigma[group, place], CONDITION_SIGMA)
        frames = [Frame(targets.shown[group, k], k, near_zero, True) for k in range(place)]
        frames.append(Frame(noisy[group, place], place, targets.sigma[group, place], False))
        read = dit.reading(targets.start[group, place], targets.noisy_reach[group, place], vectors.shape[1])
        kept = [(key[group], value[group]) for key, value in context]
        out = dit(frames, kept, cross_mask=read.unsqueeze(2))
        wanted = (targets.noise - targets.clean)[group, place]
        squared = (out.velocity[-1] - wanted).square().mean(1)
        error[group, place] = squared.detach().mean((1, 2))
        losses.append(squared)
        weights.append(targets.weight[group, place])
        middle |= dict(zip(group.tolist(), out.middle[-1], strict=True))
    return error, weighted(torch.cat(losses), torch.cat(weights)), torch.stack([middle[row] for row in sorted(middle)])


def train_stage2(
    aligned: Aligned,
    mllm: Qwen2_5_VLForConditionalGeneration,
    processor: DuoGenProcessor,
    vae: PatchCodec,
    config: Stage2Config,
    form: DiTConfig,
    folder: Path,
    seed: int,
    max_seconds: float | None = None,
    quiet: bool = False,
    workers: int = 0,
) -> bool:
    """Trains (or goes on training) connector and DiT in place, on their device; returns whether all steps are done.

    When they are, `aligned` holds the moving average of the weights.
    """
    trainer = Trainer(aligned.thaw(), config, folder, seed)
    world = WorldBatches(
        seed + 1, config.batch_size, processor, turns_of_task, _has_target, _by_pictures,
        shares=config.shares or PRACTISED,
    )  # fmt: skip
    batches = world.stream(trainer.step, workers)
    dit = CosmosDiT(aligned.transformer, form.prediction, form.segment_heads)

    def loss_of(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        batch = next(batches)
        targets = Targets(batch, vae, config, generator)
        with trainer.autocast():
            vectors = aligned.connector(frozen_states(mllm, batch, int(targets.reach.max())))
            if form.mode == "causal":
                if torch.rand(1, generator=generator, device=generator.device) < config.own_frames:
                    show_own(dit, targets, vectors, generator)
                error, loss, middle = causal_loss(dit, targets, vectors)
            else:
                error, loss, middle = full_loss(dit, targets, vectors, generator)
        extra = _by_level(error, targets)
        if config.showing_weight:
            columns = targets.clean.shape[-1] // dit.patch
            labels = labels_of(batch.scenes, columns).to(middle.device)[targets.counted]
            shown, right = aligned.showing.loss(middle, labels, config.new_weight)
            loss = loss + config.showing_weight * shown
            extra["showing"] = round(shown.item(), 4)
            extra["showing_accuracy"] = round(right.float().mean().item(), 4)
        return loss, extra

    done = trainer.run(loss_of, max_seconds, quiet)
    if done and trainer.ema is not None:
        aligned.load_state_dict(trainer.result.state_dict())
    aligned.requires_grad_(False).eval()
    return done


def _by_pictures(turns: list[Turn]) -> int:
    return 1000 * picture_count(turns) + rough_length(turns)


def _has_target(task: Task) -> bool:
    return any(turn.pictures for turn in task.turns)


@torch.no_grad()
def frozen_states(mllm: Qwen2_5_VLForConditionalGeneration, batch: Batch, length: int) -> Tensor:
    """All layers' states [B, length, layers, hidden] of the tokens that any picture may read.

    The picture after the last `<BOV>` is cut off with the rest, so only pictures that stand before it are encoded.
    """
    assert batch.pixels is not None
    assert batch.grids is not None
    patch_counts = batch.grids.prod(-1).tolist()
    keep: list[bool] = []
    used: list[Tensor] = []
    start = 0
    for slots in batch.slots:
        for slot in slots:
            size = patch_counts[len(keep)]
            inside = slot.end <= length
            keep.append(inside)
            if inside:
                used.append(batch.pixels[start : start + size])
            start += size
    ids = batch.ids[:, :length].clone()
    # A row's picture that is cut in the middle lies behind everything that the row's own targets read.
    for row, slots in enumerate(batch.slots):
        for slot in slots:
            if slot.asked < length < slot.end:
                ids[row, slot.asked :] = 0
    grids = batch.grids[torch.tensor(keep)]
    _, states, _ = batch_states(
        mllm, ids, batch.positions[:, :, :length], torch.cat(used) if used else None, grids if used else None
    )
    return states


def _by_level(error: Tensor, targets: Targets) -> dict[str, float]:
    """The mean error at high and at low noise: at the first it is decided what is painted, at the second how."""
    named = {"loss_high": targets.sigma > DECIDED, "loss_low": targets.sigma <= DECIDED}
    chosen: Sequence[tuple[str, Tensor]] = [
        (n, error.detach()[m & targets.counted & (error > 0)]) for n, m in named.items()
    ]
    return {name: round(values.mean().item(), 4) for name, values in chosen if len(values)}
