"""What translators from label maps to images share: whose maps and images, first weights.

They are fitted on target images with their maps (a few real ones or pseudo-labels) and render the source's maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from uda.core.errors import DataError
from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch
    from uda.nets import init, spectral
else:
    torch = lazy_import("torch")
    init, spectral = lazy_import("uda.nets.init"), lazy_import("uda.nets.spectral")


def target_pairs(batch: Batch, *, method: str) -> tuple[Tensor, Tensor]:
    """Target images_BCHW in [-1, 1] and their labels_BHW.

    A crop may hold no pixel of a known class; losses weighted by class are 0 then, and the fit goes on.

    Raises:
        DataError: one of them is missing.
    """
    images, labels = batch.target_images_BCHW, batch.target_labels_BHW
    if images is None:
        raise DataError("no target images", f"translator {method}", "give --target")
    if labels is None:
        raise DataError("no label maps of target images", f"translator {method}", "give --pairs or --pseudo")
    return images, labels


def source_labels(batch: Batch, *, method: str) -> Tensor:
    """The labels_BHW that are rendered.

    Raises:
        DataError: there are none.
    """
    if batch.source_labels_BHW is None:
        raise DataError("no label maps to render", f"translator {method}", "give a --source with labels")
    return batch.source_labels_BHW


def reference_images(batch: Batch, *, method: str) -> Tensor:
    """Target images_BCHW to take a style from.

    Raises:
        DataError: there are none.
    """
    if batch.target_images_BCHW is None:
        raise DataError("no target images to take a style from", f"translator {method}", "give --target")
    return batch.target_images_BCHW


def prepare(networks: Mapping[str, nn.Module], gain: float) -> None:
    """Draw first weights (Xavier) and put spectral norm where each network's `normalised` says.

    Spectral norm takes the gain out of what a layer computes and leaves it in how fast it turns: Adam's steps are all
    of one size, so that a weight of a tenth the length turns ten times as far in each.
    """
    for network in networks.values():
        init.initialise(network, "xavier", gain)
        for part in network.normalised():  # type: ignore[operator]  # of SPADE's and OASIS's networks
            spectral.spectral_normalise(part)


def first_on(items: Iterable[Batch], count: int, network: nn.Module) -> Iterable[Batch]:
    """At most `count` batches, on the network's device."""
    device = next(network.parameters()).device
    return (batch.to(device) for batch in islice(items, count))
