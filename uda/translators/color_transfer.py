"""Moves the colours of each image to those of a target image (Reinhard et al. 2001); nothing is fitted.

Differs from the paper in the colour space: CIELAB, as later work in domain adaptation takes, instead of the
logarithmic l-alpha-beta of cone responses. `mode: histogram` matches each RGB channel's whole distribution instead of
mean and deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from uda.core.lazy import lazy_import
from uda.translators._unfitted import AbstractRestyler
from uda.translators.base import TranslatorConfigBase

if TYPE_CHECKING:
    import kornia.color as kornia_color
    import torch
    from torch import Tensor

else:
    torch, kornia_color = lazy_import("torch"), lazy_import("kornia.color")

LEVELS = 256
"""Levels of a channel that histogram matching tells apart: those of 8-bit images."""
LEAST_DEVIATION = 0.5
"""LAB units. What deviates less holds no colour that could be scaled: rounding to 8 bits alone leaves up to 0.26 in a
and b (float32 leaves 0.001 of a grey image), and a difference of about 1 is the smallest that is seen. The palest of
mini-city's Cityscapes deviates by 1.6."""


class ColorTransferConfig(TranslatorConfigBase):
    """Settings of `color_transfer`."""

    name: str = "color_transfer"
    """Name of the method."""
    mode: Literal["statistics", "histogram"] = "statistics"
    """`statistics`: mean and standard deviation of each LAB channel; `histogram`: distribution of each RGB channel."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls()


class ColorTransfer(AbstractRestyler):
    """Image i takes the colours of image i of the other domain, which the caller draws at random."""

    Config = ColorTransferConfig

    def restyle(self, images_BCHW: Tensor, references_BCHW: Tensor) -> Tensor:
        """Recoloured images."""
        transfer = match_statistics if self.config.mode == "statistics" else match_histograms
        return transfer(images_BCHW, references_BCHW)


def match_statistics(images_BCHW: Tensor, references_BCHW: Tensor) -> Tensor:
    """Images whose LAB channels have the mean and standard deviation of their references, clipped to [-1, 1].

    A channel that deviates by less than `LEAST_DEVIATION` is scaled as if it deviated by that, so that a grey image
    becomes one of the references' mean colour: its rounding errors, scaled up to their deviation, would be coloured
    noise. The less a channel deviates, the less is left; nothing jumps at the bound.

    Args:
        images_BCHW: RGB in [-1, 1].
        references_BCHW: RGB in [-1, 1], one for each image, of any size.
    """
    lab, reference = (kornia_color.rgb_to_lab((rgb + 1) / 2) for rgb in (images_BCHW, references_BCHW))
    std, mean = torch.std_mean(lab, dim=(2, 3), keepdim=True, correction=0)
    wanted_std, wanted_mean = torch.std_mean(reference, dim=(2, 3), keepdim=True, correction=0)
    moved = (lab - mean) * (wanted_std / std.clamp(min=LEAST_DEVIATION)) + wanted_mean
    recoloured: Tensor = kornia_color.lab_to_rgb(moved) * 2 - 1
    return recoloured.clamp(-1, 1)


def match_histograms(images_BCHW: Tensor, references_BCHW: Tensor) -> Tensor:
    """Images whose channels are distributed like those of their references.

    Every level goes to the reference's level of the same rank (linear between levels), as in exact histogram
    specification of 8-bit images.

    Args:
        images_BCHW: RGB in [-1, 1].
        references_BCHW: RGB in [-1, 1], one for each image, of any size.
    """
    batch, channels = images_BCHW.shape[:2]
    levels, reference = (_levels(rgb).reshape(batch * channels, -1) for rgb in (images_BCHW, references_BCHW))
    table = _quantile_table(_mid_ranks(levels), _mid_ranks(reference))
    matched = table.gather(1, levels).view(batch, channels, *images_BCHW.shape[-2:])
    return matched / (LEVELS - 1) * 2 - 1


def _levels(images_BCHW: Tensor) -> Tensor:
    """Images in [-1, 1] -> integer levels."""
    return ((images_BCHW + 1) / 2 * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long()


def _mid_ranks(levels_RP: Tensor) -> Tensor:
    """Middle of each level's share of the ranks in [0, 1], (rows, LEVELS), by row of pixels."""
    ones = torch.ones_like(levels_RP, dtype=torch.float32)
    counts = ones.new_zeros(len(levels_RP), LEVELS).scatter_add_(1, levels_RP, ones)
    return (counts.cumsum(1) - counts / 2) / levels_RP.shape[1]


def _quantile_table(ranks_RL: Tensor, wanted_RL: Tensor) -> Tensor:
    """For each level the (fractional) level of the same rank in `wanted_RL`; both rise along their rows."""
    above = torch.searchsorted(wanted_RL, ranks_RL.contiguous()).clamp(1, LEVELS - 1)
    low, high = wanted_RL.gather(1, above - 1), wanted_RL.gather(1, above)
    part = ((ranks_RL - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return above - 1 + part
