"""First weights of convolutions and linear layers, by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

InitKind = Literal["kaiming", "normal", "xavier"]


def initialise(network: nn.Module, kind: InitKind, gain: float = 0.02) -> nn.Module:
    """Draw the weights of all convolutions and linear layers anew and set their biases to 0.

    Do it before spectral normalisation: its power iteration starts from the weights it finds.

    Args:
        network: changed in place and returned.
        kind: `kaiming` (He et al. 2015, fan-in; MUNIT's generators), `normal` (deviation 0.02; DCGAN, MUNIT's
            discriminators) or `xavier` (SPADE).
        gain: of `xavier` (SPADE: 0.02).
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        if kind == "kaiming":
            nn.init.kaiming_normal_(module.weight)
        elif kind == "normal":
            nn.init.normal_(module.weight, 0.0, 0.02)
        else:
            nn.init.xavier_normal_(module.weight, gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
