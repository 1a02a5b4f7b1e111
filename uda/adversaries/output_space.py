"""Aligns the segmenter's softmax maps of both domains (AdaptSegNet, Tsai et al. 2018), on one head or on two.

As the authors' code: the discriminator sees the softmax of logits at the images' size. Difference: each domain's half
of its loss is summed before one step, which gives the same gradient as their two backward passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from uda.adversaries._output import AbstractOutputAdversary, OutputAdversaryConfigBase
from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    from torch import Tensor

    from uda.losses import softmax
else:
    softmax = lazy_import("uda.losses.softmax")


class OutputSpaceConfig(OutputAdversaryConfigBase):
    """Settings of `output_space`."""

    name: str = "output_space"
    """Name of the method."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=2)


class OutputSpace(AbstractOutputAdversary):
    """A discriminator on the softmax map of each level."""

    Config = OutputSpaceConfig

    @staticmethod
    def maps(logits_BNHW: Tensor) -> Tensor:
        """Softmax, float32."""
        return softmax.softmax(logits_BNHW)
