"""FCN-8s on VGG-16 (Long et al. 2015) as BDL trains it: three scores that start at zero, biases at twice the rate.

Differences to BDL's code: from random weights VGG is drawn by He's rule (zeros would never learn); its initial weights
were already trained on synthetic images, here they are whatever `pretrained` or `--init` names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from uda.core.lazy import lazy_import
from uda.segmenters.base import AbstractSegmenter, FrameName, ParameterGroup, SegmenterConfigBase

if TYPE_CHECKING:
    from uda.nets import fcn8s, pretrained, segmenter
else:
    fcn8s, pretrained = lazy_import("uda.nets.fcn8s"), lazy_import("uda.nets.pretrained")
    segmenter = lazy_import("uda.nets.segmenter")


class Fcn8sConfig(SegmenterConfigBase):
    """Settings of `fcn8s`; defaults are BDL's."""

    name: str = "fcn8s"
    """Name of the method."""
    width: float = Field(default=1.0, gt=0)
    """Multiplier of the channels of VGG's convolutions; pretrained weights want 1."""
    fc_width: int = Field(default=4096, ge=1)
    """Channels of fc6 and fc7; pretrained weights want 4096."""
    bias_lr_multiplier: float = Field(default=2.0, gt=0)
    """Learning rate of biases over that of weights (Caffe's habit, BDL: 2)."""
    frame: FrameName = "caffe_bgr"
    """As in the base; the field's frame."""
    norm: Literal["trained"] = "trained"
    """VGG-16 has no BatchNorm to freeze."""

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(width=0.0625, fc_width=16)


class Fcn8s(AbstractSegmenter):
    """VGG-16 made convolutional, with skip connections at strides 8 and 16."""

    Config = Fcn8sConfig
    wants_weights = True

    def __init__(self, config: Fcn8sConfig, num_classes: int) -> None:
        self.config = config
        body = fcn8s.Fcn8s(num_classes, config.width, config.fc_width)
        self.network = segmenter.SegmenterNetwork(body, frame=config.frame, norm=config.norm, align_corners=True)
        if config.pretrained is not None:
            self.loaded = pretrained.load_weights(self.network, config.pretrained, encoder_only=True)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights at the base rate, biases at `bias_lr_multiplier` times it; the bilinear upsamplings in neither."""
        trained = [(name, parameter) for name, parameter in self.network.named_parameters() if parameter.requires_grad]
        return [
            ParameterGroup([parameter for name, parameter in trained if not name.endswith("bias")]),
            ParameterGroup(
                [parameter for name, parameter in trained if name.endswith("bias")],
                lr_multiplier=self.config.bias_lr_multiplier,
            ),
        ]
