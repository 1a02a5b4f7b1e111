"""What there is: methods and shipped YAML files, each with one sentence, without importing torch."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from uda.core import registry, resources
from uda.core.errors import ConfigError, nearest

_FOLDERS = {"configs": "configs", "pipelines": "pipelines"}
_BELOW_CONFIGS = {"datasets": "datasets", "label_spaces": "label_spaces"}
_ALIASES = {"strategies": "pseudo_labels"}
_SENTENCE = re.compile(r".+?\.(?= [A-Z`]|$)")
"""Up to the first full stop that ends something: one within a name or before a year does not."""
KINDS = (*registry.FAMILIES, *_FOLDERS, *_BELOW_CONFIGS, "strategies")


def entries(kind: str) -> dict[str, str]:
    """Name and sentence of everything of a kind, sorted by name.

    Raises:
        ConfigError: no such kind.
    """
    kind = _ALIASES.get(kind, kind)
    if kind in registry.FAMILIES:
        return {name: registry.summary(kind, name) for name in registry.names(kind)}
    if kind in _BELOW_CONFIGS:
        return _yamls(f"configs/{kind}")
    if kind == "configs":
        found = _yamls("configs")
        return {name: text for name, text in found.items() if name.split("/")[0] not in _BELOW_CONFIGS}
    if kind in _FOLDERS:
        return _yamls(kind)
    raise ConfigError(f"cannot list '{kind}'", None, nearest(kind, KINDS))


def counts() -> dict[str, str]:
    """How many there are of each kind, and the command that lists them."""
    return {kind: f"{len(entries(kind))}, by `uda list {kind}`" for kind in KINDS if kind not in _ALIASES}


def _yamls(folder: str) -> dict[str, str]:
    root = resources.folder(folder)
    return {name: headline(root / f"{name}.yaml") for name in resources.names(folder)}


def headline(file: Path) -> str:
    """The first sentence of a YAML's header comment, over as many lines as it takes; its first line where none ends."""
    comment = itertools.takewhile(lambda line: line.startswith("#"), file.read_text().splitlines())
    lines = [line.lstrip("# ").rstrip() for line in comment]
    found = _SENTENCE.match(" ".join(lines))
    return found[0] if found else next(iter(lines), "")


def shipped_yaml(name: str) -> Path:
    """The shipped YAML file called `name`, in whatever folder.

    Raises:
        ConfigError: there is none; the nearest name is given.
    """
    known: dict[str, Path] = {}
    for folder in ("configs", "configs/datasets", "configs/label_spaces", "pipelines"):
        root = resources.folder(folder)
        known |= {one: root / f"{one}.yaml" for one in resources.names(folder) if one not in known}
    if name.removesuffix(".yaml") not in known:
        raise ConfigError(f"no shipped YAML is called '{name}'", None, nearest(name, known))
    return known[name.removesuffix(".yaml")]
