"""SG-GAN's semantic-aware discriminator (Li et al. 2018): patches are scored by the weights of their classes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from uda.nets.patchgan import NormKind, PatchDiscriminator


class SemanticDiscriminator(nn.Module):
    """CycleGAN's patch discriminator with N scores for each patch, of which the patch's own classes count.

    A patch's score is the mean of its classes' scores, weighted by their shares of the pixels at its centre, as many as
    the strided layers join (8x8 for three). The authors' code takes the map resampled to the output's size: the same
    where these pixels are of one class. Unknown pixels have no share.

    Args:
        num_classes: N.
        width: channels after the first convolution.
        layers: 4x4 convolutions of stride 2, at least 1; two of stride 1 follow.
        norm: see `PatchDiscriminator`.
        details: see `PatchDiscriminator`.
    """

    def __init__(
        self, num_classes: int, width: int, layers: int, norm: NormKind = "instance", details: float = 0.0
    ) -> None:
        super().__init__()
        self.stride = 2**layers
        self.patches = PatchDiscriminator(3, width, layers, norm, details)
        last = self.patches.body[-1]
        assert isinstance(last, nn.Conv2d)
        self.patches.body[-1] = nn.Conv2d(last.in_channels, num_classes, 4, 1, 1)

    def forward(self, images_BCHW: Tensor, maps_BNHW: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores (B, 1, h, w), float32, and the part of each patch that has a class, in [0, 1].

        Args:
            images_BCHW: in [-1, 1].
            maps_BNHW: their one-hot maps, 0 in all channels where unknown.

        Raises:
            ConfigError: the images are smaller than one patch needs.
        """
        raw_BNhw = self.patches(images_BCHW).float()
        # An output lies over one cell of the last strided layer; the two layers of stride 1 lose the outermost cells.
        shares = F.avg_pool2d(maps_BNHW, self.stride)[..., 1:-1, 1:-1]
        known = shares.sum(1, keepdim=True)
        return (shares * raw_BNhw).sum(1, keepdim=True) / known.clamp(min=1e-6), known
