"""Settings that nothing will read: those that options of a command give are refused, a recipe's are left alone.

A recipe is written for all uses of its stage. Who types a setting expects it to do something now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from uda.core.config import Config, Layers, away_from_default
from uda.core.errors import ConfigError
from uda.core.launch import processes
from uda.stages._graph_checks import together
from uda.stages.base import Stage

OF_FITS = ("runtime.checkpoint_seconds", "runtime.tensorboard")
"""Settings of the machine that fits alone read."""
NO_FIT = dict.fromkeys(OF_FITS, "nothing is fitted")
"""The same with why, for a stage without a fit."""
NO_CACHE = {"runtime.cache_mb": "no image is read twice"}
"""The same for a stage that needs no cache."""


def refuse_unread(stage: Stage, config: Config, inputs: Collection[str], layers: Layers) -> None:
    """Refuse options of a stage's command that nothing will read.

    Args:
        stage: whose command it is.
        config: its settings.
        inputs: names of what it is given.
        layers: where the settings come from.

    Raises:
        ConfigError: some are set, and to other than their defaults.
    """
    whys = {} if stage.idle is None else dict(stage.idle(config))
    if stage.unread is not None:
        whys = {**stage.unread(config, inputs), **whys}
    refuse_options(config, whys, layers)


def refuse_options(config: Config, whys: Mapping[str, str], layers: Layers) -> None:
    """The same of any settings.

    Args:
        config: the settings.
        whys: settings and groups that nothing reads, each with why.
        layers: where the settings come from.

    Raises:
        ConfigError: as `refuse_unread`.
    """
    told: dict[str, list[str]] = {}
    for key, why in whys.items():
        away = (path for path in away_from_default(config, [key]) if path != _DEVICE or processes() == 1)
        origins = (layers.origin(path) for path in away)
        told.setdefault(why, []).extend(origin for origin in origins if origin.startswith("--"))
    mistakes = [_mistake(why, dict.fromkeys(options)) for why, options in told.items() if options]
    if mistakes:
        raise together(mistakes)


_DEVICE = ("runtime", "device")
"""By which the processes of a launch wait for each other, whatever the stage."""


def _mistake(why: str, options: Collection[str]) -> ConfigError:
    return ConfigError(why, ", ".join(options), "leave it out" if len(options) == 1 else "leave them out")
