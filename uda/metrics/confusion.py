"""The confusion matrix of a segmentation and the scores that follow from it, as the Cityscapes tools count them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uda.core.errors import DataError

Scores = NDArray[np.float64]


class ConfusionMatrix:
    """Pixels by true class (row) and predicted class (column), summed over images.

    Pixels whose label is no class count nowhere. A pixel with a label and a prediction that is no class (255) is a miss
    of its class and nobody's false alarm; it is counted in one more column (`cityscapesscripts` does the same).

    Args:
        num_classes: N, of the label space.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((num_classes, num_classes + 1), np.int64)

    @property
    def num_classes(self) -> int:
        """N."""
        return len(self.counts)

    @property
    def array(self) -> NDArray[np.int64]:
        """Pixels by true and predicted class, (N, N), without the pixels that were predicted to be no class."""
        return self.counts[:, :-1]

    def update(self, prediction_HW: NDArray[Any], label_HW: NDArray[Any]) -> None:
        """Count the pixels of one image (or of a batch: any shape).

        Args:
            prediction_HW: integer class indices; whatever is no class is a miss.
            label_HW: integer class indices of the same shape; whatever is no class is not counted.

        Raises:
            DataError: the shapes differ.
        """
        if prediction_HW.shape != label_HW.shape:
            raise DataError(f"a prediction of shape {prediction_HW.shape} does not fit its label {label_HW.shape}")
        classes = self.num_classes
        pairs = _bounded(label_HW, classes) * (classes + 1) + _bounded(prediction_HW, classes)
        counts = np.bincount(pairs.ravel(), minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)
        self.counts += counts[:classes]

    def iou(self) -> Scores:
        """Intersection over union of each class, (N,) in [0, 1]; NaN where neither labels nor predictions have it."""
        correct = np.diag(self.array)
        return _ratio(correct, self.counts.sum(1) + self.array.sum(0) - correct)

    def mean_iou(self, subset: Sequence[int] | None = None) -> float:
        """Mean of the IoUs that are there.

        Args:
            subset: class indices that count in the mean (mIoU over 16 or 13 classes); None for all. The IoUs are those
                of the whole matrix: a pixel called by a class outside the subset is still an error.
        """
        iou = self.iou()
        return _mean(iou if subset is None else iou[list(subset)])

    def pixel_accuracy(self) -> float:
        """Part of the labelled pixels that are right; NaN where there are none."""
        return float(_ratio(np.trace(self.array), self.counts.sum()))

    def class_accuracy(self) -> float:
        """Mean over the labelled classes of the part of their pixels that is right."""
        return _mean(_ratio(np.diag(self.array), self.counts.sum(1)))


def _bounded(values: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Class indices, and `classes` in the place of whatever is none."""
    whole = values.astype(np.int64)
    whole[(whole < 0) | (whole > classes)] = classes
    return whole


def _ratio(part: Any, whole: Any) -> Scores:
    """`part / whole`, NaN where the whole is 0."""
    whole = np.asarray(whole, np.float64)
    ratio: Scores = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio


def _mean(values: Scores) -> float:
    """Mean of what is no NaN; NaN where there is nothing (without the warning of `nanmean`)."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
