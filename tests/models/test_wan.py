from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel

from duogen.models.dit import Frame
from duogen.models.wan import MASK_CHANNELS, WanDiT


def transformer(image_to_video: bool) -> WanTransformer3DModel:
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=12 if image_to_video else 4, out_channels=4, text_dim=16,
        freq_dim=32, ffn_dim=64, num_layers=3,
    )  # fmt: skip
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model.eval()


@torch.no_grad()
def test_clean_frames_stand_at_time_zero_as_in_the_upstream_forward() -> None:
    """As Wan 2.2 TI2V is called (diffusers, ``WanImageToVideoPipeline`` with ``expand_timesteps``)."""
    model = transformer(False)
    dit = WanDiT(model)
    latents, text = [torch.randn(2, 4, 8, 12) for _ in range(3)], torch.randn(2, 7, 16)
    sigma = torch.tensor([0.3, 0.8])
    frames = [Frame(each, time, torch.full((2,), 1e-4), True) for time, each in enumerate(latents[:2])]
    frames.append(Frame(latents[2], 2, sigma, False))
    ours = dit(frames, dit.context(text)).velocity
    times = torch.cat([torch.zeros(2, 2 * 24), (sigma * 1000)[:, None].expand(2, 24)], dim=1)
    upstream = model(torch.stack(latents, 2), times, text).sample
    assert torch.allclose(torch.stack(ours, 2), upstream, atol=2e-5)
    assert upstream.abs().max() > 0.1


@torch.no_grad()
def test_image_to_video_networks_are_shown_frames_in_channels_of_their_own() -> None:
    model = transformer(True)
    dit = WanDiT(model)
    known, new, text, sigma = (
        torch.randn(1, 4, 8, 8),
        torch.randn(1, 4, 8, 8),
        torch.randn(1, 7, 16),
        torch.tensor([0.6]),
    )
    frames = [Frame(known, 0, torch.full((1,), 1e-4), True), Frame(new, 1, sigma, False)]
    ours = dit(frames, dit.context(text)).velocity
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    noisy = torch.stack([0.4 * known + 0.6 * noise, new], dim=2)
    mask = torch.zeros(1, MASK_CHANNELS, 2, 8, 8)
    mask[:, :, 0] = 1
    shown = torch.stack([known, torch.zeros_like(known)], dim=2)
    upstream = model(torch.cat([noisy, mask, shown], dim=1), sigma * 1000, text).sample
    assert torch.allclose(torch.stack(ours, 2), upstream, atol=2e-5)
    with pytest.raises(ValueError, match="no frames to keep"):
        dit(frames[1:], dit.context(text), past=[])


@torch.no_grad()
def test_kept_keys_and_values_stand_for_their_frames() -> None:
    dit = WanDiT(transformer(False))
    latents, context = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 12)], dit.context(torch.randn(1, 5, 16))
    early, late = (Frame(each, time, torch.full((1,), 0.4), time == 0) for time, each in enumerate(latents))
    owner = torch.tensor([0] * 16 + [1] * 12)
    whole = dit([early, late], context, self_mask=(owner[None] <= owner[:, None])[None, None]).velocity[-1]
    alone = dit([late], context, past=dit([early], context).kept).velocity[-1]
    assert torch.allclose(alone, whole, atol=2e-5)


def test_other_numbers_of_channels_are_refused() -> None:
    model = WanTransformer3DModel(
        num_attention_heads=1, attention_head_dim=12, in_channels=7, out_channels=4, num_layers=1
    )
    with pytest.raises(ValueError, match="in_channels must be 4 or 12, not 7"):
        WanDiT(model)
