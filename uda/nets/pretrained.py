"""Other people's weights: read safely, matched by key and shape, and never silently left out.

A key's leading parts that only say which wrapper a network sat in (`module.`, `Scale.` of the field's first
DeepLab file, `backbone.`, `encoder.`) are taken off on both sides, so plain snapshots of AdaptSegNet and BDL, ImageNet
weights of torchvision and timm, and files of this library all find their places.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from uda.core.errors import ConfigError, DataError

_WRAPPERS = {"module", "Scale", "backbone", "network", "body", "model", "encoder"}
_HOLDERS = ("state_dict", "model_state", "model_state_dict", "model", "net", "ResNet101")
"""Where checkpoints keep their tensors (ProDA: `ResNet101` and in it `model_state`)."""
_VGG_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_VGG = {
    f"conv{stage}_{number}": f"features.{index}"
    for stage, indices in enumerate(_VGG_STAGES, 1)
    for number, index in enumerate(indices, 1)
}
"""Caffe's names (BDL's FCN8s) and torchvision's."""
_RENAMED = (
    # VGG's linear layers, whose places differ by one in older files, are FCN's first 1x1 convolutions.
    (re.compile(r"^classifier\.[01]\."), "fc6."),
    (re.compile(r"^classifier\.[34]\."), "fc7."),
    (re.compile(r"^(conv\d_\d)(?=\.)"), lambda match: _VGG.get(match[1], match[1])),
)
_MEND = "give a .safetensors file, or what torch.save(network.state_dict(), FILE) has written"
_ENOUGH = 0.8
"""Part of the encoder that a file must fill: VGG without its linear layers does, a ResNet-50 in a ResNet-101 not."""


