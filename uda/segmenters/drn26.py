"""DRN-C-26 (Yu et al. 2017), the task network of SemGAN's table: a dilated residual network at stride 8.

Differences to the authors' code: logits come up bilinearly by interpolation (there by a fixed transposed convolution,
which fades towards the border); images are normalised by ImageNet's statistics (there by the data set's own).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field

from uda.core.lazy import lazy_import
from uda.segmenters._groups import encoder_and_heads
from uda.segmenters.base import AbstractSegmenter, ParameterGroup, SegmenterConfigBase

if TYPE_CHECKING:
    from uda.nets import drn, pretrained, segmenter
else:
    drn, pretrained, segmenter = (lazy_import(f"uda.nets.{name}") for name in ("drn", "pretrained", "segmenter"))


class Drn26Config(SegmenterConfigBase):
    """Settings of `drn26`."""

    name: str = "drn26"
    """Name of the method."""
    width: float = Field(default=1.0, gt=0)
    """Multiplier of the channels; pretrained weights want 1."""
    head_lr_multiplier: float = Field(default=1.0, gt=0)
    """Learning rate of the classifier over that of the encoder (authors' code: 1)."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=0.125)


class Drn26(AbstractSegmenter):
    """A dilated encoder under one linear classifier; images of any size."""

    Config = Drn26Config

    def __init__(self, config: Drn26Config, num_classes: int) -> None:
        self.config = config
        body = drn.Drn26(num_classes, config.width)
        self.network = segmenter.SegmenterNetwork(body, frame=config.frame, norm=config.norm)
        if config.pretrained is not None:
            self.loaded = pretrained.load_weights(self.network, config.pretrained, encoder_only=True)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The encoder at the base rate, the classifier at `head_lr_multiplier` times it."""
        return encoder_and_heads(self.network, self.config.head_lr_multiplier)
