"""Fixtures that several files or folders share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.cli_calls import Told
from tests.loop_house import House

# The same examples everywhere, on a loaded machine too.
settings.register_profile(
    "house", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

PLUGIN = '''
"""Methods outside the package."""

from uda.core.config import MethodConfig


class PlugConfig(MethodConfig):
    name: str = "uda_plugin:Plug"
    width: int = 4
    depth: int = 2


class Plug:
    Config = PlugConfig


class Bare:
    """No `Config`: not a method."""
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A method of any family that is no part of the package, by the name that users give it."""
    folder = tmp_path / "plugin_path"
    folder.mkdir()
    (folder / "uda_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    yield "uda_plugin:Plug"
    sys.modules.pop("uda_plugin", None)


@pytest.fixture
def house(tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.chdir(tmp_path)
    return House(tmp_path, plugin)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(monkeypatch, capsys)
