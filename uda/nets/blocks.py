"""Building blocks of image-to-image networks in MUNIT's manner: reflected borders, instance norm, modulation.

All normalisations of a residual block follow one pattern: instance norm without affine, then a `Modulation` (scale
and shift) that comes from outside: from nowhere (plain IN), from a style code (AdaIN) or from a semantic map (SPADE).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Modulation = tuple[Tensor, Tensor]
"""Scale and shift, broadcastable to the features: (B, C, 1, 1) for AdaIN, (B, C, H, W) for SPADE."""


class ReflectedBorder(nn.Module):
    """Adds a mirrored border of `border` pixels, in the type it gets.

    Autocast on a CPU would cast the features to float32 and back around it, at the price of a small convolution.
    """

    def __init__(self, border: int) -> None:
        super().__init__()
        self.border = border

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H + 2 border, W + 2 border)."""
        with torch.autocast(features_BCHW.device.type, enabled=False):
            return F.pad(features_BCHW, (self.border,) * 4, mode="reflect")


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Module:
    """A convolution with bias whose border of (kernel - 1) // 2 pixels is reflected."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride)
    border = (kernel - 1) // 2
    return nn.Sequential(ReflectedBorder(border), layer) if border else layer


def doubled(features_BCHW: Tensor) -> Tensor:
    """Twice the size by nearest neighbours, in the type it gets (autocast: see `ReflectedBorder`)."""
    with torch.autocast(features_BCHW.device.type, enabled=False):
        return F.interpolate(features_BCHW, scale_factor=2.0, mode="nearest")


def halved(images_BCHW: Tensor) -> Tensor:
    """Half the size, rounded up: means over 3x3 pixels, those beyond the border not counted; in contiguous memory.

    In channels_last the gradient would lie a pixel off on a GPU, in PyTorch as it was until July 2026 (pytorch/pytorch
    issue 188344), and generators draw ghosts beside every edge by it.
    """
    return F.avg_pool2d(images_BCHW.contiguous(), 3, stride=2, padding=1, count_include_pad=False)


def instance_norm(features_BCHW: Tensor, modulation: Modulation | None = None) -> Tensor:
    """Instance normalisation (Ulyanov et al. 2016) without affine, then `scale * h + shift` where given.

    Keeps the memory format of its input. Which kernel is fast in channels_last differs by type on a CPU: group norm
    with one channel a group in float32, instance norm through a copy in bfloat16 (2 to 4 times faster each).
    """
    if features_BCHW.dtype == torch.float32:
        normed = F.group_norm(features_BCHW, features_BCHW.shape[1])
    else:
        normed = F.instance_norm(features_BCHW)
        if features_BCHW.is_contiguous(memory_format=torch.channels_last):
            normed = normed.contiguous(memory_format=torch.channels_last)
    return normed if modulation is None else torch.addcmul(modulation[1], normed, modulation[0])


class LayerNorm(nn.Module):
    """MUNIT's layer normalisation: over C, H and W of each image, then scale and shift by channel.

    Scales start uniform in [0, 1], shifts at 0. Differs from MUNIT's in the biased variance and in adding epsilon
    below the root (group norm with one group: many times faster, relative difference about 1 / 2CHW).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Normalised features of the same shape."""
        dtype = features_BCHW.dtype
        return F.group_norm(features_BCHW, 1, self.scale.to(dtype), self.shift.to(dtype))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each with a modulated instance norm, ReLU between them, around an identity skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = convolution(channels, channels, 3), convolution(channels, channels, 3)

    def forward(self, features_BCHW: Tensor, modulations: Sequence[Modulation] | None = None) -> Tensor:
        """Features of the same shape.

        Args:
            features_BCHW: input.
            modulations: one for each of the two norms; None for plain instance norm.
        """
        one, two = (None, None) if modulations is None else modulations
        hidden = F.relu(instance_norm(self.first(features_BCHW), one))
        return features_BCHW + instance_norm(self.second(hidden), two)


class AbstractContentEncoder(nn.Module):
    """`down`, three convolutions that halve twice, then residual `blocks`; ReLU throughout.

    Args:
        down: the convolutions.
        channels: after the last of them.
        blocks: how many residual blocks, with instance norm.
        norm: instance norm after the convolutions outside the residual blocks. Without it an image's brightness and
            contrast reach the content by the shortest way.
    """

    def __init__(self, down: Sequence[nn.Module], channels: int, blocks: int, *, norm: bool) -> None:
        super().__init__()
        self.norm = norm
        self.down = nn.ModuleList(down)
        self.blocks = nn.ModuleList([ResidualBlock(channels) for _ in range(blocks)])

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images, sides divisible by 4 -> content (B, channels, H / 4, W / 4)."""
        return self.levels(images_BCHW)[-1]

    def levels(self, images_BCHW: Tensor) -> list[Tensor]:
        """Features before each halving, those of full size first, and the content last."""
        features, levels = images_BCHW, []
        for layer in self.down:
            features = layer(features)
            features = F.relu(instance_norm(features) if self.norm else features)
            levels.append(features)
        for block in self.blocks:
            features = block(features)
        return [*levels[:-1], features]


