"""What adversaries on the segmenter's output share: a discriminator for each head, and the two turns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from uda.adversaries.base import AbstractAdversary, AdversaryConfigBase
from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    from torch import Tensor, nn

    from uda.losses import gan
    from uda.nets import output_discriminator
else:
    gan, output_discriminator = lazy_import("uda.losses.gan"), lazy_import("uda.nets.output_discriminator")


class OutputAdversaryConfigBase(AdversaryConfigBase):
    """Base of the settings of adversaries on the segmenter's output."""

    loss: Literal["bce", "lsgan"] = "bce"
    """Binary cross-entropy or least squares (AdaptSegNet's has its weight 0.01 instead of 0.001)."""
    width: int = Field(default=64, ge=1)
    """Channels after the discriminator's first convolution."""


class AbstractOutputAdversary(AbstractAdversary):
    """Both turns of the game on maps made of each level's logits; source is 0, target 1."""

    def __init__(self, config: OutputAdversaryConfigBase, num_classes: int) -> None:
        self.config = config
        self._by_level = {
            level: output_discriminator.make_output_discriminator(num_classes, config.width) for level in config.levels
        }
        self.networks: Mapping[str, nn.Module] = {
            _named("discriminator", level): network for level, network in self._by_level.items()
        }

    @staticmethod
    @abstractmethod
    def maps(logits_BNHW: Tensor) -> Tensor:
        """What the discriminator sees of the logits, maps_BNHW."""

    def segmenter_losses(self, target_logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`adversarial` and `adversarial_LEVEL`: the loss of calling target maps source."""
        return {
            _named("adversarial", level): self._loss(level, target_logits[level], real=False)
            for level in self._by_level
        }

    def discriminator_losses(
        self, source_logits: Mapping[str, Tensor], target_logits: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`discriminator` and `discriminator_LEVEL`: half of the source's loss and half of the target's."""
        terms = {}
        for level in self._by_level:
            source = self._loss(level, source_logits[level].detach(), real=False)
            target = self._loss(level, target_logits[level].detach(), real=True)
            terms[_named("discriminator", level)] = (source + target) / 2
        return terms

    def _loss(self, level: str, logits_BNHW: Tensor, *, real: bool) -> Tensor:
        return gan.discriminator_loss(self.config.loss, self._by_level[level](self.maps(logits_BNHW)), real=real)


def _named(term: str, level: str) -> str:
    return term if level == "main" else f"{term}_{level}"
