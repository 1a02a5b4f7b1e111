"""For some images, the image of a set whose layout is nearest: something to hold a translation against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from uda.metrics.luma import luma

_THUMBNAIL = (16, 32)


class NearestLayout:
    """Keeps, for each of R images, the most alike one of a stream; the state is R images.

    Alike is the correlation of small luma pictures. A change of brightness or contrast does not move it, so two domains
    can be compared, and no network with a liking for one of them is asked.

    Args:
        wanted_RCHW: uint8 RGB.
    """

    def __init__(self, wanted_RCHW: Tensor) -> None:
        self._thumbnails_RP = _thumbnails(wanted_RCHW)
        self._best_R = torch.full((len(wanted_RCHW),), -2.0, dtype=torch.float64)  # below every correlation
        self.images: list[Tensor] = [torch.zeros_like(image) for image in wanted_RCHW]

    def update(self, images_BCHW: Tensor) -> None:
        """Look through some more images of the set, uint8 RGB."""
        alike_RB = self._thumbnails_RP @ _thumbnails(images_BCHW).T
        values_R, places_R = alike_RB.max(1)
        for row in (values_R > self._best_R).nonzero().flatten().tolist():
            self._best_R[row] = values_R[row]
            self.images[row] = images_BCHW[places_R[row]].cpu().clone()


def _thumbnails(images_BCHW: Tensor) -> Tensor:
    """Small luma pictures of mean 0 and length 1, float64 (B, 512), on the CPU; zeros for flat images."""
    small = F.adaptive_avg_pool2d(luma(images_BCHW)[:, None].double(), _THUMBNAIL).flatten(1).cpu()
    return F.normalize(small - small.mean(1, keepdim=True))
