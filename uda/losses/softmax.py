"""Softmax over the classes of each pixel that keeps the memory format of its logits.

PyTorch's own, along the second dimension, copies logits in channels_last to contiguous memory, and the gradient comes
back in it: two copies of the largest map of a segmenter, and a third before the last convolution's gradient. Along the
last dimension of the same memory there is none of them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def by_pixel(logits_BNHW: Tensor) -> Tensor | None:
    """The same memory as (B, H, W, N), classes last; None where classes do not lie side by side in it."""
    if not logits_BNHW.is_contiguous(memory_format=torch.channels_last):
        return None
    return logits_BNHW.permute(0, 2, 3, 1)


def softmax(logits_BNHW: Tensor) -> Tensor:
    """Probabilities_BNHW of the classes, float32, in the logits' memory format."""
    logits = logits_BNHW.float()
    pixels = by_pixel(logits)
    return logits.softmax(1) if pixels is None else pixels.softmax(-1).permute(0, 3, 1, 2)


def log_softmax(logits_BNHW: Tensor) -> Tensor:
    """Their logarithms, float32, in the logits' memory format."""
    logits = logits_BNHW.float()
    pixels = by_pixel(logits)
    return logits.log_softmax(1) if pixels is None else pixels.log_softmax(-1).permute(0, 3, 1, 2)
