"""The README's translator, put into the tree as it says: it passes the contract tests that in-tree translators pass."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import uda.translators
from tests.contracts import test_translators as contracts
from tests.contracts.small_translators import small_guide
from uda.core import registry

ROOT = Path(__file__).parents[1]
NAME = "my_translator"


def _is_for_all(check: Any) -> bool:
    """Whether a test of the contract runs over all translators."""
    marks = getattr(check, "pytestmark", ())
    return any(
        mark.name == "parametrize" and mark.args[0] == "name" and mark.args[1] == contracts.NAMES for mark in marks
    )


CHECKS = [check for name, check in vars(contracts).items() if name.startswith("test_") and _is_for_all(check)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the README's code as a file."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (code,) = [one for one in blocks if "class MyTranslator" in one]
    made = tmp_path_factory.mktemp("translators")
    (made / f"{NAME}.py").write_text(code)
    return made


@pytest.fixture
def in_tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of the translators with that file in it."""
    names = registry.names

    def with_it(family: str) -> list[str]:
        return sorted([*names(family), *([NAME] if family == "translators" else [])])

    monkeypatch.setattr(uda.translators, "__path__", [*uda.translators.__path__, str(folder)])
    monkeypatch.setattr(registry, "names", with_it)
    yield
    sys.modules.pop(f"uda.translators.{NAME}", None)
    vars(uda.translators).pop(NAME, None)


@pytest.mark.usefixtures("in_tree")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("test_"))
def test_it_keeps_the_contract(check: Callable[..., None]) -> None:
    given = {"name": NAME, "guide": small_guide()}
    check(**{key: given[key] for key in inspect.signature(check).parameters})


def test_the_contract_has_tests_to_pass() -> None:
    assert len(CHECKS) >= 12
    assert contracts.test_terms_match_the_weights in CHECKS


def test_it_and_its_settings_load_without_torch(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import uda.translators\n"
        f"uda.translators.__path__.append({str(folder)!r})\n"
        f"import uda.translators.{NAME} as module\n"
        "config = module.MyTranslator.Config.tiny()\n"
        f"assert config.name == {NAME!r} and set(config.term_weights) == {{'gan', 'discriminator'}}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
