"""Parameters of a segmenter by the part of the network that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uda.core.training import ParameterGroup

if TYPE_CHECKING:
    from torch import nn


def encoder_and_heads(
    network: nn.Module, head_lr_multiplier: float, *, encoder_lr_multiplier: float = 1.0
) -> list[ParameterGroup]:
    """Two groups, each at a multiple of the base learning rate: the encoder and all else; frozen parameters in neither.

    Args:
        network: its encoder's parameters have a part `encoder` in their names.
        head_lr_multiplier: of the second group.
        encoder_lr_multiplier: of the first.
    """
    trained = [
        (name.split("."), parameter) for name, parameter in network.named_parameters() if parameter.requires_grad
    ]
    encoder = [parameter for parts, parameter in trained if "encoder" in parts]
    heads = [parameter for parts, parameter in trained if "encoder" not in parts]
    return [
        ParameterGroup(encoder, lr_multiplier=encoder_lr_multiplier),
        ParameterGroup(heads, lr_multiplier=head_lr_multiplier),
    ]
