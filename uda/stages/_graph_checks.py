"""What can be asked of a graph of stages and cannot work: a place, a device, a file that no step makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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


def check_devices(devices: Mapping[str, str]) -> None:
    """Refuse a CUDA device that this machine has not, and steps on the CPU beside steps on a GPU.

    Accelerate gives a process one of the two kinds, for all of its steps. Torch is loaded only where CUDA is asked for,
    or the CPU beside `auto`.

    Args:
        devices: of each step that has a network, by its name.

    Raises:
        ConfigError: there is no such device, or both kinds are asked for.
    """
    asked: dict[str, str] = {}
    for step, device in devices.items():
        asked.setdefault(device, step)
    for device in sorted(asked):
        _check_device(device)
    if "cpu" not in asked:
        return
    for device, step in asked.items():
        if device.startswith("cuda") or (device == "auto" and _sees_gpu()):
            what = f"{asked['cpu']} is to run on the CPU and {step} on a GPU ({device}), and a run has one of the two"
            raise ConfigError(what, "runtime.device", "leave it out, and give all steps one by --device")


def _check_device(device: str) -> None:
    if not device.startswith("cuda"):
        return
    import torch

    count = torch.cuda.device_count()
    if count <= int(device.partition(":")[2] or 0):
        what = f"there are {count} CUDA devices, numbered from 0" if count else "no CUDA device is available"
        raise ConfigError(what, f"device {device}", "use --device cpu or auto")


def _sees_gpu() -> bool:
    """Whether `auto` means a GPU here."""
    import torch

    return torch.cuda.is_available()


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


def together(mistakes: Sequence[ConfigError]) -> ConfigError:
    """One error about all mistakes, as `validate` words several; what several steps have in common is told once."""
    lines = dict.fromkeys(line for mistake in mistakes for line in str(mistake).split(" | "))
    text = " | ".join(lines)
    return mistakes[0] if text == str(mistakes[0]) else ConfigError(text)
