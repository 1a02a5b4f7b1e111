"""DeepLabV2 (Chen et al. 2017) as unsupervised adaptation uses it since AdaptSegNet: no CRF, one scale, stride 8.

`aspp_branches: 2` repeats a bug of AdaptSegNet's code (and of DACS, ProDA and others), which sums only the first two
branches of the pyramid: published weights and numbers of those are right only with it.
Differences to that code: from random weights the encoder is drawn as torchvision draws it, not by N(0, 0.01); the
encoder's parameters are in their group once, not three times over (`encoder_lr_multiplier`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from uda.core.lazy import lazy_import
from uda.segmenters._groups import encoder_and_heads
from uda.segmenters.base import AbstractSegmenter, FrameName, NormPolicy, ParameterGroup, SegmenterConfigBase

if TYPE_CHECKING:
    from uda.nets import deeplabv2, pretrained, segmenter
else:
    deeplabv2, pretrained = lazy_import("uda.nets.deeplabv2"), lazy_import("uda.nets.pretrained")
    segmenter = lazy_import("uda.nets.segmenter")


class DeepLabV2Config(SegmenterConfigBase):
    """Settings of `deeplabv2`; defaults are AdaptSegNet's and BDL's."""

    name: str = "deeplabv2"
    """Name of the method."""
    encoder: str = "resnet101_caffe"
    """`resnet101_caffe` (stride in the first 1x1 convolution, pooling that rounds up: what the field's weights are
    for), or any encoder of segmentation-models-pytorch, or `tu-` and one of timm."""
    output_stride: Literal[8, 16, 32] = 8
    """Image side over the side of the deepest features, reached by dilation."""
    aspp_branches: Literal[2, 4] = 4
    """Branches of the pyramid that are summed: 4 (BDL, ADVENT, CLAN, FDA) or 2 (dilations 6 and 12 alone)."""
    multi_level: bool = False
    """A second head `aux` on the features before the last stage (AdaptSegNet's multi-level variant)."""
    head_lr_multiplier: float = Field(default=10.0, gt=0)
    """Learning rate of the heads over the optimiser's (AdaptSegNet: 10)."""
    encoder_lr_multiplier: float = Field(default=1.0, gt=0)
    """The same of the encoder: 1 is what the field's papers say. AdaptSegNet's and BDL's code lists nearly all of the
    encoder's parameters three times in one group, so that SGD steps them as often an iteration: 3 comes near that."""
    frame: FrameName = "caffe_bgr"
    """As in the base; the field's frame."""
    norm: NormPolicy = "frozen_affine"
    """As in the base; what the field's code does."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(encoder="tu-test_resnet", multi_level=True)


class DeepLabV2(AbstractSegmenter):
    """A dilated encoder under one or two atrous pyramids."""

    Config = DeepLabV2Config

    def __init__(self, config: DeepLabV2Config, num_classes: int) -> None:
        self.config = config
        body = deeplabv2.make_deeplabv2(
            config.encoder,
            config.output_stride,
            num_classes,
            aspp_branches=config.aspp_branches,
            multi_level=config.multi_level,
        )
        self.network = segmenter.SegmenterNetwork(body, frame=config.frame, norm=config.norm, align_corners=True)
        if config.pretrained is not None:
            self.loaded = pretrained.load_weights(self.network, config.pretrained, encoder_only=True)

    @classmethod
    def heads(cls, config: DeepLabV2Config) -> tuple[str, ...]:
        """`main`, and `aux` where multi-level."""
        return ("main", "aux") if config.multi_level else ("main",)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The encoder at `encoder_lr_multiplier` times the base rate, the heads at `head_lr_multiplier` times it."""
        config = self.config
        return encoder_and_heads(
            self.network, config.head_lr_multiplier, encoder_lr_multiplier=config.encoder_lr_multiplier
        )
