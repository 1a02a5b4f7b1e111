"""Methods by name: one file a method, its name the file's name, listed without importing torch.

A family is a package below `uda` (`translators`, `segmenters`, `adversaries`, `pseudo_labels`). Each of its modules
but `base` defines one concrete class; the class names its configuration as `Config`. Code outside the package is
named as `package.module:Class`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
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


def source_file(name: str) -> Path | None:
    """The file of a loaded method's code that lies outside the package; None for the package's own methods."""
    file = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None) if ":" in name else None
    return None if file is None else Path(file)


def _load_foreign(family: str, name: str) -> type[Any]:
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", name):
        raise ConfigError(f"cannot load '{name}'", family, "write it as package.module:Class")
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        mend = "mend what it imports"
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            mend = "put its folder on PYTHONPATH"
        raise ConfigError(f"cannot load '{name}' ({error})", family, mend) from error
    if (member := getattr(module, class_name, None)) is None:
        classes = [one for one, _ in inspect.getmembers(module, inspect.isclass)]
        raise ConfigError(f"cannot load '{name}' (no '{class_name}' in it)", family, nearest(class_name, classes))
    if not (inspect.isclass(member) and hasattr(member, "Config")):
        raise ConfigError(f"'{name}' is not a class with a `Config`", family)
    return member
