"""Pixel-wise cross-entropy that survives images without a single label."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from uda.data.label_space import IGNORE
from uda.losses.softmax import by_pixel


def cross_entropy(
    logits_BNHW: Tensor,
    labels_BHW: Tensor,
    class_weights_N: Tensor | None = None,
    pixel_weights_BHW: Tensor | None = None,
) -> Tensor:
    """Weighted sum of `- log softmax` at the label, over the number of pixels that are not ignored.

    The sum is divided by a count, not by the sum of weights: a weight below 1 lowers the loss (DACS), and balanced
    weights keep their scale (OASIS). Where every pixel is ignored the result is 0 with a zero gradient; the plain mean
    is NaN there, which ended runs of AdaptSegNet and BDL on empty pseudo-labels.

    Args:
        logits_BNHW: raw logits; computed in float32.
        labels_BHW: class indices, 255 = ignore.
        class_weights_N: None for 1.
        pixel_weights_BHW: broadcastable to the labels, None for 1.

    Returns:
        A scalar in float32, >= 0.
    """
    weights_N = None if class_weights_N is None else class_weights_N.to(logits_BNHW.device).float()
    logits, labels = logits_BNHW.float(), labels_BHW.long()
    pixels = by_pixel(logits)
    if pixels is not None:
        logits, labels = pixels.flatten(0, 2), labels.flatten()
    loss = F.cross_entropy(logits, labels, weight=weights_N, ignore_index=IGNORE, reduction="none")
    loss_BHW = loss.view_as(labels_BHW)
    if pixel_weights_BHW is not None:
        loss_BHW = loss_BHW * pixel_weights_BHW
    return loss_BHW.sum() / (labels_BHW != IGNORE).sum().clamp(min=1)
