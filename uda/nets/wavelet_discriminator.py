"""SWAGAN's discriminator (Gal et al. 2021): is an image real, judged by its wavelet coefficients at every size.

StyleGAN2's parts (equalised learning rate, blurred halving, deviation within the minibatch) with an input skip at each
size, that reads the Haar coefficients of the image at that size. Sizes as in USIS's code for Cityscapes. Differences:
the coefficients of a smaller image come from the smaller image itself, where the code halves coefficients by way of the
image, which is the same; features of another size than the last layer's grid are averaged to it.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.core.errors import ConfigError
from uda.nets.wavelet import BANDS, haar

_SLOPE = 0.2


def blurred(features_BCHW: Tensor, *, border: int, every: int = 1) -> Tensor:
    """Depthwise convolution with (1 3 3 1), outer product, of sum 1; each `every`-th pixel is kept.

    Args:
        features_BCHW: input.
        border: rows and columns of zeros on each side.
        every: stride.
    """
    channels = features_BCHW.shape[1]
    # 1 3 3 1, filled on the device: a tensor of Python's numbers would wait for it.
    line = torch.cat([features_BCHW.new_full((count,), part / 8) for count, part in ((1, 1), (2, 3), (1, 1))])
    kernel = torch.outer(line, line).expand(channels, 1, 4, 4)
    return F.conv2d(features_BCHW, kernel, stride=every, padding=border, groups=channels)


class _Convolution(nn.Module):
    """A convolution with equalised learning rate (Karras et al. 2018), LeakyReLU, and a gain that keeps the variance.

    Args:
        before: channels of the input.
        after: channels of the output.
        kernel: its side, odd.
        halving: blur, and stride 2.
    """

    def __init__(self, before: int, after: int, kernel: int, *, halving: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale, self.halving = 1 / math.sqrt(before * kernel**2), halving

    def forward(self, features_BCHW: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if self.halving:
            # A border of 2 leaves one row and column more than came in, as the strided 3x3 needs to halve exactly.
            made = F.conv2d(blurred(features_BCHW, border=2), weight, self.bias, stride=2)
        else:
            made = F.conv2d(features_BCHW, weight, self.bias, padding=weight.shape[-1] // 2)
        return F.leaky_relu(made, _SLOPE) * math.sqrt(2)


class _Linear(nn.Module):
    """A linear layer with equalised learning rate."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(after, before)), nn.Parameter(torch.zeros(after))
        self.scale = 1 / math.sqrt(before)

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weight * self.scale, self.bias)


class WaveletDiscriminator(nn.Module):
    """Levels of (3x3, 3x3 and halving), each fed the coefficients of the image at its size; then two linear layers.

    Args:
        width: channels at the first level (authors: 64), four and eight times as many at the next ones.
        levels: halvings after the one of the wavelet transform (authors: 6, for 256x512); sides must be divisible by
            2 to the power of levels + 1.
        grid: rows and columns that the last layers see (authors: 2x4, for 256x512).
        group: images that the deviation within the minibatch is taken over, at most (StyleGAN2: 4).
    """

    def __init__(self, width: int = 64, levels: int = 6, grid: tuple[int, int] = (2, 4), group: int = 4) -> None:
        super().__init__()
        widths = [width * min(4**level, 8) for level in range(levels + 1)]
        self.stride, self._grid, self._group = 2 ** (levels + 1), grid, group
        self.from_image = nn.ModuleList([_Convolution(3 * BANDS, after, 1) for after in widths])
        self.blocks = nn.ModuleList(
            [nn.Sequential(_Convolution(a, a, 3), _Convolution(a, b, 3, halving=True)) for a, b in pairwise(widths)]
        )
        self.last = _Convolution(widths[-1] + 1, widths[-1], 3)
        self.hidden = _Linear(widths[-1] * grid[0] * grid[1], widths[-1])
        self.score = _Linear(widths[-1], 1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1] -> one raw score each, (B, 1), float32; the higher the more real.

        Within a group scores depend on one another: real and made images belong in different batches.

        Raises:
            ConfigError: a side cannot be halved so often.
        """
        height, width = images_BCHW.shape[-2:]
        if height % self.stride or width % self.stride:
            fitting = [max(self.stride, round(side / self.stride) * self.stride) for side in (height, width)]
            what = f"[{height}, {width}] is not divisible by {self.stride}"
            raise ConfigError(what, "wavelet discriminator", f"use {fitting}, or fewer levels")
        features = self.from_image[0](haar(images_BCHW))
        for block, read in zip(self.blocks, self.from_image[1:], strict=True):
            images_BCHW = blurred(images_BCHW, border=1, every=2)
            features = block(features) + read(haar(images_BCHW))
        features = self.last(torch.cat([features, _deviation(features, self._group)], dim=1))
        if features.shape[-2:] != self._grid:
            features = F.adaptive_avg_pool2d(features, self._grid)
        hidden = F.leaky_relu(self.hidden(features.flatten(1)), _SLOPE) * math.sqrt(2)
        scores: Tensor = self.score(hidden)
        return scores.float()


def _deviation(features_BCHW: Tensor, group: int) -> Tensor:
    """One channel: how much the images of a group differ, averaged over channels and pixels (Karras et al. 2018).

    Groups are as large as they can be, up to `group`, so that they share the batch equally.
    """
    batch, _, height, width = features_BCHW.shape
    size = max(number for number in range(1, group + 1) if batch % number == 0)
    groups = torch.unflatten(features_BCHW.float(), 0, (size, batch // size))
    spread: Tensor = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))  # one for each group
    return spread.repeat(size).view(batch, 1, 1, 1).expand(batch, 1, height, width).to(features_BCHW.dtype)
