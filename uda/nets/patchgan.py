"""The patch discriminator of pix2pix and CycleGAN, their norms and their first weights.

It calls every patch of an image real or fake by itself (Isola et al. 2017; Zhu et al. 2017). How large a patch is
follows from the number of strided convolutions: see `receptive_field`. `patch_discriminator.py` is MUNIT's: several
scales, strided throughout, no norm.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from uda.core.errors import ConfigError
from uda.nets.blocks import instance_norm
from uda.nets.init import initialise
from uda.nets.patch_discriminator import fine_details
from uda.nets.sizes import patch_side

NormKind = Literal["batch", "instance", "none"]


class InstanceNorm(nn.Module):
    """Instance normalisation without affine, see `uda.nets.blocks.instance_norm`."""

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Normalised features of the same shape."""
        return instance_norm(features_BCHW)


def make_norm(kind: NormKind, channels: int) -> nn.Module:
    """The norm after a convolution.

    Args:
        kind: `batch` takes the statistics of the batch in hand, in evaluation too, as pix2pix does (with one image it
            is instance normalisation with affine); `instance` has no parameters; `none` changes nothing.
        channels: of the features.
    """
    if kind == "none":
        return nn.Identity()
    return nn.BatchNorm2d(channels, track_running_stats=False) if kind == "batch" else InstanceNorm()


class PatchDiscriminator(nn.Module):
    """Convolutions with LeakyReLU 0.2, a norm after each but the first and the last, raw outputs.

    Args:
        in_channels: of the images, and of the maps they are judged with.
        width: channels after the first convolution; doubled by each further one, at most to eight times.
        layers: 4x4 convolutions of stride 2; two of stride 1 follow (3: 70x70 patches, 2.76 M parameters at width 64).
            0: three 1x1 convolutions that judge each pixel by itself.
        norm: which norm; a convolution before a batch norm has no bias.
        details: where it is not 0, the image's fine details come as three channels more, so many times as strong: see
            `patch_discriminator`.
    """

    def __init__(self, in_channels: int, width: int, layers: int, norm: NormKind, details: float = 0.0) -> None:
        super().__init__()
        self.details = details
        self.smallest = patch_side(layers)
        kernel, border = (4, 1) if layers else (1, 0)
        widths = [width * min(2**level, 8) for level in range(max(layers, 1) + 1)]
        first = nn.Conv2d(in_channels + (3 if details else 0), width, kernel, 2 if layers else 1, border)
        body: list[nn.Module] = [first, nn.LeakyReLU(0.2)]
        for level, (before, after) in enumerate(pairwise(widths), 1):
            stride = 2 if level < layers else 1
            body += [
                nn.Conv2d(before, after, kernel, stride, border, bias=norm != "batch"),
                make_norm(norm, after),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*body, nn.Conv2d(widths[-1], 1, kernel, 1, border))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images, their three colours first -> raw outputs (B, 1, h, w), one for each (overlapping) patch.

        Raises:
            ConfigError: the images are smaller than one patch needs.
        """
        height, width = images_BCHW.shape[-2:]
        if min(height, width) < self.smallest:
            raise ConfigError(
                f"images of {width}x{height} are too small for its patches",
                "discriminator",
                f"train at {self.smallest} pixels a side or more, or choose a smaller patch",
            )
        seen = images_BCHW
        if self.details:
            seen = torch.cat([seen, self.details * fine_details(seen[:, :3])], dim=1)
        raw: Tensor = self.body(seen)
        return raw


def receptive_field(layers: int) -> int:
    """Side in pixels of the patch that one output of a `PatchDiscriminator` of `layers` sees: 1, 16, 34, 70, 142, 286.

    It is counted back from the output, without the norms, which see the whole image.
    """
    if not layers:
        return 1
    field = 1 + 3 + 3  # the two 4x4 convolutions of stride 1
    for _ in range(layers):
        field = 2 * (field - 1) + 4
    return field


def initialise_gan(network: nn.Module) -> nn.Module:
    """First weights of CycleGAN and pix2pix: N(0, 0.02) for all convolutions, N(1, 0.02) for batch norm's scales.

    Args:
        network: changed in place and returned.
    """
    initialise(network, "normal")
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
