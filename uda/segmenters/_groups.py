"""Parameters of a segmenter by the part of the network that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uda.core.training import ParameterGroup

if TYPE_CHECKING:
    from torch import nn


def encoder_and_heads(network: nn.Module, head_lr_multiplier: float) -> list[ParameterGroup]:
    """Two groups: the encoder at the base learning rate, everything else at a multiple; frozen parameters in neither.

    Args:
        network: its encoder's parameters have a part `encoder` in their names.
        head_lr_multiplier: of the second group.
    """
    trained = [
        (name.split("."), parameter) for name, parameter in network.named_parameters() if parameter.requires_grad
    ]
    encoder = [parameter for parts, parameter in trained if "encoder" in parts]
    heads = [parameter for parts, parameter in trained if "encoder" not in parts]
    return [ParameterGroup(encoder), ParameterGroup(heads, lr_multiplier=head_lr_multiplier)]
