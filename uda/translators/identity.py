"""Leaves images as they are: the control that tells what a translator adds to the rest of the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from uda.translators._domains import domain_images, domain_labels, from_domain
from uda.translators.base import AbstractTranslator, Direction, Setting, Translation, TranslatorConfigBase

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context


class IdentityConfig(TranslatorConfigBase):
    """Settings of `identity`: none."""

    name: str = "identity"
    """Name of the method."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls()


class Identity(AbstractTranslator):
    """Returns its input."""

    Config = IdentityConfig
    needs = "nothing"
    directions = ("source_to_target", "target_to_source")

    def __init__(self, config: IdentityConfig, setting: Setting) -> None:
        self.config = config
        self.networks: Mapping[str, nn.Module] = {}

    def players(self) -> dict[str, list[nn.Parameter]]:
        """None: nothing is fitted."""
        return {}

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """None: nothing is fitted."""
        return {}

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """The images of the domain translated from, unchanged."""
        domain = from_domain(direction)
        return Translation(domain_images(batch, domain, method="identity")[domain], domain_labels(batch, domain))
