"""Believes the surer half of every class, and whatever is surer than a cap (BDL, Li et al. 2019).

The threshold of a class is the median confidence of the pixels predicted as it, over all images, at most the cap.
Differences to the authors' code: the median is found to 2^-16, finer near 1, in one pass and constant memory; and
logits are brought to the images' size before the softmax, where BDL takes DeepLabV2's softmax at stride 8 and brings
that up, so that class borders come out surer here.
"""

from __future__ import annotations

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


class ClassMedianConfig(MethodConfig):
    """Settings of `class_median`; defaults are BDL's."""

    name: str = "class_median"
    """Name of the method."""
    portion: float = Field(default=0.5, gt=0, le=1)
    """Part of each class's predicted pixels that is believed, the surest first (0.5: the threshold is the median)."""
    cap: float = Field(default=0.9, ge=0, le=1)
    """No threshold is higher; 1 caps nothing."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls()


class ClassMedian(AbstractHistogramLabeller):
    """A threshold for each class from its own confidences."""

    Config = ClassMedianConfig

    def label(self, probabilities_BNHW: Tensor) -> Tensor:
        """Labels_BHW of the most probable classes, 255 below the class's threshold."""
        confidences, labels = probabilities_BNHW.float().max(1)
        thresholds_N = torch.as_tensor(self.thresholds(), dtype=torch.float32, device=labels.device)
        return labels.masked_fill(confidences < thresholds_N[labels], IGNORE)

    def threshold(self, counts: NDArray[np.int64]) -> float:
        """The confidence at rank round((1 - portion) n), capped; 0 for a class never predicted (BDL)."""
        pixels = int(counts.sum())
        if not pixels:
            return 0.0
        # Python rounds halves to even, as numpy does in the authors' code.
        rank = min(round((1 - self.config.portion) * pixels), pixels - 1)
        return min(value_at(counts, rank), float(self.config.cap))
