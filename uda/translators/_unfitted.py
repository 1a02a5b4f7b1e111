"""What translators share that are not fitted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uda.core.lazy import lazy_import
from uda.translators._domains import OTHER, domain_images, domain_labels, from_domain, in_turn
from uda.translators.base import AbstractTranslator, Direction, Setting, Translation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
else:
    torch = lazy_import("torch")


class AbstractUnfittedTranslator(AbstractTranslator):
    """What answers at once, both ways, as there is nothing to fit."""

    needs = "nothing"
    directions = ("source_to_target", "target_to_source")

    def __init__(self, config: Any, setting: Setting) -> None:
        self.config = config
        self.networks: Mapping[str, nn.Module] = {}

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """None: nothing is fitted."""
        return {}


class AbstractRestyler(AbstractUnfittedTranslator):
    """What takes colours or the like for image i from image i of the other domain, which the caller draws at random."""

    @classmethod
    def varies(cls, config: Any) -> bool:
        """By the image of the other domain."""
        return True

    @classmethod
    def one_by_one(cls, config: Any) -> bool:
        """Nothing is drawn here."""
        return False

    @classmethod
    def takes_references(cls, config: Any) -> bool:
        """Whose colours, or the like, an image is given."""
        return True

    @abstractmethod
    def restyle(self, images_BCHW: Tensor, references_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1], float32 as both inputs."""

    def translate(
        self, batch: Batch, *, generator: torch.Generator, direction: Direction = "source_to_target"
    ) -> Translation:
        """Restyled images; where the other domain has fewer they are used in turn.

        Raises:
            DataError: images of one domain are missing.
        """
        domain = from_domain(direction)
        given = domain_images(batch, *OTHER, method=self.config.name)
        images = given[domain]
        references = in_turn(given[OTHER[domain]], len(images))
        with torch.autocast(images.device.type, enabled=False):
            return Translation(self.restyle(images.float(), references.float()), domain_labels(batch, domain))
