"""Adversarial losses of a discriminator that looks at several scales: summed over scales, not averaged (MUNIT)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from uda.losses.gan import GanKind, discriminator_loss, generator_loss

Discriminator = Callable[[Tensor], list[Tensor]]
"""Images -> one map of raw outputs for each scale."""


def multiscale_discriminator_loss(
    kind: GanKind, discriminator: Discriminator, real_BCHW: Tensor, fake_BCHW: Tensor
) -> Tensor:
    """Loss of calling real images real and fake ones fake, summed over both and over scales.

    Args:
        kind: which loss.
        discriminator: sees both in one batch where their sizes agree.
        real_BCHW: real images.
        fake_BCHW: fake ones; no gradient goes into them.
    """
    real, fake = real_BCHW, fake_BCHW.detach().to(real_BCHW.dtype)
    if real.shape[1:] == fake.shape[1:]:
        pairs = [torch.split(scale, [len(real), len(fake)]) for scale in discriminator(torch.cat([real, fake]))]
    else:
        pairs = list(zip(discriminator(real), discriminator(fake), strict=True))
    terms = [discriminator_loss(kind, a, real=True) + discriminator_loss(kind, b, real=False) for a, b in pairs]
    return torch.stack(terms).sum()


def multiscale_generator_loss(kind: GanKind, discriminator: Discriminator, fake_BCHW: Tensor) -> Tensor:
    """Loss of a generator whose images should be called real, summed over scales."""
    return torch.stack([generator_loss(kind, scale) for scale in discriminator(fake_BCHW)]).sum()
