"""Confidences of each predicted class in 2^16 bins: order statistics of any number of pixels in constant memory."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from uda.core.config import MethodConfig
from uda.core.lazy import lazy_import
from uda.pseudo_labels.base import AbstractPseudoLabeller

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor
else:
    torch = lazy_import("torch")

BINS = 2**16


class ConfidenceHistogram:
    """Counts of the highest probability, by the class that has it; 10 MB for 19 classes.

    BDL and CBST sort all confidences of a data set (25 GB for Cityscapes); a rank's value is known here to one bin.

    Args:
        num_classes: N.
    """

    def __init__(self, num_classes: int) -> None:
        self._classes = num_classes
        self._counts: Tensor | None = None

    def add(self, probabilities_BNHW: Tensor) -> None:
        """Count every pixel of a batch; stays on the batch's device."""
        confidences, classes = probabilities_BNHW.float().max(1)
        bins = (confidences * BINS).long().clamp_(0, BINS - 1)
        found = torch.bincount((classes * BINS + bins).ravel(), minlength=self._classes * BINS)
        self._counts = found if self._counts is None else self._counts + found

    def counts(self) -> NDArray[np.int64]:
        """Pixels by class and bin, (N, BINS)."""
        if self._counts is None:
            return np.zeros((self._classes, BINS), np.int64)
        counts: NDArray[np.int64] = self._counts.cpu().numpy()
        return counts.reshape(self._classes, BINS)


def value_at(counts_of_class: NDArray[np.int64], rank: int) -> float:
    """The confidence at `rank` (0 is the lowest) of one class: its bin's lower edge, at most 2^-16 below the true one.

    The lower edge, so that the pixel at that rank passes `confidence >= threshold`, as it does where all are sorted.
    """
    return float(np.searchsorted(counts_of_class.cumsum(), rank, side="right")) / BINS


class AbstractHistogramLabeller(AbstractPseudoLabeller):
    """A threshold for each class from the confidences of the pixels predicted as it."""

    def __init__(self, config: MethodConfig, num_classes: int) -> None:
        self.config = config
        self._histogram = ConfidenceHistogram(num_classes)
        self._thresholds: NDArray[np.float64] | None = None

    def observe(self, probabilities_BNHW: Tensor) -> None:
        """Count confidences."""
        self._histogram.add(probabilities_BNHW)
        self._thresholds = None

    def thresholds(self) -> NDArray[np.float64]:
        """Thresholds (N,), each from its class's counts alone (`threshold`)."""
        if self._thresholds is None:
            self._thresholds = np.array([self.threshold(counts) for counts in self._histogram.counts()])
        return self._thresholds

    @abstractmethod
    def threshold(self, counts: NDArray[np.int64]) -> float:
        """The threshold of one class.

        Args:
            counts: pixels predicted as it by bin of confidence, (BINS,).
        """
