"""Colour: how far the CIELAB histograms of two sets of images lie apart, as label-to-image work measures it.

The semi-paired method and its relatives report the earth mover's distance (Rubner et al. 2000) of LAB histograms. Here
a set has one histogram a channel, over all pixels of all its images. In one dimension the distance is the area between
the two cumulative histograms (Vallender 1974), which is one line; a solver for transport problems is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from uda.core.errors import DataError
from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    import kornia.color as kornia_color
else:
    kornia_color = lazy_import("kornia.color")

BINS = 256
"""Bins of one LAB unit, from -128 on; lightness takes 101 of them, and sRGB fits into the rest."""
_LOWEST = -128


class LabHistogram:
    """Pixels by their L, a and b, summed over images; the state is three rows of 256 counts.

    L runs from 0 to 100, a and b from about -108 to 98 for sRGB under D65.
    """

    def __init__(self) -> None:
        self.counts_CN = torch.zeros(3, BINS, dtype=torch.int64)

    def update(self, images_BCHW: Tensor) -> None:
        """Count the pixels of some images.

        Args:
            images_BCHW: uint8 RGB, on any device.
        """
        lab = kornia_color.rgb_to_lab(images_BCHW.float() / 255)
        bins = (lab.floor().long() - _LOWEST).clamp(0, BINS - 1)
        counts = [torch.bincount(bins[:, channel].flatten(), minlength=BINS) for channel in range(3)]
        self.counts_CN += torch.stack(counts).cpu()

    def shares(self) -> Tensor:
        """Part of the pixels in each bin, float64 (3, 256); each row adds up to 1.

        Raises:
            DataError: nothing was counted.
        """
        if not self.counts_CN.any():
            raise DataError("no pixels were counted", "colour histogram")
        return self.counts_CN.double() / self.counts_CN.sum(1, keepdim=True)


def earth_movers_distance(one: LabHistogram, other: LabHistogram) -> float:
    """Mean over L, a and b of the earth mover's distance of two histograms, in LAB units; 0 for equal ones.

    A shift of one channel by k units costs k / 3, of all three k. Lower is better.
    """
    distances_C = (one.shares().cumsum(1) - other.shares().cumsum(1)).abs().sum(1)  # bins are one unit wide
    return float(distances_C.mean())
