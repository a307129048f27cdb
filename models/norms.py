"""Root-mean-square norms, as torch has them and as onnxruntime has them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`F.rms_norm` over the last dimension. Exported to ONNX it is written out, in the very form that onnxruntime has one operation for."""
    if torch.compiler.is_exporting():
        return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight
    return F.rms_norm(x, x.shape[-1:], weight, eps)
