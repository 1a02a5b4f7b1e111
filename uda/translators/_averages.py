"""Averaged copies of networks, kept beside them, that render in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING

from uda.core.lazy import lazy_import
from uda.translators.base import AVERAGED

if TYPE_CHECKING:
    from torch import nn

    from uda.nets import ema
else:
    ema = lazy_import("uda.nets.ema")


def add_averages(networks: MutableMapping[str, nn.Module], names: Iterable[str]) -> None:
    """Put an averaged copy beside each named network."""
    networks.update({AVERAGED + name: ema.averaged_copy(networks[name]) for name in names})


def update_averages(networks: Mapping[str, nn.Module], decay: float, step: int) -> None:
    """Move the averaged copies after step `step` (from 0); see `uda.nets.ema.ramped` for the first steps."""
    for name, network in networks.items():
        if name.startswith(AVERAGED):
            ema.update_average(network, networks[name.removeprefix(AVERAGED)], ema.ramped(decay, step))
