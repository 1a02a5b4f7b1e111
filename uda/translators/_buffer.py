"""A history of fakes for the discriminator (Shrivastava et al. 2017), kept with a run's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from uda.core.lazy import lazy_import
from uda.translators.base import AbstractTranslator

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_import("torch")


class ImageBuffer:
    """The last fakes, more or less: full, it hands out one of its images for half of those that come in.

    All draws come from torch's own generator on the CPU, which the training loop seeds at every step. Each process of
    a run has a buffer of its own; a checkpoint holds the first one's.

    Args:
        size: images that it keeps; 0 hands out what comes in.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._images: list[Tensor] = []

    def exchange(self, images_BCHW: Tensor) -> Tensor:
        """As many images, each new or (with probability 1/2 once the buffer is full) an old one that it replaces.

        Args:
            images_BCHW: new fakes, without gradients, all of one size throughout a run.
        """
        if not self.size:
            return images_BCHW
        given = []
        for image in images_BCHW.detach()[:, None]:  # each (1, C, H, W)
            if len(self._images) < self.size:
                self._images.append(image.clone())
            elif torch.rand(()).item() < 0.5:
                place = int(torch.randint(self.size, ()).item())
                image, self._images[place] = self._images[place], image.clone()
            given.append(image)
        return torch.cat(given)

    def state(self) -> list[Tensor]:
        """The images held, each (1, C, H, W), in their order."""
        return list(self._images)

    def restore(self, images: Sequence[Tensor]) -> None:
        """Hold these images."""
        self._images = list(images)


class AbstractTranslatorWithHistory(AbstractTranslator):
    """What shows its discriminators earlier fakes too: `_buffers` by domain, which go into a run's state."""

    _buffers: Mapping[str, ImageBuffer]

    def extra_state(self) -> dict[str, Any]:
        """The earlier fakes of each domain."""
        return {"buffers": {domain: buffer.state() for domain, buffer in self._buffers.items()}}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        for domain, buffer in self._buffers.items():
            buffer.restore(state["buffers"][domain])
