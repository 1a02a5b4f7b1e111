"""What translators between two image domains share: which is the other, whose images, the discriminators' turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from uda.core.errors import DataError
from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from uda.data.batch import Batch, Context
    from uda.losses import multiscale
    from uda.nets import translation
    from uda.translators.base import Direction
else:
    torch, multiscale = lazy_import("torch"), lazy_import("uda.losses.multiscale")
    translation = lazy_import("uda.nets.translation")

OTHER = {"source": "target", "target": "source"}
"""The other domain of each."""


def made_once(context: Context, key: str, make: Callable[[], Tensor]) -> Tensor:
    """What an earlier turn of this iteration left in `context.made`, or else what is made now, without gradients."""
    if key not in context.made:
        with torch.no_grad():
            context.made[key] = make()
    made: Tensor = context.made[key]
    return made


def from_domain(direction: Direction) -> str:
    """The domain translated from."""
    return "source" if direction == "source_to_target" else "target"


def domain_images(batch: Batch, *needed: str, method: str) -> dict[str, Tensor]:
    """Images_BCHW by domain.

    Args:
        batch: a step's images.
        needed: domains whose images must be there.
        method: who asks, for the message.

    Raises:
        DataError: needed images are missing.
    """
    given = {"source": batch.source_images_BCHW, "target": batch.target_images_BCHW}
    missing = [name for name in needed if given[name] is None]
    if missing:
        raise DataError(f"no {missing[0]} images", f"translator {method}", f"give --{missing[0]}")
    return {name: images for name, images in given.items() if images is not None}


def domain_labels(batch: Batch, domain: str) -> Tensor | None:
    """Labels_BHW of one domain, where known."""
    return batch.source_labels_BHW if domain == "source" else batch.target_labels_BHW


def content_levels(encoder: nn.Module, images_BCHW: Tensor) -> list[Tensor]:
    """A content encoder's features before each halving, and the content last."""
    assert isinstance(encoder, translation.ContentEncoder)
    return encoder.levels(images_BCHW)


def in_turn(images_BCHW: Tensor, count: int) -> Tensor:
    """`count` images: those given, again from the first where there are fewer."""
    return images_BCHW[torch.arange(count, device=images_BCHW.device) % len(images_BCHW)]


def discriminator_turn(
    networks: Mapping[str, nn.Module],
    images: Mapping[str, Tensor],
    context: Context,
    make_fake: Callable[[str], Tensor],
) -> Tensor:
    """Least-squares loss of `discriminator_source` and `discriminator_target`, summed over scales and both domains.

    Args:
        networks: a method's networks by name.
        images: real images by domain.
        context: holds `fake_DOMAIN` where the generators' turn made it.
        make_fake: domain translated from -> a fake of the other one, for when there is none yet.
    """
    losses = []
    for domain, there in OTHER.items():
        fake = made_once(context, f"fake_{there}", partial(make_fake, domain))
        discriminator = networks[f"discriminator_{there}"]
        losses.append(multiscale.multiscale_discriminator_loss("lsgan", discriminator, images[there], fake))
    return torch.stack(losses).sum()


def add_terms(total: dict[str, Tensor], terms: Mapping[str, Tensor]) -> None:
    """Add one direction's terms to those of both."""
    for name, value in terms.items():
        total[name] = total[name] + value if name in total else value
