"""The stages by name, each loaded when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from uda.core.errors import ConfigError, nearest
from uda.stages.base import Stage

_MODULES: Mapping[str, str] = {
    "minicity": "minicity",
    "prepare": "prepare",
    "translate": "translate",
    "segment": "segment",
    "pseudo-label": "pseudo_label",
    "evaluate": "evaluate",
    "quality": "quality",
}


def stage_names() -> list[str]:
    """Names of all stages, in the order of the pipeline."""
    return list(_MODULES)


def get_stage(name: str) -> Stage:
    """The stage `name`.

    Raises:
        ConfigError: no such stage; the nearest name is given.
    """
    if name not in _MODULES:
        raise ConfigError(f"unknown stage '{name}'", None, nearest(name, _MODULES))
    stage: Stage = importlib.import_module(f"uda.stages.{_MODULES[name]}").STAGE
    return stage
