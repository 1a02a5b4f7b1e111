"""Generators that turn label maps into images: residual blocks whose every norm is modulated by the map.

SPADE (Park et al. 2019) and OASIS (Schoenfeld et al. 2021) share all their parts. SPADE starts from the small label map
(or from a style code); OASIS joins 64 channels of noise to the map, at the start and in every modulation, and has one
block less. Sizes are those of the authors' code. Difference to it: batch norm takes the statistics of one process's
images, where theirs synchronises all GPUs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.core.errors import ConfigError
from uda.nets.blocks import Draw, doubled, instance_norm, noise_strengths, with_noise

NormKind = Literal["batch", "instance"]
_SLOPE = 0.2


def label_layout(labels_BHW: Tensor, num_classes: int, *, edges: bool = False) -> Tensor:
    """Label maps as channels: one-hot classes, then `unknown`, then edges where asked for.

    Unknown pixels (255, and any other value that is no class) have a channel of their own, as the authors' 35 channels
    for Cityscapes are 34 label values and unknown.

    Args:
        labels_BHW: class indices, 255 = unknown.
        num_classes: N.
        edges: add a channel that is 1 on pixels with another label above, below, left or right. The authors draw it
            from instance maps; here it can only tell classes apart, not two cars side by side.

    Returns:
        layout_BLHW, float32, of 0 and 1; L = N + 1, or N + 2 with edges.
    """
    index_BHW = labels_BHW.clamp(max=num_classes)
    channels = torch.arange(num_classes + 1, device=labels_BHW.device).view(1, -1, 1, 1)
    layout = (index_BHW[:, None] == channels).float()
    return torch.cat([layout, label_edges(labels_BHW).float()], dim=1) if edges else layout


def label_edges(labels_BHW: Tensor) -> Tensor:
    """Whether one of a pixel's four neighbours has another label, bool (B, 1, H, W)."""
    below, right = labels_BHW[:, 1:] != labels_BHW[:, :-1], labels_BHW[:, :, 1:] != labels_BHW[:, :, :-1]
    edge = F.pad(below, (0, 0, 1, 0)) | F.pad(below, (0, 0, 0, 1)) | F.pad(right, (1, 0)) | F.pad(right, (0, 1))
    return edge[:, None]


class Spade(nn.Module):
    """A norm without parameters, then scale and shift of every pixel from a map.

    Args:
        channels: of the features.
        condition: channels of the map.
        hidden: channels between the two convolutions (authors: 128).
        norm: over the batch's images (authors) or over each image.
    """

    def __init__(self, channels: int, condition: int, hidden: int, norm: NormKind) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False) if norm == "batch" else None
        self.shared = nn.Conv2d(condition, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, features_BCHW: Tensor, condition_BLHW: Tensor) -> Tensor:
        """`(1 + gamma) * norm(features) + beta`; the map has the features' size."""
        normed = instance_norm(features_BCHW) if self.norm is None else self.norm(features_BCHW)
        hidden = F.relu(self.shared(condition_BLHW))
        return torch.addcmul(self.beta(hidden), normed, 1 + self.gamma(hidden))


class SpadeBlock(nn.Module):
    """Two times (SPADE, LeakyReLU, 3x3), around a skip that is SPADE and 1x1 where the channels change."""

    def __init__(self, before: int, after: int, condition: int, hidden: int, norm: NormKind) -> None:
        super().__init__()
        middle = min(before, after)
        self.norm_first = Spade(before, condition, hidden, norm)
        self.norm_second = Spade(middle, condition, hidden, norm)
        self.first = nn.Conv2d(before, middle, 3, padding=1)
        self.second = nn.Conv2d(middle, after, 3, padding=1)
        self.norm_skip = Spade(before, condition, hidden, norm) if before != after else None
        self.skip = nn.Conv2d(before, after, 1, bias=False) if before != after else None

    def forward(self, features_BCHW: Tensor, condition_BLHW: Tensor) -> Tensor:
        """Features with `after` channels, at their size."""
        skipped: Tensor = features_BCHW
        if self.skip is not None and self.norm_skip is not None:
            skipped = self.skip(self.norm_skip(features_BCHW, condition_BLHW))
        hidden = self.first(F.leaky_relu(self.norm_first(features_BCHW, condition_BLHW), _SLOPE))
        changed: Tensor = self.second(F.leaky_relu(self.norm_second(hidden, condition_BLHW), _SLOPE))
        return skipped + changed


