"""What translators share that see label maps of both domains beside the images: whose maps, and maps as channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uda.core.errors import DataError
from uda.core.lazy import lazy_import
from uda.translators._domains import domain_labels

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from uda.data.batch import Batch
else:
    torch = lazy_import("torch")

_MEND = {"source": "give a --source with labels", "target": "give --pairs or --pseudo"}


def domain_maps(batch: Batch, *needed: str, method: str) -> dict[str, Tensor]:
    """Labels_BHW by domain.

    Args:
        batch: a step's images and maps.
        needed: domains whose maps must be there.
        method: who asks, for the message.

    Raises:
        DataError: needed maps are missing.
    """
    found = {}
    for domain in needed:
        labels = domain_labels(batch, domain)
        if labels is None:
            raise DataError(f"no label maps of {domain} images", f"translator {method}", _MEND[domain])
        found[domain] = labels
    return found


def one_hot(labels_BHW: Tensor, num_classes: int) -> Tensor:
    """Label maps -> maps_BNHW, float32: 1 in the channel of a pixel's class; an unknown pixel (255) is 0 in all."""
    classes_N11 = torch.arange(num_classes, device=labels_BHW.device).view(-1, 1, 1)
    return (labels_BHW[:, None] == classes_N11).float()


def known_pixels(maps_BNHW: Tensor) -> Tensor:
    """Mask_B1HW, float32: 1 where a map has a class, 0 where all its channels are 0."""
    return (maps_BNHW.detach().sum(1, keepdim=True) > 0).float()
