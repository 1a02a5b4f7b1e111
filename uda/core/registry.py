"""Methods by name: one file a method, its name the file's name, listed without importing torch.

A family is a package below `uda` (`translators`, `segmenters`, `adversaries`, `pseudo_labels`). Each of its modules
but `base` defines one concrete class; the class names its configuration as `Config`. Code outside the package is
named as `package.module:Class`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

from uda.core.errors import ConfigError, nearest

FAMILIES = ("translators", "segmenters", "adversaries", "pseudo_labels")
_PACKAGE = Path(__file__).resolve().parent.parent


def names(family: str) -> list[str]:
    """Names of the family's methods, sorted."""
    found = (path.stem for path in (_PACKAGE / family).glob("*.py"))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def summary(family: str, name: str) -> str:
    """The first line of the method's docstring, read without importing it."""
    source = (_PACKAGE / family / f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").split("\n", 1)[0]


def load(family: str, name: str) -> type[Any]:
    """The class of a method.

    Args:
        family: one of `FAMILIES`.
        name: a name of the family, or `package.module:Class`.

    Raises:
        ConfigError: no such method; the nearest name is given.
    """
    if ":" in name:
        return _load_foreign(family, name)
    if name not in names(family):
        raise ConfigError(f"unknown method '{name}' in {family}", None, nearest(name, names(family)))
    module = importlib.import_module(f"uda.{family}.{name}")
    for _, member in inspect.getmembers(module, inspect.isclass):
        if member.__module__ == module.__name__ and hasattr(member, "Config"):
            return member
    raise ConfigError("no class with a `Config` in it", module.__file__, f"see uda/{family}/base.py for the contract")


def _load_foreign(family: str, name: str) -> type[Any]:
    module_name, _, class_name = name.partition(":")
    try:
        member = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cannot load '{name}' ({error})", family, "write it as package.module:Class") from error
    if not (inspect.isclass(member) and hasattr(member, "Config")):
        raise ConfigError(f"'{name}' is not a class with a `Config`", family)
    return member
