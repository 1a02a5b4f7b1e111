"""LabelMix (OASIS, Schoenfeld et al. 2021): real and made images joined along the borders of the label map.

The authors' code draws one bit for each class of the whole batch, and as it overwrites the label map in place, pixels
that were given the value of a class that comes later are drawn again. Here, as in the paper, every image draws for
itself, once for each of its classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def label_mix_mask(labels_BHW: Tensor, num_classes: int) -> Tensor:
    """A mask that is constant on each class of each image: real (True) or fake, by the toss of a coin.

    Args:
        labels_BHW: class indices; unknown pixels (255) are one region more.
        num_classes: N.

    Returns:
        mask_B1HW, bool; random through PyTorch's own generator.
    """
    coins = torch.rand(len(labels_BHW), num_classes + 1, device=labels_BHW.device) < 0.5
    index = labels_BHW.clamp(max=num_classes)
    return coins.gather(1, index.flatten(1)).view_as(index)[:, None]


def label_mix(mask_B1HW: Tensor, real_BCHW: Tensor, fake_BCHW: Tensor) -> Tensor:
    """`M * real + (1 - M) * fake`, of images or of logits."""
    return torch.where(mask_B1HW, real_BCHW, fake_BCHW)


def label_mix_consistency(mask_B1HW: Tensor, mixed_BMHW: Tensor, real_BMHW: Tensor, fake_BMHW: Tensor) -> Tensor:
    """Mean squared distance of the mixed image's logits to the mix of both images' logits (L_cons).

    Args:
        mask_B1HW: from `label_mix_mask`.
        mixed_BMHW: logits on the mixed image, M = N + 1.
        real_BMHW: logits on the real image.
        fake_BMHW: logits on the made image; gradients go into all three, as in the authors' code.

    Returns:
        A scalar in float32, >= 0: the mean over pixels and logits.
    """
    return F.mse_loss(mixed_BMHW.float(), label_mix(mask_B1HW, real_BMHW.float(), fake_BMHW.float()))
