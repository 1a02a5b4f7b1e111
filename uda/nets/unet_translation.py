"""pix2pix's generator: a U-Net from maps to images whose noise is dropout (Isola et al. 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.core.errors import ConfigError
from uda.nets.patchgan import NormKind, make_norm


class UnetGenerator(nn.Module):
    """4x4 convolutions of stride 2 down to the bottleneck, transposed ones up again, each beside its mirror image.

    54.41 M parameters at width 64 with 8 levels, 3 channels in and out, batch norm. No norm on the first and the
    innermost convolution and on the last one (authors' code).

    Args:
        in_channels: of the maps.
        width: channels after the first convolution; doubled by each further one, at most to eight times.
        levels: convolutions down, and up; sides must be divisible by 2 ** levels.
        norm: which norm; a convolution before a batch norm has no bias.
        dropout: part of the features that is zeroed after the innermost transposed convolutions, always: it is the
            noise.
        dropout_levels: how many of them (the last one never).
    """

    def __init__(
        self, in_channels: int, width: int, levels: int, norm: NormKind, dropout: float, dropout_levels: int = 3
    ) -> None:
        super().__init__()
        self.multiple, self.dropout, self.dropout_levels = 2**levels, dropout, dropout_levels
        widths = [width * min(2**level, 8) for level in range(levels)]
        bias = norm == "instance"
        down: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 2, 1, bias=bias)]
        down_norms: list[nn.Module] = [nn.Identity()]
        for level in range(1, levels):
            down.append(nn.Conv2d(widths[level - 1], widths[level], 4, 2, 1, bias=bias))
            down_norms.append(nn.Identity() if level == levels - 1 else make_norm(norm, widths[level]))
        up, up_norms = [], []
        for level in range(levels - 1, 0, -1):
            before = widths[level] * (1 if level == levels - 1 else 2)  # features and their mirror image
            up.append(nn.ConvTranspose2d(before, widths[level - 1], 4, 2, 1, bias=bias))
            up_norms.append(make_norm(norm, widths[level - 1]))
        self.down, self.down_norms = nn.ModuleList(down), nn.ModuleList(down_norms)
        self.up, self.up_norms = nn.ModuleList(up), nn.ModuleList(up_norms)
        self.last = nn.ConvTranspose2d(2 * width, 3, 4, 2, 1)

    def forward(self, maps_BNHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Maps -> images in [-1, 1] of the same size, float32.

        Args:
            maps_BNHW: what the image should show.
            generator: draws the noise; None: torch's own.

        Raises:
            ConfigError: the sides are not divisible by 2 ** levels.
        """
        height, width = maps_BNHW.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ConfigError(
                f"maps of {width}x{height} are not divisible by {self.multiple}",
                "U-Net generator",
                "choose other sizes (size, render_size, augment.crop) or lower translator.levels",
            )
        skips, features = [], maps_BNHW
        for index, (layer, norm) in enumerate(zip(self.down, self.down_norms, strict=True)):
            features = norm(layer(F.leaky_relu(features, 0.2) if index else features))
            skips.append(features)
        features = skips.pop()
        for index, (layer, norm) in enumerate(zip(self.up, self.up_norms, strict=True)):
            features = norm(layer(F.relu(features)))
            if index < self.dropout_levels:
                features = self._with_noise(features, generator)
            features = torch.cat([skips.pop(), features], dim=1)
        return torch.tanh(self.last(F.relu(features)).float())

    def _with_noise(self, features_BCHW: Tensor, generator: torch.Generator | None) -> Tensor:
        """Dropout, in evaluation too. Drawn in float32 whatever the features are, so that all types drop the same."""
        if not self.dropout:
            return features_BCHW
        device = features_BCHW.device if generator is None else generator.device
        drawn = torch.rand(features_BCHW.shape, generator=generator, device=device).to(features_BCHW.device)
        return features_BCHW * (drawn >= self.dropout) / (1 - self.dropout)
