"""The Haar wavelet in two dimensions, orthonormal: images to coefficients at half the size and back, without loss.

Each 2x2 block of pixels (a b / c d) becomes four coefficients:

    average     (a + b + c + d) / 2         vertical    (a + b - c - d) / 2
    horizontal  (a - b + c - d) / 2         diagonal    (a - b - c + d) / 2

The matrix is symmetric and orthogonal, so that the same sums lead back, and norms of images and of gradients are kept.
SWAGAN (Gal et al. 2021) and USIS (Eskandar et al. 2022) use this transform, up to the sign of single coefficients.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from uda.core.errors import ConfigError

BANDS = 4
"""Coefficients for each pixel at half the size."""


def haar(images_BCHW: Tensor) -> Tensor:
    """One level of the transform.

    Args:
        images_BCHW: images or features with even sides, of any floating type.

    Returns:
        Coefficients (B, 4 C, H / 2, W / 2), of the same type: all channels' averages, then all their vertical,
        horizontal and diagonal coefficients.

    Raises:
        ConfigError: a side is odd.
    """
    height, width = images_BCHW.shape[-2:]
    if height % 2 or width % 2:
        mend = f"use [{height + height % 2}, {width + width % 2}]"
        raise ConfigError(f"[{height}, {width}] has an odd side", "wavelet transform", mend)
    blocks = torch.unflatten(F.pixel_unshuffle(images_BCHW, 2), 1, (-1, BANDS))
    return torch.cat(_turned(*blocks.unbind(2)), dim=1)


def haar_inverse(coefficients_BCHW: Tensor) -> Tensor:
    """The images that `haar` made these coefficients from.

    Args:
        coefficients_BCHW: in the order of `haar`; their channels are a multiple of 4.

    Returns:
        Images (B, C / 4, 2 H, 2 W), of the same type.
    """
    pixels = _turned(*coefficients_BCHW.chunk(BANDS, dim=1))
    return F.pixel_shuffle(torch.stack(pixels, dim=2).flatten(1, 2), 2)


def _turned(first: Tensor, second: Tensor, third: Tensor, fourth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four sums of the module's table, which are their own inverse."""
    above, below = first + second, third + fourth
    left, right = first - second, third - fourth
    return (above + below) / 2, (above - below) / 2, (left + right) / 2, (left - right) / 2
