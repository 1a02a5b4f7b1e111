"""The smallest images that networks can take, told without building them: importable without torch."""

from __future__ import annotations

CONTENT_SIDE = 8
"""Pixels a side of an image for encoders that halve twice and then mirror borders: one pixel has nothing to mirror."""


def patch_side(layers: int) -> int:
    """Pixels a side that a `patchgan.PatchDiscriminator` of `layers` strided convolutions needs for one output."""
    return 3 * 2**layers if layers else 1


def scales_side(layers: int, scales: int) -> int:
    """Pixels a side that a `patch_discriminator.MultiScaleDiscriminator` needs: halved at each scale and each layer."""
    return int(2 ** (layers + scales - 1))


def halvings_side(halvings: int) -> int:
    """Pixels a side for so many convolutions of stride 2 with a mirrored border."""
    return int(2**halvings)
