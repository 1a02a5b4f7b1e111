"""Losses between pairs of an image and a label map, and how labels follow a translation (SemGAN, Roy et al.)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from uda.data.label_space import IGNORE
from uda.losses.consistency import l1
from uda.losses.cross_entropy import cross_entropy


def pair_distance(
    images_BCHW: Tensor, logits_BNHW: Tensor, wanted_images_BCHW: Tensor, wanted_labels_BHW: Tensor
) -> Tensor:
    """L1 of the images plus cross-entropy of the maps (the distance of L_id and L_rec, eq. 5 and 6).

    Args:
        images_BCHW: in [-1, 1].
        logits_BNHW: raw logits of their maps.
        wanted_images_BCHW: what the images should be.
        wanted_labels_BHW: class indices, 255 = ignore.

    Returns:
        A scalar in float32, >= 0.
    """
    return l1(images_BCHW, wanted_images_BCHW) + cross_entropy(logits_BNHW, wanted_labels_BHW)


def objects_distance(
    images_BCHW: Tensor, wanted_images_BCHW: Tensor, before_BHW: Tensor, after_BHW: Tensor, *, changed: bool
) -> Tensor:
    """Absolute difference of an image and its translation on some pixels, averaged over all pixels (L_obj, eq. 2).

    Args:
        images_BCHW: translations; all gradients go into them.
        wanted_images_BCHW: the images before.
        before_BHW: their labels; unknown pixels (255) count as neither changed nor unchanged.
        after_BHW: labels of the translations.
        changed: on pixels whose class changed; False: on those whose class did not.

    Returns:
        A scalar in float32, >= 0.
    """
    picked = ((before_BHW != after_BHW) == changed) & (before_BHW != IGNORE)
    return l1(images_BCHW * picked[:, None], wanted_images_BCHW * picked[:, None])


def transfigured(labels_BHW: Tensor, predicted_BHW: Tensor, old: int, new: int) -> Tensor:
    """The labels after objects of class `old` were turned into `new`: pixels go from `old` or to `new` alone.

    A pixel of `old` gets its predicted class: `new`, or what a smaller object uncovers. A pixel of another class keeps
    it unless a larger object covers it (`new` is predicted). Unknown pixels (255) stay unknown.

    Args:
        labels_BHW: of the input.
        predicted_BHW: most likely classes of the translated map.
        old: index of the class that disappears.
        new: index of the class that takes its place.
    """
    covered = (predicted_BHW == new) & (labels_BHW != IGNORE)
    return torch.where((labels_BHW == old) | covered, predicted_BHW, labels_BHW)


def without(labels_BHW: Tensor, classes: Iterable[int]) -> Tensor:
    """The labels with all pixels of some classes made unknown (255)."""
    kept = labels_BHW
    for index in classes:
        kept = kept.masked_fill(labels_BHW == index, IGNORE)
    return kept
