"""Pictures through Qwen2.5-VL's vision encoder, without what surrounds its arithmetic.

Of the time that upstream takes for a small picture two thirds go by around the layers: windows and positions that only depend on
the picture's size are worked out anew, and patches pass through a convolution whose kernel is as large as they are, and twice as deep
as a picture, which is shown as a film of two equal frames. Here the first are kept, and the second is a matrix product of one frame.
The weights are upstream's (transformers, ``models/qwen2_5_vl``), and so are the numbers (a test compares them).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from duogen.models.attention import as_bias, attend

LARGEST = 1024
"""Pictures of more patches are left to upstream, which never holds scores of all patches with all others."""


class SeeingFunction(Protocol):
    """A `Seeing`, in torch or elsewhere."""

    def __call__(self, patches: Tensor, cosine: Tensor, sine: Tensor, windows: Tensor) -> Tensor:
        """As `Seeing.forward`."""


class Seeing(nn.Module):
    """The vision encoder on one picture's patches as a plain function of tensors: what is exported to ONNX."""

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        self.visual: Any = model.model.visual
        self.heads = self.visual.config.num_heads
        self.embed = self.visual.patch_embed.proj.weight.detach().sum(2).flatten(1)

    def forward(self, patches: Tensor, cosine: Tensor, sine: Tensor, windows: Tensor) -> Tensor:
        """Embeddings [n / merge^2, hidden], in the order of the patches.

        Args:
            patches: [n, patch values] of one frame, those of one window together. cosine, sine: [n, 1, head_dim].
            windows: [n, n], the bias that keeps attention within windows, for the layers that stay there.
        """
        hidden = F.linear(patches, self.embed)
        for number, block in enumerate(self.visual.blocks):
            turned = block.attn.qkv(block.norm1(hidden)).unflatten(-1, (3, self.heads, -1))
            query, key, value = turned.unbind(1)  # [n, heads, head_dim] each
            query, key, value = (
                part.transpose(0, 1)[None] for part in (_turned(query, cosine, sine), _turned(key, cosine, sine), value)
            )
            bias = None if number in self.visual.fullatt_block_indexes else windows
            mixed = attend(query, key, value, bias)[0]
            hidden = hidden + block.attn.proj(mixed.transpose(0, 1).flatten(1))
            hidden = hidden + block.mlp(block.norm2(hidden))
        return self.visual.merger(hidden)


def _turned(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    wide = heads.float()
    real, imaginary = wide.chunk(2, dim=-1)
    return (wide * cosine + torch.cat([-imaginary, real], dim=-1) * sine).to(heads.dtype)


class _Plan(NamedTuple):
    """What a picture's size decides. `order` [n / merge^2]: groups of patches window by window; `back`: the way back."""

    order: Tensor
    back: Tensor
    cosine: Tensor
    sine: Tensor
    windows: Tensor


class Eyes:
    """A model's vision encoder.

    Args:
        seeing: runs small pictures; torch, where it is None.
    """

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, seeing: SeeingFunction | None = None) -> None:
        self.model, self._seeing = model, seeing or Seeing(model)
        self._plans: dict[tuple[int, ...], _Plan] = {}

    def __call__(self, pixels: Tensor, grids: Tensor) -> Tensor:
        """Embeddings [tokens, hidden] of pictures in a row.

        Args:
            pixels: patches [sum of n, patch values] of all frames. grids: [pictures, 3], (t, h, w) in patches.
        """
        sizes = [tuple(grid) for grid in grids.tolist()]
        counts = [rows * columns for _, rows, columns in sizes]
        if max(counts) > LARGEST or any(time != 1 for time, _, _ in sizes):
            return torch.cat(list(self.model.model.get_image_features(pixels, grids).pooler_output))
        return torch.cat([self._see(patches, size) for patches, size in zip(pixels.split(counts), sizes, strict=True)])

    def _see(self, patches: Tensor, size: tuple[int, ...]) -> Tensor:
        weight = self.model.model.visual.patch_embed.proj.weight  # [hidden, channels, frames, height, width]
        if size not in self._plans:
            self._plans[size] = self._plan(size, weight)
        plan = self._plans[size]
        unit = len(patches) // len(plan.order)
        frame = patches.unflatten(1, (weight.shape[1], weight.shape[2], -1))[:, :, 0].to(weight.dtype)
        grouped = frame.unflatten(0, (-1, unit))[plan.order].flatten(0, 1).flatten(1)
        return self._seeing(grouped, plan.cosine, plan.sine, plan.windows)[plan.back]

    def _plan(self, size: tuple[int, ...], weight: Tensor) -> _Plan:
        visual: Any = self.model.model.visual
        merge, grid, device = visual.spatial_merge_size, torch.tensor([size]), weight.device
        order, bounds = get_vision_window_index(
            grid, spatial_merge_size=merge, window_size=visual.window_size, patch_size=visual.patch_size, kwargs={}
        )
        waves = visual.rotary_pos_emb(weight, get_vision_position_ids(grid, merge, kwargs={}).to(device))
        unit = merge**2
        cosine, sine = (
            wave.unflatten(0, (-1, unit))[order.to(device)].flatten(0, 1).unsqueeze(1).float() for wave in waves
        )
        count = size[1] * size[2]
        window = torch.bucketize(torch.arange(count), bounds[1:].cpu(), right=True)
        windows = as_bias((window[:, None] == window[None, :]).to(device), weight.dtype)
        return _Plan(order.to(device), torch.argsort(order).to(device), cosine, sine, windows)
