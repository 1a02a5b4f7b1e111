"""Any architecture of segmentation-models-pytorch (Unet, FPN, DeepLabV3Plus, UPerNet, Segformer, ...) by its name.

Nothing is downloaded: encoders start from random weights or from a file (`pretrained`), for example torchvision's
ImageNet weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, field_validator

from uda.core.errors import nearest
from uda.core.lazy import lazy_import
from uda.segmenters._groups import encoder_and_heads
from uda.segmenters.base import AbstractSegmenter, ParameterGroup, SegmenterConfigBase

if TYPE_CHECKING:
    import segmentation_models_pytorch as smp

    from uda.nets import pretrained, segmenter, smp_model
else:
    smp = lazy_import("segmentation_models_pytorch")
    pretrained, segmenter = lazy_import("uda.nets.pretrained"), lazy_import("uda.nets.segmenter")
    smp_model = lazy_import("uda.nets.smp_model")

_OWN = {
    "encoder_name": "set encoder",
    "encoder_depth": "set encoder_depth",
    "encoder_weights": "set pretrained to a file",
    "in_channels": "images have 3 channels",
    "classes": "the label space says how many",
    "activation": "logits are raw",
    "aux_params": "there is no image label to learn",
}


_ARCHITECTURES = (
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "PAN",
    "UPerNet",
    "Segformer",
    "DPT",
)
"""Those of segmentation-models-pytorch 0.6, so that settings are checked without it."""
_POOLED = ("deeplabv3", "deeplabv3plus", "pan", "upernet")
"""Architectures with BatchNorm behind a global pooling."""


class SmpConfig(SegmenterConfigBase):
    """Settings of `smp`."""

    name: str = "smp"
    """Name of the method."""
    architecture: str = "FPN"
    """Class of segmentation-models-pytorch; upper and lower case are the same."""
    encoder: str = "resnet18"
    """Encoder of segmentation-models-pytorch, or `tu-` and one of timm."""
    encoder_depth: int | None = Field(default=None, ge=3, le=5)
    """Stages of the encoder; None for the architecture's own."""
    options: Mapping[str, Any] = {}
    """Further arguments of the architecture's class, as in its documentation."""
    head_lr_multiplier: float = Field(default=1.0, gt=0)
    """Learning rate of decoder and head over that of the encoder; about 10 on pretrained encoders."""

    @field_validator("architecture")
    @classmethod
    def _exists(cls, architecture: str) -> str:
        name = architecture.lower()
        # What is not known may be of a later version, which is loaded only then.
        if name not in map(str.lower, _ARCHITECTURES) and name not in smp.MODEL_ARCHITECTURES_MAPPING:
            raise ValueError(f"unknown architecture '{architecture}'; {nearest(architecture, _ARCHITECTURES)}")
        return architecture

    @field_validator("options")
    @classmethod
    def _leaves_the_rest_alone(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in options:
            if name in _OWN:
                raise ValueError(f"{name} is no option here: {_OWN[name]}")
        return options

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        channels = {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}
        return cls(encoder="tu-test_resnet", options=channels)


class Smp(AbstractSegmenter):
    """An encoder, a decoder and a head of segmentation-models-pytorch."""

    Config = SmpConfig
    size_multiple = 32

    def __init__(self, config: SmpConfig, num_classes: int) -> None:
        self.config = config
        body = smp_model.make_smp(
            config.architecture,
            config.encoder,
            num_classes,
            encoder_depth=config.encoder_depth,
            options=config.options,
        )
        self.network = segmenter.SegmenterNetwork(
            body, frame=config.frame, norm=config.norm, multiple=self.size_multiple
        )
        if config.pretrained is not None:
            self.loaded = pretrained.load_weights(self.network, config.pretrained, encoder_only=True)

    @classmethod
    def least_share(cls, config: SmpConfig) -> int:
        """2 for pyramids with a globally pooled branch."""
        return 2 if config.norm != "frozen" and config.architecture.lower() in _POOLED else 1

    def parameter_groups(self) -> list[ParameterGroup]:
        """The encoder at the base rate, decoder and head at `head_lr_multiplier` times it."""
        return encoder_and_heads(self.network, self.config.head_lr_multiplier)
