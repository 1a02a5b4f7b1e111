"""OASIS's discriminator (Schoenfeld et al. 2021): a U-Net that segments real images and calls made ones fake.

Channels and blocks as in the authors' code. Differences: `fake` is the last class, not the first, as in the paper; and
unknown pixels have no class of their own, which the authors keep without ever training it. The skips' 1x1 convolutions
run at the smaller of the two sizes: they change places with averaging and with nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.core.errors import ConfigError
from uda.nets.blocks import doubled
from uda.nets.spectral import weights_once

STRIDE = 64
"""Image pixels for each of the deepest features: sides must be divisible by it."""
_SLOPE = 0.2


class _Block(nn.Module):
    """Two 3x3 convolutions around a skip that is a 1x1 convolution where the channels change.

    Args:
        before: channels of the input.
        after: channels of the output.
        active: whether the input passes a LeakyReLU first (the first block takes the image as it is).
    """

    def __init__(self, before: int, after: int, *, active: bool = True) -> None:
        super().__init__()
        self.active = active
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def smaller(self, features_BCHW: Tensor) -> Tensor:
        """Features at half the size."""
        hidden = F.leaky_relu(features_BCHW, _SLOPE) if self.active else features_BCHW
        hidden = self.second(F.leaky_relu(self.first(hidden), _SLOPE))
        skipped: Tensor = self.skip(F.avg_pool2d(features_BCHW, 2))
        return F.avg_pool2d(hidden, 2) + skipped

    def larger(self, features_BCHW: Tensor) -> Tensor:
        """Features at twice the size."""
        hidden = self.first(doubled(F.leaky_relu(features_BCHW, _SLOPE)))
        larger: Tensor = self.second(F.leaky_relu(hidden, _SLOPE))
        return larger + doubled(self.skip(features_BCHW))


class OasisDiscriminator(nn.Module):
    """Six blocks down, six up, joined at equal sizes: 22.25 M parameters at 34 classes and width 64.

    Args:
        num_classes: N; the outputs are N + 1, the last one `fake`.
        width: channels before the last convolution (authors: 64); up to 8 times as many below.
    """

    def __init__(self, num_classes: int, width: int = 64) -> None:
        super().__init__()
        down = [3] + [width * factor for factor in (2, 2, 4, 4, 8, 8)]
        up = [width * factor for factor in (8, 4, 4, 2, 2, 1)]
        self.encoder = nn.ModuleList(
            [_Block(down[level], down[level + 1], active=level > 0) for level in range(len(up))]
        )
        # From the second block up, the input is the last one's output and the encoder's features of the same size.
        joined = [down[-1]] + [down[-1 - level] + up[level - 1] for level in range(1, len(up))]
        self.decoder = nn.ModuleList([_Block(before, after) for before, after in zip(joined, up, strict=True)])
        self.last = nn.Conv2d(up[-1], num_classes + 1, 1)

    def normalised(self) -> Iterator[nn.Module]:
        """Where spectral norm belongs (authors): everywhere but on the last convolution."""
        yield from (self.encoder, self.decoder)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1] -> raw logits (B, N + 1, H, W), float32, `fake` last.

        Raises:
            ConfigError: a side is not divisible by 64.
        """
        return self.layers(images_BCHW)[-1]

    def layers(self, images_BCHW: Tensor) -> list[Tensor]:
        """What is computed on the way: six features down, each half as large, six up, and last the logits.

        Raises:
            ConfigError: a side is not divisible by 64.
        """
        height, width = images_BCHW.shape[-2:]
        if height % STRIDE or width % STRIDE:
            fitting = [max(STRIDE, round(side / STRIDE) * STRIDE) for side in (height, width)]
            raise ConfigError(f"[{height}, {width}] is not divisible by {STRIDE}", "discriminator", f"use {fitting}")
        made, features = [], images_BCHW
        for block in self.encoder:
            features = block.smaller(features)  # type: ignore[operator]  # a _Block
            made.append(features)
        kept = made[:-1]
        for number, block in enumerate(self.decoder):
            joined = torch.cat([kept.pop(), features], dim=1) if number else features
            features = block.larger(joined)  # type: ignore[operator]  # a _Block
            made.append(features)
        logits: Tensor = self.last(features)
        return [*made, logits.float()]


class DiscriminatorAsSegmenter(nn.Module):
    """The body of a segmenter (`uda.nets.segmenter`): the discriminator's logits without `fake`, at any size.

    Args:
        discriminator: with N + 1 outputs; not copied.
    """

    def __init__(self, discriminator: OasisDiscriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """Images in [-1, 1] -> {"main": logits_BNHW}; borders are repeated to sides that the network can take."""
        height, width = images_BCHW.shape[-2:]
        below, right = -height % STRIDE, -width % STRIDE
        padded = F.pad(images_BCHW, (0, right, 0, below), mode="replicate") if below or right else images_BCHW
        with weights_once([self]):
            return {"main": self.discriminator(padded)[:, :-1, :height, :width]}
