"""The contract of a pseudo-label strategy; importable without torch.

Two passes over the target images: `observe` every batch, then `label` every batch; where a method does not observe,
the second alone. Memory does not grow with the number of images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from uda.core.config import MethodConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class AbstractPseudoLabeller(ABC):
    """Chooses which predictions to believe."""

    Config: ClassVar[type[MethodConfig]]
    observes: ClassVar[bool] = True
    """Whether the first pass teaches it anything; it is left out where not."""
    config: Any

    @abstractmethod
    def __init__(self, config: Any, num_classes: int) -> None:
        """Start with nothing observed."""

    @abstractmethod
    def observe(self, probabilities_BNHW: Tensor) -> None:
        """First pass: softmax probabilities of a batch."""

    @abstractmethod
    def thresholds(self) -> NDArray[np.float64]:
        """Confidence threshold of each class, shape (N,), from what was observed.

        It is 1.0 for a class never predicted unless the method's source says otherwise.
        """

    @abstractmethod
    def label(self, probabilities_BNHW: Tensor) -> Tensor:
        """Second pass: labels_BHW int64 with 255 where not believed."""
