"""Muon in a precision that the device multiplies fast in.

torch's Muon orthogonalises in bfloat16 wherever it runs. A CPU that has no instructions for it takes fifty times as long then as in
float32, and training spends most of its time there (docs/LOG.md, "Muon on a CPU").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def orthogonalised(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Newton-Schulz iteration of Muon (Keller Jordan, 2024): what is left of U S V^T when all of S is drawn to about 1.

    Args:
        matrices: [n, rows, columns], in the precision that the products are to have.
    """
    first, second, third = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(eps)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=second, alpha=third), x, beta=first)
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Muon):
    """`torch.optim.Muon`, with its options, state and Nesterov momentum; on a CPU in float32, and matrices of one shape at once.

    Of ``adjust_lr_fn`` it knows the default alone, by which a matrix with more rows than columns moves faster.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[tuple[torch.Size, torch.device], list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape, weight.device].append(weight)
            for weights in alike.values():
                self._move(weights, group)
        return loss

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        updates = []
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(weight.grad)
            kept = state["momentum_buffer"]
            kept.lerp_(weight.grad, 1 - group["momentum"])
            updates.append(weight.grad.lerp(kept, group["momentum"]) if group["nesterov"] else kept)
        precision = torch.float32 if weights[0].device.type == "cpu" else torch.bfloat16
        moves = orthogonalised(
            torch.stack(updates).to(precision), group["ns_coefficients"], group["ns_steps"], group["eps"]
        )
        rows, columns = weights[0].shape
        rate = group["lr"] * max(1, rows / columns) ** 0.5
        for weight, move in zip(weights, moves, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(move.to(weight.dtype), alpha=-rate)
