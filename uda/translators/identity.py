"""Leaves images as they are: the control that tells what a translator adds to the rest of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from uda.translators._domains import domain_images, domain_labels, from_domain
from uda.translators._unfitted import AbstractUnfittedTranslator
from uda.translators.base import Direction, Translation, TranslatorConfigBase

if TYPE_CHECKING:
    import torch

    from uda.data.batch import Batch


class IdentityConfig(TranslatorConfigBase):
    """Settings of `identity`: none."""

    name: str = "identity"
    """Name of the method."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls()


class Identity(AbstractUnfittedTranslator):
    """Returns its input."""

    Config = IdentityConfig

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """The images of the domain translated from, unchanged."""
        domain = from_domain(direction)
        return Translation(domain_images(batch, domain, method="identity")[domain], domain_labels(batch, domain))
