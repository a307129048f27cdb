from __future__ import annotations

import pytest
import torch
from diffusers import CosmosTransformer3DModel

from duogen.models.dit import CosmosDiT, Frame


@pytest.fixture(params=["learnable", None])
def model(request: pytest.FixtureRequest) -> CosmosTransformer3DModel:
    torch.manual_seed(0)
    made = CosmosTransformer3DModel(
        in_channels=5, out_channels=4, num_attention_heads=2, attention_head_dim=24, num_layers=3, text_embed_dim=16,
        adaln_lora_dim=8, max_size=(16, 32, 32), concat_padding_mask=False, extra_pos_embed_type=request.param,
        rope_scale=(2.0, 1.0, 1.0),
    )  # fmt: skip
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return made.eval()


def frames_of(latents: list[torch.Tensor], sigma: float) -> list[Frame]:
    batch, last = len(latents[0]), len(latents) - 1
    return [
        Frame(latent, i, torch.full((batch,), sigma if i == last else 1e-4), i < last)
        for i, latent in enumerate(latents)
    ]


@torch.no_grad()
def test_equals_the_upstream_forward(model: CosmosTransformer3DModel) -> None:
    dit = CosmosDiT(model)
    latents = [torch.randn(2, 4, 8, 12) for _ in range(3)]
    context, read = torch.randn(2, 7, 16), torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    frames = frames_of(latents, 0.6)
    ours = dit(frames, dit.context(context), cross_mask=read[:, None, None]).velocity
    mask = torch.zeros(2, 1, 3, 8, 12)
    mask[:, :, :2] = 1
    upstream = model(
        torch.stack(latents, 2),
        torch.stack([frame.sigma for frame in frames], 1)[:, None, :, None, None],
        context,
        attention_mask=read,
        condition_mask=mask,
    ).sample
    assert torch.allclose(torch.stack(ours, 2), upstream, atol=2e-5)
    assert upstream.abs().max() > 0.1


@torch.no_grad()
def test_kept_keys_and_values_stand_for_their_frames(model: CosmosTransformer3DModel) -> None:
    dit = CosmosDiT(model)
    latents = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 12), torch.randn(1, 4, 12, 6)]
    frames, context = frames_of(latents, 0.4), dit.context(torch.randn(1, 5, 16))
    counts = torch.tensor([dit.tokens_of(latent) for latent in latents])
    owner = torch.arange(3).repeat_interleave(counts)
    whole = dit(frames, context, self_mask=(owner[None] <= owner[:, None])[None, None]).velocity[-1]
    first = dit(frames[:1], context).kept
    second = dit(frames[1:2], context, past=first).kept
    past = [tuple(torch.cat(pair, 2) for pair in zip(a, b, strict=True)) for a, b in zip(first, second, strict=True)]
    alone = dit(frames[2:], context, past=past).velocity[-1]
    assert torch.allclose(alone, whole, atol=2e-5)


@torch.no_grad()
def test_one_kept_past_serves_a_batch(model: CosmosTransformer3DModel) -> None:
    dit = CosmosDiT(model)
    early, late = torch.randn(1, 4, 4, 4), torch.randn(2, 4, 4, 4)
    context = dit.context(torch.randn(1, 5, 16))
    past = dit([Frame(early, 0, torch.tensor([1e-4]), True)], context).kept
    both = dit([Frame(late, 1, torch.tensor([0.5, 0.5]), False)], context, past=past).velocity[0]
    one = dit([Frame(late[1:], 1, torch.tensor([0.5]), False)], context, past=past).velocity[0]
    assert torch.allclose(both[1:], one, atol=1e-5)


@torch.no_grad()
def test_a_predicted_sample_is_where_the_velocity_leads(model: CosmosTransformer3DModel) -> None:
    latent, sigma = torch.randn(2, 4, 4, 4), torch.tensor([0.8, 0.3])
    frames, vectors = [Frame(latent, 0, sigma, False)], torch.randn(1, 5, 16)
    raw, sample = CosmosDiT(model), CosmosDiT(model, "sample")
    answer = raw(frames, raw.context(vectors)).velocity[0]
    velocity = sample(frames, sample.context(vectors)).velocity[0]
    assert torch.allclose(latent - sigma[:, None, None, None] * velocity, answer, atol=1e-5)
    near_zero = [Frame(latent, 0, torch.zeros(2), False)]
    assert sample(near_zero, sample.context(vectors)).velocity[0].isfinite().all()


@torch.no_grad()
def test_segment_heads_read_the_last_segment_alone(model: CosmosTransformer3DModel) -> None:
    starts, ends = torch.tensor([3, 2]), torch.tensor([5, 2])
    assert CosmosDiT(model).reading(starts, ends, 6).int().tolist() == [[[1, 1, 1, 1, 1, 0]], [[1, 1, 0, 0, 0, 0]]]
    dit = CosmosDiT(model, segment_heads=2)
    read = dit.reading(starts, ends, 6)
    assert read.int().tolist() == [[[0, 0, 0, 1, 1, 0]] * 2, [[1, 0, 0, 0, 0, 0]] * 2]

    frames, vectors = [Frame(torch.randn(2, 4, 4, 4), 0, torch.tensor([0.5, 0.5]), False)], torch.randn(2, 6, 16)
    changed = vectors.clone()
    changed[:, 1] += 5.0
    before, after = (dit(frames, dit.context(v), read.unsqueeze(2)).velocity[0] for v in (vectors, changed))
    assert torch.equal(before, after), "a token before the last segment was read"
