"""A segmenter on disk: `segmenter.safetensors` (all tensors) and `model.json` (what it is, and for which classes)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from uda.core import registry
from uda.core.errors import ConfigError, DataError, UdaError
from uda.core.inputs import step_of_run
from uda.core.lazy import lazy_import

if TYPE_CHECKING:
    import torch
    from safetensors import torch as safetensors

    from uda.nets import pretrained
    from uda.nets.pretrained import Loaded
    from uda.nets.segmenter import SegmenterNetwork
    from uda.segmenters.base import AbstractSegmenter
else:
    torch, safetensors = lazy_import("torch"), lazy_import("safetensors.torch")
    pretrained = lazy_import("uda.nets.pretrained")

WEIGHTS = "segmenter.safetensors"
DESCRIPTION = "model.json"
_MEND = "give the directory that `uda segment` wrote"


def save_segmenter(
    directory: Path,
    segmenter: AbstractSegmenter,
    class_names: Sequence[str],
    space_name: str,
    colors: Sequence[tuple[int, int, int]] | None = None,
) -> None:
    """Write both files.

    Args:
        directory: must exist.
        segmenter: on any device.
        class_names: in index order.
        space_name: label space, a shipped name or a path, as the settings have it.
        colors: RGB of each class, so that pictures need no label space; None leaves them out.
    """
    network = segmenter.network
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    safetensors.save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
    description = {
        "config": segmenter.config.model_dump(mode="json"),
        "classes": list(class_names),
        "label_space": space_name,
        **({} if colors is None else {"colors": [list(color) for color in colors]}),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    (directory / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def describe(directory: Path) -> dict[str, Any]:
    """What `model.json` holds: config, classes, label_space, parameters, and colors where they were given.

    Raises:
        DataError: missing, or not written by `save_segmenter`.
    """
    file = directory / DESCRIPTION
    try:
        description = json.loads(file.read_text())
    except OSError as error:
        step = step_of_run(directory, "segment")
        mend = _MEND if step is None else f"give {step}"
        raise DataError(f"holds no segmenter ({DESCRIPTION} is missing)", directory, mend) from error
    except ValueError as error:
        raise DataError("is no JSON", file, _MEND) from error
    wanted = {"config", "classes", "label_space"}
    if not isinstance(description, dict) or not wanted <= set(description):
        raise DataError("describes no segmenter", file, _MEND)
    return description


def check_segmenter(directory: Path, *, expected_classes: Sequence[str] | None) -> dict[str, Any]:
    """What `describe` tells, once it is known that the weights are there and of which classes they are.

    Raises:
        ConfigError: trained for other classes.
        DataError: a file is missing, or `model.json` describes no segmenter.
    """
    description = describe(directory)
    classes = list(description["classes"])
    if expected_classes is not None and classes != list(expected_classes):
        mend = f"use the label space it has: --set label_space={description['label_space']}"
        raise ConfigError(_difference(classes, list(expected_classes)), directory, mend)
    if not (directory / WEIGHTS).is_file():
        raise DataError(f"holds no weights ({WEIGHTS} is missing)", directory, _MEND)
    return description


def check_input(inputs: Mapping[str, Path], name: str, expected_classes: Sequence[str]) -> None:
    """`check_segmenter` of an input, before anything runs; in a pipeline it may be made later, and is not there yet."""
    if name in inputs and inputs[name].exists():
        check_segmenter(inputs[name], expected_classes=expected_classes)


def check_init(path: Path, expected_classes: Sequence[str] | None) -> None:
    """See that a network may start from these weights, as far as that is told without torch.

    Args:
        path: as of `initialize`; in a pipeline it may be made later, and is not there yet.
        expected_classes: likewise.

    Raises:
        ConfigError: the directory's segmenter was trained for other classes.
        DataError: the directory holds no segmenter, or the file no tensors.
    """
    if path.is_file() and not _may_hold_tensors(path):
        mend = "give a directory that `uda segment` wrote, or a file as .pth, .pt or .safetensors are"
        raise DataError("is no file of tensors (a state dict), or a damaged one", path, mend)
    if not path.is_dir():
        return
    classes = list(describe(path)["classes"])
    if expected_classes is not None and classes != list(expected_classes):
        mend = f"use the label space it has, or give its {WEIGHTS} to take what fits"
        raise ConfigError(_difference(classes, list(expected_classes)), path, mend)
    if not (path / WEIGHTS).is_file():
        raise DataError(f"holds no weights ({WEIGHTS} is missing)", path, _MEND)


def _may_hold_tensors(file: Path) -> bool:
    """Whether a file begins as its kind does: by their content, since `.bin`, `.ckpt` and `.tar` are read as well."""
    try:
        with file.open("rb") as opened:
            start = opened.read(512)
    except OSError:  # told when it is read
        return True
    if file.suffix == ".safetensors":
        return start[8:9] == b"{"  # behind its length
    # What torch.save writes, wrote before 1.6, and wrote in the beginning.
    return start.startswith((b"PK\x03\x04", b"\x80")) or start[257:262] == b"ustar"


def load_segmenter(directory: Path, *, expected_classes: Sequence[str] | None) -> AbstractSegmenter:
    """Build the segmenter and fill it; each tensor must be there and fit. Draws no random numbers of the run.

    Args:
        directory: what `save_segmenter` wrote to.
        expected_classes: class names in index order that it must have been trained for; None takes any.

    Raises:
        ConfigError: trained for other classes.
        DataError: a file is missing or does not fit the other.
    """
    description, file = check_segmenter(directory, expected_classes=expected_classes), directory / WEIGHTS
    segmenter = _build(description["config"], len(description["classes"]), directory / DESCRIPTION)
    try:
        segmenter.network.load_state_dict(pretrained.read_tensors(file))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"does not fit {DESCRIPTION} beside it ({reason})", file, _MEND) from error
    return segmenter


def initialize(network: SegmenterNetwork, path: Path, *, expected_classes: Sequence[str] | None = None) -> Loaded:
    """Fill a network from other people's weights, or from a segmenter of this library; see `uda.nets.pretrained`.

    Args:
        network: changed in place, heads too where they fit.
        path: a .safetensors, .pth or .pt file, or the directory of a segmenter.
        expected_classes: class names in index order that a segmenter's directory must have been trained for; weights
            in a file of their own name no classes, so of those the heads are taken where their shapes fit.

    Returns:
        What was loaded, skipped and missing; as text, one line for people.

    Raises:
        ConfigError: the weights are those of another network.
        DataError: the file is missing or cannot be read.
    """
    check_init(path, expected_classes)
    return pretrained.load_weights(network, path / WEIGHTS if path.is_dir() else path)


def _build(config: dict[str, Any], num_classes: int, file: Path) -> AbstractSegmenter:
    try:
        method = registry.load("segmenters", config["name"])
        # The encoder's first weights are in the saved ones; their file need not be here.
        settings = method.Config.model_validate({**config, "pretrained": None})
        with torch.random.fork_rng(devices=[]):
            segmenter: AbstractSegmenter = method(settings, num_classes)
    except (KeyError, TypeError, ValidationError, UdaError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"its config cannot be used here ({reason})", file, "use the version that wrote it") from error
    return segmenter


def _difference(found: list[str], expected: list[str]) -> str:
    if len(found) != len(expected):
        here = f"the {len(expected)} here ({_some(expected)})"
        return f"was trained for {len(found)} classes ({_some(found)}), not for {here}"
    index = next(i for i, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other)
    return f"was trained for other classes: number {index} is '{found[index]}', here '{expected[index]}'"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
