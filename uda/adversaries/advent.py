"""Aligns maps of weighted self-information, so that target outputs become as certain as source ones (ADVENT, Vu 2019).

The discriminator sees `- p log2 p / log2 N` of each class and pixel; everything else is as in `output_space`.
Difference to the authors' code: log p comes from the log-softmax, so no small number is added inside the logarithm.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from uda.adversaries._output import AbstractOutputAdversary, OutputAdversaryConfigBase
from uda.core.errors import ConfigError
from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    from torch import Tensor

    from uda.losses import softmax
else:
    softmax = lazy_import("uda.losses.softmax")


class AdventConfig(OutputAdversaryConfigBase):
    """Settings of `advent`."""

    name: str = "advent"
    """Name of the method."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=2)


class Advent(AbstractOutputAdversary):
    """A discriminator on the self-information map of each level."""

    Config = AdventConfig

    def __init__(self, config: AdventConfig, num_classes: int) -> None:
        if num_classes < 2:
            raise ConfigError("one class has no uncertainty", "adversary advent", "take a label space of two or more")
        super().__init__(config, num_classes)

    @staticmethod
    def maps(logits_BNHW: Tensor) -> Tensor:
        """Weighted self-information `- p log p / log N`, >= 0; its sum over classes is the entropy in [0, 1]."""
        log_p = softmax.log_softmax(logits_BNHW)
        return -log_p.exp() * log_p / math.log(logits_BNHW.shape[1])
