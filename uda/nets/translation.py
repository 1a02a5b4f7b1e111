"""Encoders, decoder and modulations of the two-domain translators `sait` and `munit`.

Both are an encoder to a shared content space and a decoder out of it (MUNIT, Huang et al. 2018; Musto & Zinelli 2020,
appendix B). They differ in what modulates the decoder's residual blocks: a style code or a semantic map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.nets.blocks import (
    AbstractContentEncoder,
    Draw,
    LayerNorm,
    Modulation,
    ResidualBlock,
    Retouch,
    convolution,
    doubled,
    merges,
    noise_strengths,
    with_noise,
)

CONTENT_STRIDE = 4
"""Image pixels for each content pixel."""


class ContentEncoder(AbstractContentEncoder):
    """7x7, two 4x4 of stride 2, residual blocks; instance norm and ReLU throughout.

    Args:
        width: channels after the first convolution; content has four times as many.
        blocks: residual blocks.
        norm: see `AbstractContentEncoder`.
    """

    def __init__(self, width: int, blocks: int, *, norm: bool = True) -> None:
        down = [convolution(3, width, 7), convolution(width, 2 * width, 4, 2), convolution(2 * width, 4 * width, 4, 2)]
        super().__init__(down, 4 * width, blocks, norm=norm)


class Decoder(nn.Module):
    """Modulated residual blocks, two times (nearest x2, 5x5, layer norm, ReLU), 7x7, tanh.

    Args:
        width: channels before the last convolution; content has four times as many.
        blocks: residual blocks; each takes two modulations.
        noise: learn how much noise each channel gets after the blocks and after each doubling, see `noise_strengths`.
        skips: take the encoder's features before each halving too, so that details need not pass the content.
        residual: retouch the encoder's image instead of painting a whole one.
    """

    def __init__(
        self, width: int, blocks: int, *, noise: bool = False, skips: bool = False, residual: bool = False
    ) -> None:
        super().__init__()
        self.retouch = Retouch() if residual else None
        self.merge = merges(width, skips)
        self.noise = noise_strengths(width, noise)
        self.blocks = nn.ModuleList([ResidualBlock(4 * width) for _ in range(blocks)])
        self.up = nn.ModuleList([convolution(4 * width, 2 * width, 5), convolution(2 * width, width, 5)])
        self.norms = nn.ModuleList([LayerNorm(2 * width), LayerNorm(width)])
        self.last = convolution(width, 3, 7)

    def forward(
        self,
        content_BCHW: Tensor,
        modulations: Sequence[Modulation] | None = None,
        *,
        skips: Sequence[Tensor] = (),
        image: Tensor | None = None,
        draw: Draw | None = None,
    ) -> Tensor:
        """Content -> images in [-1, 1], float32 (a guide's frame may need the precision), four times as large.

        Args:
            content_BCHW: from an encoder of the same width.
            modulations: two for each residual block; None for plain instance norm.
            skips: the encoder's other levels, full size first, for a decoder that takes them.
            image: what the encoder was given, for a decoder that retouches it.
            draw: where noise comes from, for a decoder that takes it; None goes without.
        """
        features = content_BCHW
        for index, block in enumerate(self.blocks):
            features = block(features, None if modulations is None else modulations[2 * index : 2 * index + 2])
        features = with_noise(features, self.noise, 0, draw)
        for level, (layer, norm) in enumerate(zip(self.up, self.norms, strict=True), start=1):
            features = F.relu(norm(layer(doubled(features))))
            if len(self.merge):
                features = features + self.merge[level - 1](skips[-level])
            features = with_noise(features, self.noise, level, draw)
        painted = self.last(features).float()
        if self.retouch is None:
            return torch.tanh(painted)
        assert image is not None
        retouched: Tensor = self.retouch(painted, image)
        return retouched


class SpadeMaps(nn.Module):
    """SPADE's modulations (Park et al. 2019) for every norm of a decoder, from unnormalised logits.

    Args:
        num_classes: channels of the logits.
        hidden: channels between the two convolutions.
        channels: channels of the modulated features.
        norms: how many norms to modulate.
    """

    def __init__(self, num_classes: int, hidden: int, channels: int, norms: int) -> None:
        super().__init__()
        # Zero borders as in SPADE: a map's edge has no mirrored content to look natural.
        self.shared = nn.ModuleList([nn.Conv2d(num_classes, hidden, 3, padding=1) for _ in range(norms)])
        self.gamma = nn.ModuleList([nn.Conv2d(hidden, channels, 3, padding=1) for _ in range(norms)])
        self.beta = nn.ModuleList([nn.Conv2d(hidden, channels, 3, padding=1) for _ in range(norms)])

    def forward(self, logits_BNHW: Tensor) -> list[Modulation]:
        """(1 + gamma, beta) of each norm at the content's size.

        All modulated norms work at that one size, so the logits are resized (bilinearly) once.
        """
        height, width = (side // CONTENT_STRIDE for side in logits_BNHW.shape[-2:])
        small = F.interpolate(logits_BNHW.float(), size=(height, width), mode="bilinear", align_corners=False)
        small = small.contiguous(memory_format=torch.channels_last)
        made = []
        for shared, gamma, beta in zip(self.shared, self.gamma, self.beta, strict=True):
            hidden = F.relu(shared(small))
            made.append((1 + gamma(hidden), beta(hidden)))
        return made


class StyleEncoder(nn.Module):
    """MUNIT's style encoder: 7x7, four 4x4 of stride 2, global average, 1x1; ReLU, no norm.

    Args:
        width: channels after the first convolution, at most four times as many later.
        style: length of the style code.
        downsamplings: convolutions of stride 2.
    """

    def __init__(self, width: int, style: int, downsamplings: int = 4) -> None:
        super().__init__()
        widths = [width * min(2**level, 4) for level in range(downsamplings + 1)]
        strided = [convolution(a, b, 4, 2) for a, b in pairwise(widths)]
        self.down = nn.ModuleList([convolution(3, width, 7), *strided])
        self.head = nn.Conv2d(widths[-1], style, 1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1] -> style codes (B, style)."""
        features = images_BCHW
        for layer in self.down:
            features = F.relu(layer(features))
        codes: Tensor = self.head(features.mean((2, 3), keepdim=True))
        return codes.flatten(1).float()


class StyleModulations(nn.Module):
    """MUNIT's MLP: a style code -> AdaIN's modulations for every norm of a decoder.

    Args:
        style: length of the style code.
        hidden: width of the two hidden layers.
        channels: channels of the modulated features.
        norms: how many norms to modulate.
    """

    def __init__(self, style: int, hidden: int, channels: int, norms: int) -> None:
        super().__init__()
        self.norms = norms
        self.layers = nn.Sequential(
            nn.Linear(style, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * norms * channels),
        )

    def forward(self, styles_BS: Tensor) -> list[Modulation]:
        """(scale, shift) of each norm, (B, C, 1, 1); the scale is the predicted value itself, not 1 + it."""
        values = self.layers(styles_BS)[:, :, None, None].chunk(2 * self.norms, dim=1)
        return list(zip(values[::2], values[1::2], strict=True))
