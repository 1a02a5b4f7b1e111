"""Patch discriminators at several scales (pix2pixHD, Wang et al. 2018; sizes as in MUNIT)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.core.errors import ConfigError
from uda.nets.blocks import convolution, halved
from uda.nets.sizes import scales_side


class MultiScaleDiscriminator(nn.Module):
    """The same patch discriminator, with weights of its own, on the image and on halved copies of it.

    Each is `layers` 4x4 convolutions of stride 2 with LeakyReLU 0.2 and no norm, then 1x1 to one channel.

    Args:
        width: channels after the first convolution, doubled by each further one.
        layers: convolutions of stride 2.
        scales: sizes looked at; each is half of the one before (3x3 average, border not counted).
        details: where it is not 0, all scales but the last see the image's fine details alone, so many times as strong.
            Faint textures stand out there, which a discriminator of whole images may not notice in hundreds of steps.
        maps: channels of a map that lies behind the image's three.
    """

    def __init__(self, width: int, layers: int, scales: int, *, details: float = 0.0, maps: int = 0) -> None:
        super().__init__()
        self.details = details
        self.smallest = scales_side(layers, scales)
        self.scales = nn.ModuleList([_patch_discriminator(3 + maps, width, layers) for _ in range(scales)])

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Images, with their maps -> one map of raw outputs (B, 1, h, w) for each scale, the largest first.

        Raises:
            ConfigError: the images are too small for that many scales and layers.
        """
        height, width = images_BCHW.shape[-2:]
        if min(height, width) < self.smallest:
            raise ConfigError(
                f"images of {width}x{height} are too small for its scales and layers",
                "discriminator",
                f"train at {self.smallest} pixels a side or more, or lower discriminator_scales or _layers",
            )
        outputs, images = [], images_BCHW
        for index, body in enumerate(self.scales):
            if index:
                images = halved(images)
            last = index == len(self.scales) - 1
            outputs.append(body(self._detailed(images) if self.details and not last else images))
        return outputs

    def _detailed(self, images: Tensor) -> Tensor:
        details, maps = self.details * fine_details(images[:, :3]), images[:, 3:]
        return torch.cat([details, maps], dim=1) if maps.shape[1] else details


def fine_details(images_BCHW: Tensor) -> Tensor:
    """What an image has more than its local mean over 5x5 pixels (borders mirrored); same shape."""
    return images_BCHW - F.avg_pool2d(F.pad(images_BCHW, (2,) * 4, mode="reflect"), 5, stride=1)


def _patch_discriminator(channels: int, width: int, layers: int) -> nn.Sequential:
    widths = [channels, *(width * 2**level for level in range(layers))]
    body: list[nn.Module] = []
    for before, after in pairwise(widths):
        body += [convolution(before, after, 4, 2), nn.LeakyReLU(0.2)]
    return nn.Sequential(*body, convolution(widths[-1], 1, 1))
