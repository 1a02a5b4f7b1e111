"""Luma of 8-bit images in whole numbers, so that equal pixels stay equal on every device."""

from __future__ import annotations

from torch import Tensor

SCALE = 1000
"""Luma is counted in thousandths of a grey level."""
_WEIGHTS = (299, 587, 114)


def luma(images_BCHW: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 in thousandths of a grey level: int32 (B, H, W) in [0, 255000].

    Args:
        images_BCHW: uint8 RGB.
    """
    red, green, blue = (images_BCHW[:, channel].int() * weight for channel, weight in enumerate(_WEIGHTS))
    return red + green + blue
