"""Find the YAML files and tables that ship with the package, in a wheel and in a checkout.

`setup.py` maps the top-level folders into the wheel as `uda/configs` and so on, but importlib.resources fails on
mapped folders in editable installs (setuptools #4943); so look in `<uda>/NAME`, then in `<uda>/../NAME`.
"""

from __future__ import annotations

from pathlib import Path

from uda.core.errors import ConfigError, nearest

_PACKAGE = Path(__file__).resolve().parent.parent


def folder(name: str) -> Path:
    """The shipped folder `name`: one of `configs`, `pipelines`, `data_manifests`."""
    for base in (_PACKAGE, _PACKAGE.parent):
        if (base / name).is_dir():
            return base / name
    raise ConfigError(f"the shipped folder '{name}' is missing", _PACKAGE, "install the package again")


def names(folder_name: str) -> list[str]:
    """Names of all YAML files below a shipped folder, relative and without the ending, sorted."""
    root = folder(folder_name)
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


def find_yaml(folder_name: str, reference: str | Path, kind: str = "config") -> Path:
    """The YAML file that `reference` means: a path to a file, or the name of a shipped one.

    Raises:
        ConfigError: neither a file nor a shipped name; the nearest shipped name is given.
    """
    text = str(reference)
    if text.endswith((".yaml", ".yml")):
        if Path(text).is_file():
            return Path(text)
        raise ConfigError(f"no such {kind} file", text, f"give a path that exists or one of `uda list {kind}s`")
    shipped = folder(folder_name) / f"{text}.yaml"
    if shipped.is_file():
        return shipped
    raise ConfigError(f"unknown {kind} '{text}'", folder_name, nearest(text, names(folder_name)))
