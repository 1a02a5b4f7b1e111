"""SPADE's other networks (Park et al. 2019): patch discriminators of image and label map, and the image encoder.

Sizes as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from uda.nets.blocks import halved, instance_norm

_SLOPE = 0.2
_ENCODER_SIDE = 256
"""Side that every image is brought to before it is encoded (authors)."""


class PatchDiscriminator(nn.Module):
    """4x4 convolutions, of stride 2 but for the last two; instance norm on all but the first and the last.

    Args:
        channels: of image and label layout together.
        width: channels after the first convolution, doubled by each further one up to 8 times as many.
        layers: convolutions before the last one.
    """

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        widths = [width * min(2**layer, 8) for layer in range(layers)]
        self.first = nn.Conv2d(channels, width, 4, stride=2, padding=2)
        # No bias: the norm behind it would take it away.
        self.middle = nn.ModuleList(
            [
                nn.Conv2d(before, after, 4, stride=1 if number == layers - 1 else 2, padding=2, bias=False)
                for number, (before, after) in enumerate(pairwise(widths), 1)
            ]
        )
        self.last = nn.Conv2d(widths[-1], 1, 4, padding=2)

    def forward(self, inputs_BCHW: Tensor) -> list[Tensor]:
        """Features after each layer, then the map of raw outputs (B, 1, h, w)."""
        made = [F.leaky_relu(self.first(inputs_BCHW), _SLOPE)]
        for layer in self.middle:
            made.append(F.leaky_relu(instance_norm(layer(made[-1])), _SLOPE))
        return [*made, self.last(made[-1])]


class MultiScalePatchDiscriminator(nn.Module):
    """The same patch discriminator, with weights of its own, on the input and on halved copies of it.

    Args:
        channels: see `PatchDiscriminator`, as the next two.
        width: channels after the first convolution (authors: 64).
        layers: convolutions before the last one (authors: 4).
        scales: sizes looked at (authors: 2).
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 4, scales: int = 2) -> None:
        super().__init__()
        self.scales = nn.ModuleList([PatchDiscriminator(channels, width, layers) for _ in range(scales)])

    def normalised(self) -> Iterator[nn.Module]:
        """Where spectral norm belongs (authors): all convolutions but each scale's first and last."""
        for scale in self.scales:
            yield from scale.middle  # type: ignore[misc]  # a ModuleList

    def forward(self, inputs_BCHW: Tensor) -> list[list[Tensor]]:
        """Image and layout, joined -> for each scale, the largest first: features, then raw outputs."""
        made, inputs = [], inputs_BCHW
        for number, scale in enumerate(self.scales):
            if number:
                inputs = halved(inputs)
            made.append(scale(inputs))
        return made


class ImageEncoder(nn.Module):
    """Six 3x3 convolutions of stride 2 with instance norm, then mean and log-variance of a style code.

    Args:
        width: channels after the first convolution, at most 8 times as many later (authors: 64).
        style: length of the style code (authors: 256).
    """

    def __init__(self, width: int = 64, style: int = 256) -> None:
        super().__init__()
        widths = [3] + [width * factor for factor in (1, 2, 4, 8, 8, 8)]
        self.down = nn.ModuleList(
            [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False) for before, after in pairwise(widths)]
        )
        side = _ENCODER_SIDE // 2 ** len(self.down)
        self.mean = nn.Linear(widths[-1] * side * side, style)
        self.log_variance = nn.Linear(widths[-1] * side * side, style)

    def normalised(self) -> Iterator[nn.Module]:
        """Where spectral norm belongs (authors): all convolutions."""
        yield from self.down

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Images in [-1, 1] of any size -> mean_BS and log_variance_BS, float32."""
        side: Sequence[int] = (_ENCODER_SIDE, _ENCODER_SIDE)
        features = F.interpolate(images_BCHW, size=side, mode="bilinear", align_corners=False)
        for layer in self.down:
            features = F.leaky_relu(instance_norm(layer(features)), _SLOPE)
        flat = features.flatten(1)
        return self.mean(flat).float(), self.log_variance(flat).float()