class SpadeGenerator(nn.Module):
    """A small start, SPADE blocks with doublings of size between them, 3x3, tanh.

    Args:
        condition: channels of the map that steers every norm.
        channels: before the first block and after each.
        doublings: whether the features are doubled in size before each block.
        hidden: channels within each SPADE.
        norm: kind of norm within each SPADE.
        style: length of a style code to start from instead of the small map; None for the map.
        start_grid: rows and columns that the style code is unfolded to; brought to another size where images have one.
        grain: learn how much noise each channel gets after the last three blocks, see `noise_strengths`.
    """

    def __init__(
        self,
        condition: int,
        channels: Sequence[int],
        doublings: Sequence[bool],
        *,
        hidden: int = 128,
        norm: NormKind = "batch",
        style: int | None = None,
        start_grid: tuple[int, int] = (4, 8),
        grain: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self._norm, self._grid, self._doublings = 2 ** sum(doublings), norm, start_grid, tuple(doublings)
        self.from_map = nn.Conv2d(condition, channels[0], 3, padding=1) if style is None else None
        self.from_style = None if style is None else nn.Linear(style, channels[0] * start_grid[0] * start_grid[1])
        self.blocks = nn.ModuleList([SpadeBlock(a, b, condition, hidden, norm) for a, b in pairwise(channels)])
        self.grain = noise_strengths(channels[-1], grain)
        self.last = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def normalised(self) -> Iterator[nn.Module]:
        """Where spectral norm belongs (authors): the blocks' own convolutions, not those within SPADE."""
        for block in self.blocks:
            yield from (layer for layer in (block.first, block.second, block.skip) if isinstance(layer, nn.Conv2d))

    def forward(self, condition_BLHW: Tensor, style_BS: Tensor | None = None, draw: Draw | None = None) -> Tensor:
        """Images in [-1, 1], float32, of the map's size.

        Args:
            condition_BLHW: the map.
            style_BS: for a generator that starts from style codes.
            draw: where grain comes from, for a generator that has it; None goes without.

        Raises:
            ConfigError: the size cannot be halved as often as it is doubled here, or leaves the norm a single value.
        """
        start = self._start(condition_BLHW)
        if self.from_map is not None:
            features = self.from_map(_every(condition_BLHW, self.stride))
        else:
            assert self.from_style is not None and style_BS is not None, "built to start from style codes"
            features = self.from_style(style_BS).view(len(condition_BLHW), -1, *self._grid)
            if start != self._grid:
                features = F.interpolate(features, size=start, mode="bilinear", align_corners=False)
        step, plain = self.stride, len(self.blocks) - len(self.grain)
        for number, (block, doubling) in enumerate(zip(self.blocks, self._doublings, strict=True)):
            if doubling:
                features, step = doubled(features), step // 2
            features = block(features, _every(condition_BLHW, step))
            if number >= plain:
                features = with_noise(features, self.grain, number - plain, draw)
        return torch.tanh(self.last(F.leaky_relu(features, _SLOPE)).float())

    def _start(self, condition_BLHW: Tensor) -> tuple[int, int]:
        """Rows and columns before the first doubling."""
        height, width = condition_BLHW.shape[-2:]
        if height % self.stride or width % self.stride:
            fitting = [max(self.stride, round(side / self.stride) * self.stride) for side in (height, width)]
            what = f"[{height}, {width}] is not divisible by {self.stride}, as its doublings of size need"
            raise ConfigError(what, "generator", f"use {fitting}")
        rows, columns = height // self.stride, width // self.stride
        batch = self._norm == "batch"
        values = rows * columns * (len(condition_BLHW) if batch else 1)
        if values == 1 and (self.training or not batch):
            mend = "take larger images or, with norm batch, more of them at once"
            raise ConfigError(
                f"[{height}, {width}] leaves its first {self._norm} norm a single value", "generator", mend
            )
        return rows, columns


def make_spade_generator(
    layout: int,
    width: int = 64,
    *,
    doublings: Literal[5, 6, 7] = 6,
    hidden: int = 128,
    norm: NormKind = "batch",
    style: int | None = None,
    start_grid: tuple[int, int] = (4, 8),
) -> SpadeGenerator:
    """SPADE's generator: 93.05 M parameters at 36 channels, with 5 doublings as with 6 (7 add a block).

    Args:
        layout: channels of the label layout.
        width: channels before the last convolution (authors: 64), half as many with 7 doublings.
        doublings: of size: the authors' `normal` (5), `more` (6: Cityscapes) or `most` (7).
        hidden: see `SpadeGenerator`, as the rest.
        norm: kind of norm.
        style: length of the style code, with an image encoder.
        start_grid: rows and columns that it is unfolded to.
    """
    channels = [16 * width] * 4 + [8 * width, 4 * width, 2 * width, width]
    doubled_before = [False, True, doublings > 5, True, True, True, True]
    if doublings == 7:
        channels, doubled_before = [*channels, width // 2], [*doubled_before, True]
    return SpadeGenerator(
        layout, channels, doubled_before, hidden=hidden, norm=norm, style=style, start_grid=start_grid
    )


def make_oasis_generator(
    condition: int, width: int = 64, *, hidden: int = 128, norm: NormKind = "batch", grain: bool = False
) -> SpadeGenerator:
    """OASIS's generator: 71.11 M parameters at 99 channels (35 of the layout, 64 of noise).

    Args:
        condition: channels of noise and layout together.
        width: channels before the last convolution (authors: 64).
        hidden: channels within each SPADE (authors: 128).
        norm: kind of norm.
        grain: see `SpadeGenerator` (authors: none).
    """
    channels = [16 * width] * 3 + [8 * width, 4 * width, 2 * width, width]
    return SpadeGenerator(condition, channels, [False] + [True] * 5, hidden=hidden, norm=norm, grain=grain)


@torch.no_grad()
def reestimate_statistics(network: nn.Module, inputs: Iterable[tuple[Tensor, ...]], **always: object) -> None:
    """Replace BatchNorm's running statistics by the mean of those of the given batches.

    Averaged weights need it: the statistics that were copied with them are those of other weights. Differs from
    `torch.optim.swa_utils.update_bn` in that all else stays in eval mode (spectral norm's power iteration would move
    otherwise), in taking several inputs, and in leaving the statistics alone where there is no batch.

    Args:
        network: changed in place; comes back in the mode it was in.
        inputs: arguments of the network, batch by batch.
        always: keyword arguments of the network, the same for every batch.
    """
    modes = {module: module.training for module in network.modules()}
    norms = [module for module in modes if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for number, arguments in enumerate(inputs):
        for norm in norms:
            if number == 0:
                norm.reset_running_stats()
                norm.momentum = None  # the plain mean over batches
            norm.train()
        network(*arguments, **always)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode


def _every(condition_BLHW: Tensor, step: int) -> Tensor:
    """The map at 1 / step of its size by nearest neighbours."""
    return condition_BLHW[:, :, ::step, ::step]
