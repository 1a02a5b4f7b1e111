"""Target crops that show what the source crops beside them show: discriminators then compare like with like.

Where the domains differ in what they show, a discriminator of crops drawn at random tells them apart by that, and the
generator paints in what the target shows more often (matched crops: Richter et al. 2021, "Enhancing Photorealism
Enhancement"; theirs match by VGG features, these by classes). Which class lies where in a target image a segmenter
says, once for the whole image, before the fit: it sees more than the crop then, and a candidate costs no image read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from uda.data.augment import Pixels
from uda.data.label_space import IGNORE


@dataclass(frozen=True)
class Candidates:
    """What the target images show, and how many of their crops there are to choose from.

    Attributes:
        classes: a map of class indices for each image, uint8, coarser than the images as one likes.
        size: height and width of the images.
        each: crops, each of another image, for one source crop.
    """

    classes: Sequence[Pixels]
    size: tuple[int, int]
    each: int

    def shown(self, index: int) -> Pixels:
        """Class indices of an image at its full size, (H, W)."""
        shown: Pixels = cv2.resize(self.classes[index], self.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return shown


def agreement(label_HW: Pixels, classes_HW: Pixels) -> float:
    """Part of the labelled pixels whose class the other map has at the same place, in [0, 1].

    A label without a known pixel agrees with nothing: 0.
    """
    known = label_HW != IGNORE
    return float(((classes_HW == label_HW) & known).sum() / max(1, int(known.sum())))
