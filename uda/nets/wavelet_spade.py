"""USIS's generator (Eskandar et al. 2022): SPADE blocks whose features are wavelet coefficients.

The generator of OASIS, moved to the wavelet domain as in SWAGAN: convolutions work on Haar coefficients at half the
size, each modulation leads back to the image domain and there sees the label map at twice the convolutions' size, and
the last convolution gives the image's coefficients. Sizes and paths are those of the authors' code (its `channels_G` of
16 is a width of 64 here). Differences to it: batch norm takes one process's images; the norm of the skips, which the
code builds and never runs, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.core.errors import ConfigError
from uda.nets.blocks import Draw, doubled, noise_strengths, with_noise
from uda.nets.spade_resnet import NormKind, Spade
from uda.nets.wavelet import BANDS, haar, haar_inverse

STRIDE = 64
"""Image pixels for each of the first features: sides must be divisible by it."""
_SLOPE = 0.2


class WaveletSpade(nn.Module):
    """SPADE on coefficients, in the image domain: at twice their size, with a quarter of their channels.

    Args:
        channels: of the coefficients, a multiple of 4.
        condition: channels of the map.
        hidden: channels between SPADE's convolutions.
        norm: what is modulated.
    """

    def __init__(self, channels: int, condition: int, hidden: int, norm: NormKind) -> None:
        super().__init__()
        self.spade = Spade(channels // BANDS, condition, hidden, norm)

    def forward(self, coefficients_BCHW: Tensor, condition_BLHW: Tensor) -> Tensor:
        """Coefficients of the same shape; the map has twice their size."""
        modulated: Tensor = self.spade(haar_inverse(coefficients_BCHW), condition_BLHW)
        return haar(modulated)


class WaveletSpadeBlock(nn.Module):
    """Two times (wavelet SPADE, LeakyReLU, 3x3) beside a skip that is a 1x1 convolution where the channels change.

    Args:
        before: channels of the input, a multiple of 4, as the next one.
        after: channels of the output.
        condition: see `WaveletSpade`, as the rest.
        hidden: channels between SPADE's convolutions.
        norm: what is modulated.
    """

    def __init__(self, before: int, after: int, condition: int, hidden: int, norm: NormKind) -> None:
        super().__init__()
        middle = min(before, after)
        self.norm_first = WaveletSpade(before, condition, hidden, norm)
        self.norm_second = WaveletSpade(middle, condition, hidden, norm)
        self.first = nn.Conv2d(before, middle, 3, padding=1)
        self.second = nn.Conv2d(middle, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1, bias=False) if before != after else None

    def forward(self, coefficients_BCHW: Tensor, condition_BLHW: Tensor) -> tuple[Tensor, Tensor]:
        """What is skipped and what is changed, apart: they are enlarged in different ways."""
        skipped = coefficients_BCHW if self.skip is None else self.skip(coefficients_BCHW)
        hidden = self.first(F.leaky_relu(self.norm_first(coefficients_BCHW, condition_BLHW), _SLOPE))
        changed = self.second(F.leaky_relu(self.norm_second(hidden, condition_BLHW), _SLOPE))
        return skipped, changed


class WaveletSpadeGenerator(nn.Module):
    """A small map, six blocks with doublings of size between them, 1x1 to the image's coefficients, inverse, tanh.

    Args:
        condition: channels of noise and label layout together.
        channels: before the first block and after each of the six, multiples of 4.
        hidden: channels between SPADE's convolutions (authors: 128).
        norm: what SPADE modulates.
        grain: learn how much noise each coefficient gets after the last three blocks, see `noise_strengths`.
    """

    def __init__(
        self,
        condition: int,
        channels: Sequence[int],
        *,
        hidden: int = 128,
        norm: NormKind = "batch",
        grain: bool = False,
    ) -> None:
        super().__init__()
        self.from_map = nn.Conv2d(condition, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList([WaveletSpadeBlock(a, b, condition, hidden, norm) for a, b in pairwise(channels)])
        self.grain = noise_strengths(channels[-1], grain)
        self.last = nn.Conv2d(channels[-1], 3 * BANDS, 1)

    def normalised(self) -> Iterator[nn.Module]:
        """Where spectral norm belongs (authors): the blocks' own convolutions, not those within SPADE."""
        for block in self.blocks:
            yield from (layer for layer in (block.first, block.second, block.skip) if isinstance(layer, nn.Conv2d))

    def forward(self, condition_BLHW: Tensor, draw: Draw | None = None) -> Tensor:
        """Images in [-1, 1], float32, of the map's size.

        Args:
            condition_BLHW: noise and layout.
            draw: where grain comes from, for a generator that has it; None goes without.

        Raises:
            ConfigError: a side is not divisible by 64.
        """
        height, width = condition_BLHW.shape[-2:]
        if height % STRIDE or width % STRIDE:
            fitting = [max(STRIDE, round(side / STRIDE) * STRIDE) for side in (height, width)]
            raise ConfigError(f"[{height}, {width}] is not divisible by {STRIDE}", "generator", f"use {fitting}")
        features, step = self.from_map(condition_BLHW[:, :, ::STRIDE, ::STRIDE]), STRIDE
        *inner, final = self.blocks
        plain = len(self.blocks) - len(self.grain)
        for number, block in enumerate(inner):
            step //= 2  # a modulation works at twice the size of the block's features
            skipped, changed = block(features, condition_BLHW[:, :, ::step, ::step])
            features = doubled(changed) + _doubled_as_image(skipped)
            if number >= plain:
                features = with_noise(features, self.grain, number - plain, draw)
        skipped, changed = final(features, condition_BLHW)
        features = with_noise(skipped + changed, self.grain, -1, draw)
        return torch.tanh(haar_inverse(self.last(features).float()))


def make_wavelet_generator(
    condition: int, width: int = 64, *, hidden: int = 128, norm: NormKind = "batch", grain: bool = False
) -> WaveletSpadeGenerator:
    """USIS's generator.

    Args:
        condition: channels of noise and layout together.
        width: channels before the last convolution, a multiple of 4 (authors: 64, as 4 bands of 16).
        hidden: channels within each SPADE (authors: 128).
        norm: kind of norm.
        grain: see `WaveletSpadeGenerator` (authors: none).
    """
    channels = [16 * width] * 3 + [8 * width, 4 * width, 2 * width, width]
    return WaveletSpadeGenerator(condition, channels, hidden=hidden, norm=norm, grain=grain)


def _doubled_as_image(coefficients_BCHW: Tensor) -> Tensor:
    """Coefficients of the bilinearly doubled image, in the type they come in (autocast: see `blocks.doubled`)."""
    with torch.autocast(coefficients_BCHW.device.type, enabled=False):
        image = haar_inverse(coefficients_BCHW)
        return haar(F.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False))
