"""What can be asked of a graph of stages and cannot work: a place, a device, a file that no step makes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from uda.core import registry
from uda.core.errors import ConfigError, nearest
from uda.core.manifest import MANIFEST, owning_manifest
from uda.stages.base import Stage

_WEIGHTS = "model.json"
"""A stage that makes it leaves weights beside it; other stages take its directory."""


def check_out(out: Path) -> None:
    """Refuse a directory for the results of several steps that is a file, below one, or a step's own.

    Raises:
        ConfigError: it is.
    """
    for place in (out, *out.parents):
        if place.is_file():
            raise ConfigError("is a file, not a folder", place, "choose another --out")
    for folder in (out, out.parent):
        if folder.is_dir() and (owner := owning_manifest(folder)) is not None:
            raise ConfigError(f"holds the results of '{owner.stage}'", folder, "choose another --out")


_REPORTS = ("report.json", "iou.csv", "report.html")
"""Files that a run writes beside its steps' directories."""


def check_reports(out: Path) -> None:
    """Refuse a directory whose reports would be replaced and are no run's: no step lies below.

    Raises:
        ConfigError: there are such.
    """
    there = [name for name in _REPORTS if (out / name).exists()]
    if there and not any(any(out.glob(f"{below}{MANIFEST}")) for below in ("*/", "*/*/", "*/*/*/")):
        raise ConfigError(f"holds {' and '.join(there)}, and no step of a run", out, "choose another --out")


def check_device(device: str) -> None:
    """Refuse a CUDA device that this machine has not; torch is loaded only where one is asked for.

    Raises:
        ConfigError: there is no such device.
    """
    if not device.startswith("cuda"):
        return
    import torch

    count = torch.cuda.device_count()
    if count <= int(device.partition(":")[2] or 0):
        what = f"there are {count} CUDA devices, numbered from 0" if count else "no CUDA device is available"
        raise ConfigError(what, f"device {device}", "use --device cpu or auto")


def check_made(text: str, maker: Stage, taker: Stage, key: str, where: str) -> None:
    """Refuse an input that a step does not take, or that names what the step before it does not make.

    Args:
        text: the input as it is written: a step, or a step and what lies in its directory.
        maker: that step's stage.
        taker: the stage whose input it is.
        key: the input's name.
        where: said in the error.

    Raises:
        ConfigError: what can be named instead is told.
    """
    step, _, rest = text.partition("/")
    if key.partition(".")[0] not in (known := (*taker.required, *taker.optional)):
        raise ConfigError(f"{taker.name} takes no input {key}", where, nearest(key, known))
    manifest = key.partition(".")[0] in taker.manifests
    made = [name for name in maker.makes if name.endswith(".csv") == manifest]
    if rest.partition("/")[0] in made if rest else not manifest and (key in taker.foreign or _WEIGHTS in made):
        return
    if not rest and not manifest:
        raise ConfigError(
            f"input {key}: '{text}' leaves no weights ({maker.name})", where, "name a step that is fitted"
        )
    what = f"input {key}: '{text}' is no manifest" if manifest else f"input {key}: no '{rest}' is left by {step}"
    names = [f"{step}/{name}" for name in made]
    if not names:
        raise ConfigError(f"{what}, and {maker.name} makes none", where, "name another step")
    raise ConfigError(what, where, f"write {names[0]}" if len(names) == 1 or not rest else nearest(text, names))


def wants_weights(config: Any, inputs: Collection[str]) -> bool:
    """Whether a segmenter starts from random weights though its recipe, or its frozen BatchNorm, is for others."""
    segmenter = getattr(config, "segmenter", None)
    if segmenter is None or getattr(segmenter, "pretrained", None) is not None or "init" in inputs:
        return False
    method = registry.load("segmenters", segmenter.name)
    return getattr(segmenter, "norm", "trained") != "trained" or getattr(method, "wants_weights", False)