@dataclass(frozen=True)
class Loaded:
    """What became of a weights file; as text it is one line for people.

    Attributes:
        file: the weights.
        loaded: tensors that found their place.
        skipped: tensors of the file that have none (another head, another shape).
        missing: tensors of the network that stay as they were.
    """

    file: Path
    loaded: int
    skipped: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def missing_heads(self) -> tuple[str, ...]:
        """Those of the missing that are not the encoder's: decoder and heads."""
        return tuple(key for key in self.missing if not _in_encoder(key))

    def __str__(self) -> str:
        return (
            f"{self.file.name}: {self.loaded} tensors loaded, {_told('skipped', self.skipped)}, "
            f"{_told('not in the file', self.missing)}"
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a PyTorch checkpoint, on the CPU; no code in the file is run.

    Raises:
        DataError: missing, no file of tensors, damaged, not readable without running code, or without tensors.
    """
    if not path.is_file():
        raise DataError("no such weights file", path, "give the path of a .pth, .pt or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)  # type: ignore[no-any-return]  # untyped in safetensors
        with warnings.catch_warnings(action="ignore"):  # of TorchScript, which is refused below
            found = _tensors(torch.load(path, map_location="cpu", weights_only=True))
    except OSError as error:
        raise DataError(f"cannot be opened ({error.strerror or error})", path, "see that it may be read") from error
    except Exception as error:  # any at all, IndexError and struct.error too, by what stands in a file of another kind
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise
        raise DataError(_not_tensors(error), path, _MEND) from error
    if not found:
        raise DataError("holds no tensors by name", path, _MEND)
    return found


def _not_tensors(error: Exception) -> str:
    """What a file is that is no state dict; torch's own words are of its versions, and of options that run its code."""
    if match := re.search(r"Unsupported global: GLOBAL ([A-Za-z_][\w.]*) was not", str(error)):
        return f"holds {match[1]} and not tensors alone, and no code of a file is run"
    if "TorchScript" in str(error):
        return "holds a program (TorchScript) and not tensors alone, and no code of a file is run"
    return "is no file of tensors (a state dict), or a damaged one"


def load_weights(network: nn.Module, path: Path, *, encoder_only: bool = False) -> Loaded:
    """Copy the tensors of a file into the network where name and shape fit.

    Args:
        network: changed in place.
        path: see `read_tensors`.
        encoder_only: leave decoder and heads alone.

    Raises:
        ConfigError: too little of the encoder is in the file; nothing was changed.
        DataError: the file cannot be read.
    """
    tensors = read_tensors(path)
    places = {key: value for key, value in network.state_dict().items() if _in_encoder(key) or not encoder_only}
    by_short = {_short(key): key for key in places}
    renamed = {name: _renamed(_short(name), tensors) for name in tensors}
    fitting: dict[str, Tensor] = {}
    skipped = []
    for name, tensor in tensors.items():
        key = name if name in places else by_short.get(renamed[name])
        fitted = None if key is None else _fitted(tensor, places[key])
        if key is None or fitted is None:
            skipped.append(name)
        else:
            fitting[key] = fitted
    missing = tuple(key for key in places if key not in fitting and not key.endswith("num_batches_tracked"))
    _check_enough(places, missing, skipped, path)
    with torch.no_grad():
        for key, tensor in fitting.items():
            places[key].copy_(tensor)
    return Loaded(path, len(fitting), tuple(skipped), missing)


def _tensors(value: Any) -> dict[str, Tensor]:
    """The first mapping of names to tensors in a checkpoint, well-known holders first."""
    if not isinstance(value, Mapping):
        return {}
    held = [name for name in _HOLDERS if isinstance(value.get(name), Mapping)]
    if inner := _first_tensors(value[name] for name in held):
        return inner
    own = {name: item for name, item in value.items() if isinstance(name, str) and isinstance(item, Tensor)}
    if own:
        return own
    return _first_tensors(value[name] for name in value if name not in held and "optim" not in str(name))


def _first_tensors(values: Iterable[Any]) -> dict[str, Tensor]:
    return next((inner for one in values if (inner := _tensors(one))), {})


def _in_encoder(key: str) -> bool:
    return "encoder" in key.split(".")


def _short(key: str) -> str:
    """The key without the leading names of wrappers."""
    parts = key.split(".")
    while len(parts) > 1 and parts[0] in _WRAPPERS:
        parts.pop(0)
    return ".".join(parts)


def _renamed(short: str, names: Iterable[str]) -> str:
    """A public file's name in this library's networks."""
    if match := re.match(r"layer([56])\.conv2d_list\.(.*)", short):
        # AdaptSegNet with two levels: layer5 on the third stage, layer6 on the fourth; else layer5 on the fourth.
        two_levels = any(_short(name).startswith("layer6.") for name in names)
        return f"heads.{'aux' if two_levels and match[1] == '5' else 'main'}.branches.{match[2]}"
    for pattern, replacement in _RENAMED:
        short = pattern.sub(replacement, short)
    return short


def _fitted(tensor: Tensor, place: Tensor) -> Tensor | None:
    """The tensor in the shape of its place: the same, or a linear layer's weights as a convolution's."""
    if tensor.shape == place.shape:
        return tensor
    linear = tensor.dim() == 2 and place.dim() == 4 and tensor.numel() == place.numel()
    return tensor.reshape(place.shape) if linear and tensor.shape[0] == place.shape[0] else None


def _check_enough(places: Iterable[str], missing: Iterable[str], skipped: list[str], path: Path) -> None:
    encoder = [key for key in places if _in_encoder(key) and not key.endswith("num_batches_tracked")]
    absent = [key for key in missing if _in_encoder(key)]
    filled = len(encoder) - len(absent)
    if encoder and filled < _ENOUGH * len(encoder):
        named = (
            f"; the file has '{skipped[0]}', the network '{absent[0]}'" if skipped else f"; '{absent[0]}' is missing"
        )
        raise ConfigError(
            f"fits only {filled} of the encoder's {len(encoder)} tensors{named}", path, "give weights of this encoder"
        )


def _told(what: str, names: tuple[str, ...]) -> str:
    if not names:
        return f"0 {what}"
    return f"{len(names)} {what} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
