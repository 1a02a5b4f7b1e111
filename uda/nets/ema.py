"""Averaged weights: an exponential moving average of a network, given as a decay."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def averaged_copy(network: nn.Module) -> nn.Module:
    """A frozen copy to hold the average, starting at the network's weights."""
    return copy.deepcopy(network).requires_grad_(False)


def ramped(decay: float, step: int) -> float:
    """The decay at `step` (from 0): a plain mean of all weights so far until that window is the longer one.

    It keeps the random first weights out of the average (mean teacher, Tarvainen & Valpola 2017).
    """
    return min(decay, 1 - 1 / (step + 1))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average: `decay * average + (1 - decay) * network`; buffers are copied as they are."""
    means: list[Tensor] = list(average.parameters())
    values: list[Tensor] = list(network.parameters())
    if means:
        torch._foreach_lerp_(means, values, 1 - decay)
    for kept, new in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(new)
