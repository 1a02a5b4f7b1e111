"""Import heavy libraries on first use, so that config classes can be read without torch (rule 2 and floor F0)."""

from __future__ import annotations

import importlib
import types
from typing import Any


class _LazyModule(types.ModuleType):
    """Stands for a module until the first attribute is asked of it."""

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.__name__), attribute)


def lazy_import(name: str) -> types.ModuleType:
    """The module `name`, imported only when one of its attributes is first used.

    Write it in the `else` branch of `if TYPE_CHECKING:`, so that type checkers see the true module.
    """
    return _LazyModule(name)
