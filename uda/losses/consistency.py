"""Losses between what should agree: images, codes, predictions of one segmenter on two versions of an image."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from uda.losses.softmax import log_softmax


def l1(prediction: Tensor, reference: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of one shape, in float32."""
    return F.l1_loss(prediction.float(), reference.float())


def symmetric_cross_entropy(reference_logits_BNHW: Tensor, logits_BNHW: Tensor, floor: float = 1e-4) -> Tensor:
    """Cross-entropy both ways between two predictions (Musto & Zinelli 2020, eq. 5; Wang et al. 2019).

    With q the reference's and p the other's softmax: the mean over pixels of `- sum q log p - sum p log q`.

    Args:
        reference_logits_BNHW: raw logits on the original image; no gradient goes into them.
        logits_BNHW: raw logits on the translated image.
        floor: probabilities q below it count as it in `log q` (Wang et al. clamp labels at 1e-4; the paper at hand
            states none). `log p` needs none: it is finite, and clamping it would stop the gradient where the
            translation is most wrong.

    Returns:
        A scalar in float32, >= 0; twice the mean entropy where both are equal (and above the floor).
    """
    log_q, log_p = log_softmax(reference_logits_BNHW.detach()), log_softmax(logits_BNHW)
    pixels = log_p.numel() // log_p.shape[1]
    forward = (log_q.exp() * log_p).sum()
    backward = (log_p.exp() * log_q.clamp(min=math.log(floor))).sum()
    return -(forward + backward) / pixels
