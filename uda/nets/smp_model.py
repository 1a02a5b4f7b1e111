"""Architectures of segmentation-models-pytorch by name, from random weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from uda.core.errors import ConfigError, nearest
from uda.nets.encoders import check_encoder, told_as_config_error


class SmpModel(nn.Module):
    """A model of segmentation-models-pytorch; give it to a `SegmenterNetwork`.

    Args:
        model: images_BCHW -> logits_BNHW.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """{"main": logits_BNHW}."""
        return {"main": self.model(images_BCHW)}


def make_smp(
    architecture: str, encoder: str, num_classes: int, *, encoder_depth: int | None, options: Mapping[str, Any]
) -> SmpModel:
    """Build a model; nothing is downloaded.

    Args:
        architecture: `Unet`, `FPN`, `DeepLabV3Plus`, ...; upper and lower case are the same.
        encoder: of smp, or `tu-` and a name of timm.
        num_classes: channels of the logits.
        encoder_depth: stages of the encoder; None for the architecture's own.
        options: further arguments of the architecture's class.

    Raises:
        ConfigError: unknown names, or values that cannot be built.
    """
    known = smp.MODEL_ARCHITECTURES_MAPPING
    if architecture.lower() not in known:
        hint = nearest(architecture, (cls.__name__ for cls in known.values()))
        raise ConfigError(f"unknown architecture '{architecture}'", "architecture", hint)
    check_encoder(encoder)
    # An unknown option would end in the encoder's **kwargs, which takes anything without a word.
    arguments = set(inspect.signature(known[architecture.lower()]).parameters) - {"kwargs"}
    for name in options:
        if name not in arguments:
            raise ConfigError(f"{architecture} has no option '{name}'", "options", nearest(name, arguments))
    depth = {} if encoder_depth is None else {"encoder_depth": encoder_depth}
    with told_as_config_error(f"{architecture} on {encoder}"):
        model = smp.create_model(
            architecture, encoder, encoder_weights=None, classes=num_classes, **depth, **dict(options)
        )
    return SmpModel(model)
