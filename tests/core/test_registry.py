from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from uda.core import registry
from uda.core.config import MethodConfig
from uda.core.errors import ConfigError

METHODS = [(family, name) for family in registry.FAMILIES for name in registry.names(family)]


def test_every_family_has_methods_named_after_their_files() -> None:
    for family in registry.FAMILIES:
        names = registry.names(family)
        assert names == sorted(names)
        assert "base" not in names
        assert not any(name.startswith("_") for name in names)
        for name in names:
            assert (Path(registry.__file__).parent.parent / family / f"{name}.py").is_file()
    assert {"identity", "color_transfer", "munit", "sait"} <= set(registry.names("translators"))


@pytest.mark.parametrize(("family", "name"), METHODS)
def test_every_method_is_described_by_a_sentence(family: str, name: str) -> None:
    sentence = registry.summary(family, name)
    assert sentence.endswith(".")
    assert len(sentence.split()) >= 4
    assert sentence[0].isupper() or not sentence[0].isalpha()
    assert len(sentence) <= 120


@pytest.mark.parametrize(("family", "name"), METHODS)
def test_every_method_has_settings_that_carry_its_name(family: str, name: str) -> None:
    method = registry.load(family, name)
    assert issubclass(method.Config, MethodConfig)
    assert method.Config.model_fields["name"].default == name
    assert method.__module__ == f"uda.{family}.{name}"
    for field, info in method.Config.model_fields.items():
        assert info.description, f"{family}/{name}: {field} has no docstring"


_WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "kornia", "segmentation_models_pytorch"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Refuse())
from uda.core import registry
for family in registry.FAMILIES:
    for name in registry.names(family):
        method = registry.load(family, name)
        offer = getattr(method.Config, "tiny", None)
        config = offer() if offer else method.Config()
        assert method.Config.model_validate(config.model_dump()) == config, (family, name)
        print(family, name)
"""


def test_settings_of_every_method_are_read_and_built_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT_TORCH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [f"{family} {name}" for family, name in METHODS]


def test_a_summary_is_read_without_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "uda.translators.identity", raising=False)
    assert registry.summary("translators", "identity").startswith("Leaves images as they are")
    assert "uda.translators.identity" not in sys.modules


def test_an_unknown_method_is_told_with_the_nearest(plugin: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'sat' in translators; did you mean 'sait'\?"):
        registry.load("translators", "sat")


def test_helpers_and_contracts_are_no_methods() -> None:
    for name in ("base", "_domains", "__init__"):
        with pytest.raises(ConfigError, match="unknown method"):
            registry.load("translators", name)


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("no_such_module_:Plug", "(No module named 'no_such_module_'); put its folder on PYTHONPATH"),
        ("no_such_.module:Plug", "(No module named 'no_such_'); put its folder on PYTHONPATH"),
        ("uda_plugin:Plugg", "(no 'Plugg' in it); did you mean 'Plug'?"),
        ("uda_plugin:", "'uda_plugin:'; write it as package.module:Class"),
        ("uda-plugin:Plug", "'uda-plugin:Plug'; write it as package.module:Class"),
        ("uda_broken:Plug", "(No module named 'no_such_module_'); mend what it imports"),
    ],
)
def test_code_outside_the_package_that_cannot_be_loaded_is_told_with_the_way_out(
    plugin: str, tmp_path: Path, name: str, mend: str
) -> None:
    (tmp_path / "plugin_path/uda_broken.py").write_text("import no_such_module_\n")
    with pytest.raises(ConfigError) as caught:
        registry.load("translators", name)
    assert str(caught.value).endswith(mend)


def test_a_class_outside_the_package_is_a_method(plugin: str) -> None:
    assert registry.load("segmenters", plugin).__name__ == "Plug"
    for wrong in ("uda_plugin:Nope", "uda_plugin_:Plug", "uda_plugin:Bare", "uda_plugin:PLUG"):
        with pytest.raises(ConfigError):
            registry.load("segmenters", wrong)
