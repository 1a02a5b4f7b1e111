"""The contract of an adversary of the segmenter; importable without torch.

Label convention of the recipes: source = 0, target = 1; the segmenter's turn pushes target towards source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from uda.core.config import MethodConfig
from uda.core.training import OptimizerConfig

if TYPE_CHECKING:
    from torch import Tensor, nn


class AdversaryConfigBase(MethodConfig):
    """What every adversary's settings hold beside its own."""

    levels: tuple[str, ...] = Field(default=("main",), min_length=1)
    """Heads of the segmenter that get a discriminator each: ("main",) or ("main", "aux")."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.9, 0.99))
    """The discriminators' optimiser (AdaptSegNet: Adam 1e-4, betas 0.9 and 0.99)."""


class AbstractAdversary(ABC):
    """Tells source from target by what the segmenter puts out."""

    Config: ClassVar[type[AdversaryConfigBase]]
    config: Any
    networks: Mapping[str, nn.Module]

    @abstractmethod
    def __init__(self, config: Any, num_classes: int) -> None:
        """Build one discriminator for each level."""

    @abstractmethod
    def segmenter_losses(self, target_logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Terms `adversarial` (level main) and `adversarial_LEVEL` of the segmenter's turn.

        Args:
            target_logits: level -> logits_BNHW at image size, with gradients.
        """

    @abstractmethod
    def discriminator_losses(
        self, source_logits: Mapping[str, Tensor], target_logits: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Terms `discriminator` and `discriminator_LEVEL`; half of the source's plus half of the target's loss.

        No gradient reaches the logits, detached or not.
        """
