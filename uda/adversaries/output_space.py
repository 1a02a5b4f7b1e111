"""Aligns the segmenter's softmax maps of both domains (AdaptSegNet, Tsai et al. 2018), on one head or on two.

As the authors' code: the discriminator sees the softmax of logits at the images' size. Difference: each domain's half
of its loss is summed before one step, which gives the same gradient as their two backward passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from uda.adversaries._output import OutputAdversaryConfigBase, OutputTurns
from uda.adversaries.base import AbstractAdversary

if TYPE_CHECKING:
    from torch import Tensor, nn


class OutputSpaceConfig(OutputAdversaryConfigBase):
    """Settings of `output_space`."""

    name: str = "output_space"
    """Name of the method."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=2)


class OutputSpace(AbstractAdversary):
    """A discriminator on the softmax map of each level."""

    Config = OutputSpaceConfig

    def __init__(self, config: OutputSpaceConfig, num_classes: int) -> None:
        self.config = config
        self._turns = OutputTurns(config, num_classes, lambda logits_BNHW: logits_BNHW.float().softmax(1))
        self.networks: Mapping[str, nn.Module] = self._turns.networks

    def segmenter_losses(self, target_logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`adversarial` and `adversarial_LEVEL`: the loss of calling target maps source."""
        return self._turns.segmenter_losses(target_logits)

    def discriminator_losses(
        self, source_logits: Mapping[str, Tensor], target_logits: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`discriminator` and `discriminator_LEVEL`: mean of both domains' losses."""
        return self._turns.discriminator_losses(source_logits, target_logits)
