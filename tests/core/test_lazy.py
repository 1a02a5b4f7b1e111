from __future__ import annotations

import subprocess
import sys

import pytest

from uda.core.lazy import lazy_import


def test_the_module_is_imported_when_an_attribute_is_asked_for() -> None:
    code = (
        "import sys; from uda.core.lazy import lazy_import; wave = lazy_import('wave');"
        "assert 'wave' not in sys.modules; assert wave.Error.__name__ == 'Error'; assert 'wave' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_module_or_attribute_is_told_on_use() -> None:
    missing = lazy_import("uda.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        _ = missing.anything
    with pytest.raises(AttributeError, match="no_such"):
        _ = lazy_import("json").no_such
