"""The fully convolutional discriminator of output-space adaptation (AdaptSegNet, Tsai et al. 2018; ADVENT too)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def make_output_discriminator(num_classes: int, width: int) -> nn.Sequential:
    """Five 4x4 convolutions of stride 2, LeakyReLU 0.2 between them, no norm.

    It takes maps_BNHW of each class and gives raw outputs (B, 1, H / 32, W / 32).

    Args:
        num_classes: channels of the maps.
        width: channels after the first convolution, doubled by each of the next three (64: 2.78 M parameters at 19
            classes).
    """
    widths = [num_classes, width, 2 * width, 4 * width, 8 * width]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, stride=2, padding=1))