def merges(width: int, skips: bool) -> nn.ModuleList:
    """1x1 convolutions by which a decoder takes an encoder's levels of half and of full size; none without skips."""
    return nn.ModuleList([nn.Conv2d(channels, channels, 1) for channels in (2 * width, width) if skips])


class Draw(Protocol):
    """Where noise comes from."""

    def __call__(self, size: Sequence[int], *, device: torch.device) -> Tensor:
        """Standard normal numbers of that shape."""


NOISE_PACE = 5.0
"""How much faster than other weights strengths of noise move under Adam, as a `Lens` does: from nothing to a camera's
grain they have further to go."""


def noise_strengths(width: int, noise: bool) -> nn.ParameterList:
    """How much noise a decoder's channels get at a quarter, half and full size, from none on; empty without noise.

    So flat areas can get a texture, for which a network without noise has nothing but patterns (StyleGAN, Karras et al.
    2019). They count `NOISE_PACE` times.
    """
    widths = (4 * width, 2 * width, width) if noise else ()
    return nn.ParameterList([nn.Parameter(torch.zeros(channels, 1, 1)) for channels in widths])


def with_noise(features_BCHW: Tensor, strengths: nn.ParameterList, level: int, draw: Draw | None) -> Tensor:
    """Features with noise, the same in all channels but for its strength.

    Args:
        features_BCHW: of a decoder.
        strengths: see `noise_strengths`.
        level: 0 at a quarter of the size, 1 at half, 2 at full size.
        draw: where noise comes from; None goes without.
    """
    if draw is None or not len(strengths):
        return features_BCHW
    noise = draw((len(features_BCHW), 1, *features_BCHW.shape[-2:]), device=features_BCHW.device)
    strength: Tensor = strengths[level]
    return features_BCHW + (NOISE_PACE * strength).to(features_BCHW.dtype) * noise.to(features_BCHW.dtype)


class Lens(nn.Module):
    """One filter of all three colours that starts as the identity: what a camera does to a whole image, blur and cast.

    Args:
        kernel: its size, odd.
        pace: how much faster than other weights it moves under Adam, whose steps have the length of the rate: from the
            identity to a blur it has further to go.
    """

    def __init__(self, kernel: int, pace: float = 5.0) -> None:
        super().__init__()
        self.pace = pace
        self.change, self.shift = nn.Parameter(torch.zeros(3, 3, kernel, kernel)), nn.Parameter(torch.zeros(3))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1] -> images of the same size, not clamped; float32."""
        half = self.change.shape[-1] // 2
        with torch.autocast(images_BCHW.device.type, enabled=False):
            images = images_BCHW.float()
            changed = F.conv2d(F.pad(images, [half] * 4, mode="reflect"), self.change, self.shift)
            return images + self.pace * changed


class Retouch(nn.Module):
    """The end of a generator that changes its input: a lens before it, and what was painted added before the tanh.

    What is painted counts a tenth in the beginning, so that a fit starts near the image, with its edges where they are.
    """

    limit = 0.98
    """The brightest and darkest to start from: the inverse tanh of 1 is infinite, of nearly 1 too large to change."""

    def __init__(self) -> None:
        super().__init__()
        self.lens, self.strength = Lens(5), nn.Parameter(torch.full((3, 1, 1), 0.1))

    def forward(self, painted_BCHW: Tensor, images_BCHW: Tensor) -> Tensor:
        """What a decoder painted (any range) over images in [-1, 1] -> images in [-1, 1], float32."""
        seen = self.lens(images_BCHW).clamp(-self.limit, self.limit)
        return torch.tanh(self.strength * painted_BCHW.float() + torch.atanh(seen))
