"""OASIS's discriminator as a segmenter (Schoenfeld et al. 2021): a spectrally normalised U-Net, `fake` left out.

A fitted `oasis` translator gives its discriminator away under these settings. It can be trained from labels like any
segmenter too; its logit of `fake` is kept, untrained, so that the weights of one fit the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from uda.core.lazy import lazy_import
from uda.segmenters.base import AbstractSegmenter, FrameName, ParameterGroup, SegmenterConfigBase

if TYPE_CHECKING:
    from uda.nets import init, oasis_discriminator, pretrained, segmenter, spectral
else:
    init, pretrained, segmenter, spectral = (
        lazy_import(f"uda.nets.{name}") for name in ("init", "pretrained", "segmenter", "spectral")
    )
    oasis_discriminator = lazy_import("uda.nets.oasis_discriminator")


class OasisDiscriminatorConfig(SegmenterConfigBase):
    """Settings of `oasis_discriminator`."""

    name: str = "oasis_discriminator"
    """Name of the method."""
    width: int = Field(default=64, ge=1)
    """Channels before the last convolution (authors' code)."""
    frame: FrameName = "unit"
    """As in the base; translators work in [-1, 1]."""
    norm: Literal["trained"] = "trained"
    """It has no BatchNorm to freeze."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=4)


class OasisDiscriminator(AbstractSegmenter):
    """Six blocks down, six up; images of any size, whose borders are repeated to sides divisible by 64."""

    Config = OasisDiscriminatorConfig

    def __init__(self, config: OasisDiscriminatorConfig, num_classes: int) -> None:
        self.config = config
        network = oasis_discriminator.OasisDiscriminator(num_classes, config.width)
        init.initialise(network, "xavier")
        for part in network.normalised():
            spectral.spectral_normalise(part)
        body = oasis_discriminator.DiscriminatorAsSegmenter(network)
        self.network = segmenter.SegmenterNetwork(body, frame=config.frame, norm=config.norm)
        if config.pretrained is not None:
            self.loaded = pretrained.load_weights(self.network, config.pretrained, encoder_only=True)

    def parameter_groups(self) -> list[ParameterGroup]:
        """All parameters at one rate."""
        return [ParameterGroup(list(self.network.parameters()))]
