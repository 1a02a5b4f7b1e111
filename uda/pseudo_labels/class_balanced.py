"""Believes the same part of every class, and lets rare classes win over frequent ones (CBST, Zou et al. 2018).

A pixel's class is the one whose probability exceeds its own threshold by the largest factor, so labels are
re-balanced, not only masked. Differences to the authors' code: thresholds are found to 2^-16, finer near 1, in constant
memory, and no patches of small classes are mined.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from pydantic import Field

from uda.core.config import MethodConfig
from uda.core.lazy import lazy_import
from uda.data.label_space import IGNORE
from uda.pseudo_labels._histogram import AbstractHistogramLabeller, value_at

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor
else:
    torch = lazy_import("torch")


class ClassBalancedConfig(MethodConfig):
    """Settings of `class_balanced`."""

    name: str = "class_balanced"
    """Name of the method."""
    portion: float = Field(default=0.3, gt=0, le=1)
    """Part of each class's predicted pixels that sets its threshold (CBST: 0.3 first, 0.05 more a round, up to 0.5)."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls()


class ClassBalanced(AbstractHistogramLabeller):
    """A threshold for each class, and labels by the ratio of probability to threshold."""

    Config = ClassBalancedConfig

    def label(self, probabilities_BNHW: Tensor) -> Tensor:
        """Labels_BHW of the classes with the highest ratio of probability to threshold, 255 where it is below 1."""
        thresholds_N = torch.as_tensor(self.thresholds(), dtype=torch.float32, device=probabilities_BNHW.device)
        ratios, labels = (probabilities_BNHW.float() / thresholds_N.view(-1, 1, 1)).max(1)
        return labels.masked_fill(ratios < 1, IGNORE)

    def threshold(self, counts: NDArray[np.int64]) -> float:
        """The lowest of the floor(portion n) highest confidences; 1 where that is none."""
        pixels = int(counts.sum())
        chosen = math.floor(self.config.portion * pixels)
        return value_at(counts, pixels - chosen) if chosen else 1.0
