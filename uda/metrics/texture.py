"""Texture: how far the local binary patterns of two sets of images lie apart (Ojala, Pietikainen, Maenpaa 2002).

The plain operator: eight neighbours in the 3x3 square, 256 patterns. The uniform or rotation-invariant variants make
few counts go further; whole sets of images have pixels enough for all patterns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from uda.core.errors import DataError
from uda.metrics.luma import luma

PATTERNS = 256
_NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
"""Row and column in the 3x3 square, clockwise from the upper left; neighbour i sets bit i."""


class BinaryPatterns:
    """Inner pixels by their local binary pattern, summed over images; the state is 256 counts.

    A pattern depends on the order of grey values alone: brightness and contrast leave it as it is.
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(PATTERNS, dtype=torch.int64)

    def update(self, images_BCHW: Tensor) -> None:
        """Count the patterns of some images; the outermost pixels have none.

        Args:
            images_BCHW: uint8 RGB of at least 3x3 pixels, on any device.
        """
        patterns = binary_patterns(luma(images_BCHW))
        self.counts += torch.bincount(patterns.flatten(), minlength=PATTERNS).cpu()

    def shares(self) -> Tensor:
        """Part of the pixels that have each pattern, float64 (256,); adds up to 1.

        Raises:
            DataError: nothing was counted.
        """
        if not self.counts.any():
            raise DataError("no pixels were counted", "texture histogram")
        return self.counts.double() / self.counts.sum()


def binary_patterns(grey_BHW: Tensor) -> Tensor:
    """The pattern of each inner pixel, int64 (B, H - 2, W - 2): bit i is set where neighbour i is not darker.

    Args:
        grey_BHW: whole numbers, so that flat areas are flat.
    """
    height, width = grey_BHW.shape[-2] - 2, grey_BHW.shape[-1] - 2
    centre = grey_BHW[:, 1:-1, 1:-1]
    patterns = torch.zeros_like(centre, dtype=torch.int64)
    for bit, (row, column) in enumerate(_NEIGHBOURS):
        neighbour = grey_BHW[:, row : row + height, column : column + width]
        patterns |= (neighbour >= centre).long() << bit
    return patterns


def chi_square_distance(one: BinaryPatterns, other: BinaryPatterns) -> float:
    """Chi-square distance of two histograms: half the sum of (p - q)^2 / (p + q), in [0, 1].

    0 for equal ones, 1 where no pattern occurs in both. Lower is better.
    """
    p, q = one.shares(), other.shares()
    # A pattern that occurs in neither set adds nothing: 0 / 1.
    return float(((p - q).square() / torch.where(p + q > 0, p + q, 1)).sum() / 2)
