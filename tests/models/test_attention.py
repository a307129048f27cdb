from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from duogen.models import attention


def test_masks_hide_keys() -> None:
    query, key, value = (torch.randn(2, 3, 5, 8) for _ in range(3))
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril()
    bias = attention.as_bias(mask, torch.float32)
    full = attention.attend(query, key, value, bias)
    assert torch.allclose(full[:, :, :1], value[:, :, :1], atol=1e-6)
    changed = value.clone()
    changed[:, :, 4] += 1
    assert torch.allclose(attention.attend(query, key, changed, bias)[:, :, :4], full[:, :, :4])


def test_training_in_bfloat16_gives_nearly_the_same_with_its_gradients() -> None:
    mask = torch.ones(2, 1, 6, 9, dtype=torch.bool).tril(3)
    found = []
    for enabled in (False, True):
        torch.manual_seed(0)
        query, key, value = (torch.randn(2, 3, length, 8, requires_grad=True) for length in (6, 9, 9))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = attention.attend(query, key, value, attention.as_bias(mask, torch.float32))
        out.float().square().sum().backward()
        found.append([out.float(), *(part.grad for part in (query, key, value))])
    assert found[1][0].dtype == torch.float32
    for exact, rounded in zip(*found, strict=True):
        assert not torch.equal(exact, rounded)
        assert torch.allclose(exact, rounded, atol=0.05 * float(exact.abs().max()))


def test_the_backend_follows_device_and_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_has_xformers", lambda: True)
    assert attention.backend("cpu") == "sdpa"
    assert attention.backend("cuda") == "xformers"
    monkeypatch.setattr(attention, "_has_xformers", lambda: False)
    assert attention.backend("cuda") == "sdpa"


def test_the_xformers_call_gives_what_sdpa_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """xformers has no CPU operator: its function is replaced by the arithmetic that its documentation states."""

    def documented(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_bias: torch.Tensor | None
    ) -> torch.Tensor:
        q, k, v = (part.transpose(1, 2) for part in (query, key, value))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if attn_bias is not None:
            assert attn_bias.stride(-2) % 8 == 0 and attn_bias.shape == scores.shape
            scores = scores + attn_bias
        return (scores.softmax(-1) @ v).transpose(1, 2)

    query, key, value = torch.randn(2, 2, 5, 8), torch.randn(2, 2, 7, 8), torch.randn(2, 2, 7, 8)
    for mask in (None, torch.rand(2, 1, 5, 7) > 0.4):
        bias = None if mask is None else attention.as_bias(mask, torch.float32)
        expected = attention.attend(query, key, value, bias)
        with monkeypatch.context() as patch:
            patch.setattr(attention, "backend", lambda device: "xformers")
            ops = SimpleNamespace(memory_efficient_attention=documented)
            patch.setitem(sys.modules, "xformers", SimpleNamespace(ops=ops))
            patch.setitem(sys.modules, "xformers.ops", ops)
            assert torch.allclose(attention.attend(query, key, value, bias), expected, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_blocks_are_a_mask_that_nothing_is_computed_of(masked: bool) -> None:
    """Three documents in a pack, each with queries and keys of its own; losses and gradients as with one mask over all."""
    torch.manual_seed(0)
    counts, reads = (3, 5, 2), (4, 2, 6)
    query, key, value = (torch.randn(1, 2, n, 8, requires_grad=True) for n in (sum(counts), sum(reads), sum(reads)))
    whole = torch.zeros(1, 1, sum(counts), sum(reads), dtype=torch.bool)
    blocks, start, text = [], 0, 0
    for count, read in zip(counts, reads, strict=True):
        inside = torch.rand(1, 1, count, read) > 0.4 if masked else torch.ones(1, 1, count, read, dtype=torch.bool)
        inside[..., 0] = True
        whole[..., start : start + count, text : text + read] = inside
        blocks.append(attention.Block((start, start + count), (text, text + read), inside if masked else None))
        start, text = start + count, text + read
    results = []
    for mask in (whole, blocks):
        out = attention.attend(query, key, value, attention.biased(mask, torch.float32))
        results.append([out, *torch.autograd.grad(out.square().sum(), (query, key, value))])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
