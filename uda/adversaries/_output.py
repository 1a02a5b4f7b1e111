"""What adversaries on the segmenter's output share: a discriminator for each head, and the two turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from uda.adversaries.base import AdversaryConfigBase
from uda.core.errors import ConfigError
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


class OutputTurns:
    """Both turns of the game on maps made of the logits; source is 0, target 1.

    Args:
        config: settings.
        num_classes: of the logits.
        to_maps: logits_BNHW -> maps_BNHW that the discriminator sees.
    """

    def __init__(
        self, config: OutputAdversaryConfigBase, num_classes: int, to_maps: Callable[[Tensor], Tensor]
    ) -> None:
        self._loss, self._to_maps = config.loss, to_maps
        self._by_level = {
            level: output_discriminator.make_output_discriminator(num_classes, config.width) for level in config.levels
        }

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The discriminators by name."""
        return {_named("discriminator", level): network for level, network in self._by_level.items()}

    def segmenter_losses(self, target_logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Terms that push the target's maps towards being called source."""
        return {
            _named("adversarial", level): gan.discriminator_loss(
                self._loss, network(self._to_maps(_of_level(target_logits, level))), real=False
            )
            for level, network in self._by_level.items()
        }

    def discriminator_losses(
        self, source_logits: Mapping[str, Tensor], target_logits: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Terms of the discriminators: half of the source's loss and half of the target's."""
        terms = {}
        for level, network in self._by_level.items():
            halves = [
                gan.discriminator_loss(self._loss, network(self._to_maps(_of_level(logits, level).detach())), real=real)
                for logits, real in ((source_logits, False), (target_logits, True))
            ]
            terms[_named("discriminator", level)] = (halves[0] + halves[1]) / 2
        return terms


def _named(term: str, level: str) -> str:
    return term if level == "main" else f"{term}_{level}"


def _of_level(logits: Mapping[str, Tensor], level: str) -> Tensor:
    if level not in logits:
        raise ConfigError(
            f"the segmenter has no head '{level}' (it has {', '.join(logits)})",
            "adversary.levels",
            "set segmenter.multi_level to true, or levels to [main]",
        )
    return logits[level]
