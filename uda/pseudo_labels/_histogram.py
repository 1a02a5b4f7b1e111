"""Confidences of each predicted class in bins: order statistics of any number of pixels in constant memory.

Sure networks have most of their confidences within 2^-16 of 1. Bins are 2^-16 wide up to 1 - 2^-6, and from there on
2^11 to each halving of the distance to 1, down to 2^-24, where float32 itself ends.
"""

from __future__ import annotations

import functools
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

WIDTH = 2.0**-16
"""Width of the widest bins."""
_NEAR, _NEAREST, _MANTISSA = -6, -24, 11
_EQUAL = round((1 - 2.0**_NEAR) / WIDTH)
BINS = _EQUAL + (_NEAR - _NEAREST) * 2**_MANTISSA + 2
"""Of equal width, by the distance to 1, and the last one for 1 itself."""


def bins_of(confidences: Tensor) -> Tensor:
    """The bin of each confidence, int64; those beyond 1 by rounding errors are in the last one."""
    sure = confidences.float().clamp(max=1)
    far = (sure / WIDTH).long()
    distance = (1 - sure).clamp(max=2.0**_NEAR)  # exact: sure >= 1/2 wherever it counts
    # The exponent and the first bits of the mantissa, as one number that falls with the distance.
    places = distance.view(torch.int32) >> (23 - _MANTISSA)
    near = _EQUAL + ((127 + _NEAR) << _MANTISSA) - places
    return torch.where(far < _EQUAL, far, near.clamp(max=BINS - 1).long())


@functools.cache
def lower_edges() -> NDArray[np.float64]:
    """The lowest confidence of each bin, and 1 after the last, (BINS + 1,); all are float32's numbers."""
    steps = np.arange(BINS - _EQUAL - 1)
    exponent, mantissa = np.divmod(-steps, 2**_MANTISSA)
    distance = 2.0 ** (_NEAR + exponent) * (1 + (mantissa + 1) / 2**_MANTISSA)  # of the next bin's farthest end
    # A bin reaches down to that distance without it: to the next of float32's numbers above.
    near = (np.floor((1 - distance) * 2**-_NEAREST) + 1) * 2.0**_NEAREST
    return np.concatenate([np.arange(_EQUAL) * WIDTH, np.maximum(near, 1 - 2.0**_NEAR), [1.0, 1.0]])


class ConfidenceHistogram:
    """Counts of the highest probability, by the class that has it; 15 MB for 19 classes.

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
        found = torch.bincount((classes * BINS + bins_of(confidences)).ravel(), minlength=self._classes * BINS)
        self._counts = found if self._counts is None else self._counts + found

    def counts(self) -> NDArray[np.int64]:
        """Pixels by class and bin, (N, BINS)."""
        if self._counts is None:
            return np.zeros((self._classes, BINS), np.int64)
        counts: NDArray[np.int64] = self._counts.cpu().numpy()
        return counts.reshape(self._classes, BINS)


def value_at(counts_of_class: NDArray[np.int64], rank: int) -> float:
    """The confidence at `rank` (0 is the lowest) of one class: its bin's lower edge, at most `WIDTH` below it.

    The lower edge, so that the pixel at that rank passes `confidence >= threshold`, as it does where all are sorted.
    """
    return float(lower_edges()[np.searchsorted(counts_of_class.cumsum(), rank, side="right")])


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
