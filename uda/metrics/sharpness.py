"""Sharpness: the variance of the Laplacian (Pech-Pacheco et al. 2000)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from uda.core.errors import DataError
from uda.metrics.luma import SCALE, luma


class Sharpness:
    """Mean over images of the variance of the Laplacian of their luma; the state is a sum and a count.

    More is not better: noise, ringing and checkerboard patterns raise the value as detail does, and the target's own
    camera may be soft. What can be compared is the distance to the target's value (`sharpness_gap`).
    """

    def __init__(self) -> None:
        self.total, self.images = 0.0, 0

    def update(self, images_BCHW: Tensor) -> None:
        """Add some images.

        Args:
            images_BCHW: uint8 RGB of at least 3x3 pixels, on any device.
        """
        grey = luma(images_BCHW)
        centre = grey[:, 1:-1, 1:-1]
        around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        laplacian = (around - 4 * centre).to("cpu", torch.float64) / SCALE
        self.total += float(laplacian.flatten(1).var(1, correction=0).sum())
        self.images += len(images_BCHW)

    def mean(self) -> float:
        """The mean, in squared grey levels of 8 bits; 0 for flat images.

        Raises:
            DataError: no image was added.
        """
        if not self.images:
            raise DataError("no images were added", "sharpness")
        return self.total / self.images


def sharpness_gap(one: Sharpness, other: Sharpness) -> float:
    """Absolute logarithm of the ratio of two sets' mean sharpness: 0.69 is twice as sharp or half. Lower is better.

    A difference would punish too sharp images without bound, and mush by no more than the target's own value. Less than
    one squared grey level counts as one, so that flat images have a gap too.
    """
    return abs(math.log(max(one.mean(), 1.0) / max(other.mean(), 1.0)))
