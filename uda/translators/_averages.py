"""Averaged copies of networks, kept beside them, that render in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from uda.core.lazy import lazy_import
from uda.translators.base import AVERAGED, AbstractTranslator

if TYPE_CHECKING:
    from torch import nn

    from uda.data.batch import Context
    from uda.nets import ema
else:
    ema = lazy_import("uda.nets.ema")


class AbstractAveragedTranslator(AbstractTranslator):
    """What counts its steps, and keeps averaged copies of networks where the settings' `ema` says so."""

    _steps: int = 0

    def after_step(self, context: Context) -> None:
        """Update the averaged weights, and count the step."""
        if self.config.ema is not None:
            update_averages(self.networks, self.config.ema, self._steps)
        self._steps += 1

    def extra_state(self) -> dict[str, Any]:
        """How many steps there were."""
        return {"steps": self._steps}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the counter."""
        self._steps = int(state["steps"])


def add_averages(networks: MutableMapping[str, nn.Module], names: Iterable[str]) -> None:
    """Put an averaged copy beside each named network."""
    networks.update({AVERAGED + name: ema.averaged_copy(networks[name]) for name in names})


def update_averages(networks: Mapping[str, nn.Module], decay: float, step: int) -> None:
    """Move the averaged copies after step `step` (from 0); see `uda.nets.ema.ramped` for the first steps."""
    for name, network in networks.items():
        if name.startswith(AVERAGED):
            ema.update_average(network, networks[name.removeprefix(AVERAGED)], ema.ramped(decay, step))
