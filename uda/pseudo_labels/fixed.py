"""Believes every prediction above one confidence, the same for all classes (as Musto & Zinelli 2020, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from uda.core.config import MethodConfig
from uda.data.label_space import IGNORE
from uda.pseudo_labels.base import AbstractPseudoLabeller

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class FixedConfig(MethodConfig):
    """Settings of `fixed`."""

    name: str = "fixed"
    """Name of the method."""
    threshold: float = Field(default=0.9, ge=0, le=1)
    """Lowest confidence that is believed (0.9 is BDL's cap; the paper's own value is lost in the text at hand)."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests: nets that are hardly trained are sure of nothing."""
        return cls(threshold=0.4)


class Fixed(AbstractPseudoLabeller):
    """One threshold."""

    Config = FixedConfig
    observes = False

    def __init__(self, config: FixedConfig, num_classes: int) -> None:
        self.config, self._classes = config, num_classes

    def observe(self, probabilities_BNHW: Tensor) -> None:
        """Nothing to learn."""
        return

    def thresholds(self) -> NDArray[np.float64]:
        """The threshold, (N,)."""
        return np.full(self._classes, self.config.threshold)

    def label(self, probabilities_BNHW: Tensor) -> Tensor:
        """Labels_BHW of the most probable classes, 255 below the threshold."""
        confidences, labels = probabilities_BNHW.float().max(1)
        return labels.masked_fill(confidences < self.config.threshold, IGNORE)
