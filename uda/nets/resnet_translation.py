"""CycleGAN's generator: residual blocks at a quarter of the image's size (Zhu et al. 2017; Johnson et al. 2016)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.nets.blocks import ResidualBlock, convolution, doubled, instance_norm

Upsampling = Literal["transposed", "nearest"]


class ResnetEncoder(nn.Module):
    """7x7, two 3x3 of stride 2, residual blocks; instance norm and ReLU throughout.

    Args:
        in_channels: of what comes in.
        width: channels after the first convolution; features have four times as many.
        blocks: residual blocks.
    """

    def __init__(self, in_channels: int, width: int, blocks: int) -> None:
        super().__init__()
        # Only the convolutions at full size and in the blocks have reflected borders, as in the authors' code.
        self.down = nn.ModuleList(
            [
                convolution(in_channels, width, 7),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            ]
        )
        self.blocks = nn.ModuleList([ResidualBlock(4 * width) for _ in range(blocks)])

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images, sides divisible by 4 -> features (B, 4 width, H / 4, W / 4)."""
        features = images_BCHW
        for layer in self.down:
            features = F.relu(instance_norm(layer(features)))
        for block in self.blocks:
            features = block(features)
        return features


class ResnetDecoder(nn.Module):
    """Two times (x2, instance norm, ReLU), then 7x7 without activation.

    Args:
        out_channels: of what comes out.
        width: channels before the last convolution; features have four times as many.
        upsampling: `transposed`: 3x3 transposed convolution of stride 2 (CycleGAN); `nearest`: nearest neighbours and
            a 3x3 convolution, which leaves no checkerboards (Odena et al. 2016). Both have the same parameters.
    """

    def __init__(self, out_channels: int, width: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.nearest = upsampling == "nearest"
        self.up = nn.ModuleList([_up(4 * width, upsampling), _up(2 * width, upsampling)])
        self.last = convolution(width, out_channels, 7)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Features -> raw values, four times as large."""
        features = features_BCHW
        for layer in self.up:
            features = F.relu(instance_norm(layer(doubled(features) if self.nearest else features)))
        raw: Tensor = self.last(features)
        return raw


class ResnetGenerator(nn.Module):
    """Encoder, decoder, tanh: 11.38 M parameters at width 64 with 9 blocks.

    Args:
        width: channels at full resolution.
        blocks: residual blocks.
        upsampling: see `ResnetDecoder`.
    """

    def __init__(self, width: int, blocks: int, upsampling: Upsampling = "transposed") -> None:
        super().__init__()
        self.encoder, self.decoder = ResnetEncoder(3, width, blocks), ResnetDecoder(3, width, upsampling)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1], sides divisible by 4 -> images in [-1, 1] of the same size, float32."""
        return torch.tanh(self.decoder(self.encoder(images_BCHW)).float())


def _up(channels: int, upsampling: Upsampling) -> nn.Module:
    if upsampling == "nearest":
        return convolution(channels, channels // 2, 3)
    return nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
