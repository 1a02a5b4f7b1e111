"""The (N+1)-class cross-entropy of a discriminator that segments (OASIS, Schoenfeld et al. 2021, eq. 1 and 2).

Logits have N + 1 channels, `fake` last. Real images should be segmented into their N classes, made ones into `fake`,
and the generator wants its images segmented into the classes of their label maps. Classes are balanced by the inverse
of their frequency in the batch, as the authors' code does: a term is the mean over the classes that are there of the
mean over their pixels. Unknown pixels count for nothing in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from uda.data.label_space import IGNORE
from uda.losses.cross_entropy import cross_entropy


def class_balance(labels_BHW: Tensor, num_classes: int) -> Tensor:
    """Weight alpha of each class: known pixels / (classes that are there * pixels of the class); 0 for absent ones.

    Args:
        labels_BHW: class indices; values from `num_classes` on (255) are unknown.
        num_classes: N.

    Returns:
        weights_N, float32; weighted by them the mean over known pixels counts every class alike. The authors' factor
        has all pixels, unknown ones too, above and below: the same loss.
    """
    index = labels_BHW.clamp(max=num_classes).flatten()
    counts = torch.zeros(num_classes + 1, dtype=torch.long, device=index.device)
    counts_N = counts.scatter_add_(0, index, torch.ones_like(index))[:num_classes]
    shared = counts_N.sum() / (counts_N > 0).sum().clamp(min=1)
    return torch.where(counts_N > 0, shared / counts_N.clamp(min=1), 0.0)


def labelled_loss(logits_BMHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """Balanced cross-entropy with the label map: of real images (eq. 1) or, for the generator, of its own (eq. 2).

    Args:
        logits_BMHW: raw, M = N + 1, `fake` last; computed in float32.
        labels_BHW: class indices, 255 = unknown.

    Returns:
        A scalar in float32, >= 0; 0 with a zero gradient where no pixel is known.
    """
    num_classes = logits_BMHW.shape[1] - 1
    logits = logits_BMHW.float()
    alpha = class_balance(labels_BHW, num_classes).to(logits.dtype)
    # A stray label N would mean `fake`.
    known = labels_BHW.where(labels_BHW < num_classes, IGNORE)
    return cross_entropy(logits, known, torch.cat([alpha, alpha.new_zeros(1)]))


def fake_loss(logits_BMHW: Tensor) -> Tensor:
    """Cross-entropy with `fake` on every pixel, unknown ones too (eq. 1, second part), in float32, >= 0."""
    batch, channels, height, width = logits_BMHW.shape
    fake = torch.full((batch, height, width), channels - 1, device=logits_BMHW.device)
    return cross_entropy(logits_BMHW, fake)
