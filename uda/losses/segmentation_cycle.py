"""The segmentation cycle of USIS and of the semi-paired method (Eskandar et al. 2022, 2023).

An image made from a label map should be segmented back into it. The segmenter is a discriminator with N + 1 outputs;
its logit of `fake` is left out, else the loss would be OASIS's adversarial one (`n_plus_one.labelled_loss`).
"""

from __future__ import annotations

from torch import Tensor

from uda.data.label_space import IGNORE
from uda.losses.cross_entropy import cross_entropy
from uda.losses.n_plus_one import class_balance


def cycle_loss(logits_BMHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """Cross-entropy with the label map over the N classes, each class that is there counting alike.

    Args:
        logits_BMHW: raw, M = N + 1, `fake` last: neither a value nor a gradient comes from it; computed in float32.
        labels_BHW: class indices of the map that the image was made from, 255 = unknown.

    Returns:
        A scalar in float32, >= 0; 0 with a zero gradient where no pixel is known.
    """
    num_classes = logits_BMHW.shape[1] - 1
    logits_BNHW = logits_BMHW[:, :-1].float()
    known = labels_BHW.where(labels_BHW < num_classes, IGNORE)
    return cross_entropy(logits_BNHW, known, class_balance(labels_BHW, num_classes).to(logits_BNHW.dtype))
