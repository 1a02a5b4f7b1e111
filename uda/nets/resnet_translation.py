"""CycleGAN's generator: residual blocks at a quarter of the image's size (Zhu et al. 2017; Johnson et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.nets.blocks import (
    AbstractContentEncoder,
    Draw,
    Retouch,
    convolution,
    doubled,
    instance_norm,
    merges,
    noise_strengths,
    with_noise,
)

Upsampling = Literal["transposed", "nearest"]


class ResnetEncoder(AbstractContentEncoder):
    """7x7, two 3x3 of stride 2, residual blocks; instance norm and ReLU throughout.

    Args:
        in_channels: of what comes in.
        width: channels after the first convolution; features have four times as many.
        blocks: residual blocks.
        norm: see `AbstractContentEncoder`.
    """

    def __init__(self, in_channels: int, width: int, blocks: int, *, norm: bool = True) -> None:
        # Only the convolutions at full size and in the blocks have reflected borders, as in the authors' code.
        down = [
            convolution(in_channels, width, 7),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
        ]
        super().__init__(down, 4 * width, blocks, norm=norm)


class ResnetDecoder(nn.Module):
    """Two times (x2, instance norm, ReLU), then 7x7 without activation.

    Args:
        out_channels: of what comes out.
        width: channels before the last convolution; features have four times as many.
        upsampling: `transposed`: 3x3 transposed convolution of stride 2 (CycleGAN); `nearest`: nearest neighbours and
            a 3x3 convolution, which leaves no checkerboards (Odena et al. 2016). Both have the same parameters.
        norm: instance norm after each doubling.
        skips: take the encoder's features before each halving too.
        noise: learn how much noise each channel gets before and after each doubling, see `noise_strengths`.
    """

    def __init__(
        self,
        out_channels: int,
        width: int,
        upsampling: Upsampling,
        *,
        norm: bool = True,
        skips: bool = False,
        noise: bool = False,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.merge = merges(width, skips)
        self.noise = noise_strengths(width, noise)
        self.nearest = upsampling == "nearest"
        self.up = nn.ModuleList([_up(4 * width, upsampling), _up(2 * width, upsampling)])
        self.last = convolution(width, out_channels, 7)

    def forward(self, features_BCHW: Tensor, skips: Sequence[Tensor] = (), draw: Draw | None = None) -> Tensor:
        """Features -> raw values, four times as large.

        Args:
            features_BCHW: the encoder's last level.
            skips: its other levels, full size first, for a decoder that takes them.
            draw: where noise comes from, for a decoder that takes it; None goes without.
        """
        features = with_noise(features_BCHW, self.noise, 0, draw)
        for index, layer in enumerate(self.up):
            features = layer(doubled(features) if self.nearest else features)
            features = F.relu(instance_norm(features) if self.norm else features)
            if len(self.merge):
                features = features + self.merge[index](skips[-1 - index])
            features = with_noise(features, self.noise, 1 + index, draw)
        raw: Tensor = self.last(features)
        return raw


class ResnetGenerator(nn.Module):
    """Encoder, decoder, tanh: 11.38 M parameters at width 64 with 9 blocks.

    Args:
        width: channels at full resolution.
        blocks: residual blocks.
        upsampling: see `ResnetDecoder`.
        norm: instance norm outside the residual blocks.
        skips: of features, from the encoder to the decoder.
        residual: retouch the image instead of painting a whole one.
        noise: see `ResnetDecoder`.
    """

    def __init__(
        self,
        width: int,
        blocks: int,
        upsampling: Upsampling = "transposed",
        *,
        norm: bool = True,
        skips: bool = False,
        residual: bool = False,
        noise: bool = False,
    ) -> None:
        super().__init__()
        self.retouch = Retouch() if residual else None
        self.encoder = ResnetEncoder(3, width, blocks, norm=norm)
        self.decoder = ResnetDecoder(3, width, upsampling, norm=norm, skips=skips, noise=noise)

    def forward(self, images_BCHW: Tensor, draw: Draw | None = None) -> Tensor:
        """Images in [-1, 1], sides divisible by 4 -> images in [-1, 1] of the same size, float32.

        Args:
            images_BCHW: of the other domain.
            draw: where noise comes from, for a generator that takes it; None goes without.
        """
        *skips, features = self.encoder.levels(images_BCHW)
        painted = self.decoder(features, skips, draw).float()
        made: Tensor = torch.tanh(painted) if self.retouch is None else self.retouch(painted, images_BCHW)
        return made


def _up(channels: int, upsampling: Upsampling) -> nn.Module:
    if upsampling == "nearest":
        return convolution(channels, channels // 2, 3)
    return nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
