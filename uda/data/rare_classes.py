"""Pairs with rare classes, drawn more often (the semi-paired method, Eskandar et al. 2023, section 2.3).

The share of a class that an image has is the number of its pixels of that class over all pixels of that class in the
set; an image is drawn in proportion to the sum of its shares. One that holds a rare class has a large share of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def class_counts(labels: Iterable[NDArray[np.uint8]], num_classes: int) -> NDArray[np.int64]:
    """Pixels of each class in each label map.

    Args:
        labels: maps (H, W) of class indices; values from `num_classes` on (255) count nowhere.
        num_classes: N.

    Returns:
        counts (images, N).
    """
    rows = [np.bincount(one.ravel(), minlength=256)[:num_classes] for one in labels]
    return np.asarray(rows, dtype=np.int64).reshape(len(rows), num_classes)


def rare_class_probabilities(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """How likely each image is drawn: the sum of its shares of the classes, over that of all images.

    As each class hands out one share in all, the divisor is the number of classes that occur.

    Args:
        counts: from `class_counts`, (images, N).

    Returns:
        probabilities (images,), of sum 1; 0 for an image without a known pixel. All alike where no image has one.
    """
    totals = counts.sum(0)
    shares = counts[:, totals > 0] / totals[totals > 0]
    if not shares.size:
        return np.full(len(counts), 1 / max(len(counts), 1))
    wanted = shares.sum(1)
    probabilities: NDArray[np.float64] = wanted / wanted.sum()
    return probabilities
