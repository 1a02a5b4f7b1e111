from __future__ import annotations

from pathlib import Path

import pytest

from uda.core import resources
from uda.core.errors import ConfigError


def test_names_are_relative_and_without_ending() -> None:
    names = resources.names("configs")
    assert names == sorted(names)
    assert "datasets/gta5" in names
    for name in names:
        assert (resources.folder("configs") / f"{name}.yaml").is_file()


def test_a_yaml_is_a_shipped_name_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resources.find_yaml("configs", "datasets/gta5") == resources.folder("configs") / "datasets/gta5.yaml"
    own = tmp_path / "own.yaml"
    own.write_text("a: 1\n")
    assert resources.find_yaml("configs", own) == own
    monkeypatch.chdir(tmp_path)
    assert resources.find_yaml("configs", "own.yaml") == Path("own.yaml")


def test_an_unknown_name_is_told_with_the_nearest_and_a_missing_file_as_a_file() -> None:
    with pytest.raises(ConfigError, match=r"unknown pipeline 'minicty'; did you mean 'minicity'\?"):
        resources.find_yaml("pipelines", "minicty", "pipeline")
    with pytest.raises(ConfigError, match=r"none\.yaml: no such pipeline file"):
        resources.find_yaml("pipelines", "none.yaml", "pipeline")
    with pytest.raises(ConfigError, match="shipped folder 'nothing' is missing"):
        resources.folder("nothing")


def test_folders_in_a_wheel_come_before_those_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "uda"
    package.mkdir()
    (tmp_path / "configs").mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.folder("configs") == tmp_path / "configs"
    (package / "configs").mkdir()
    assert resources.folder("configs") == package / "configs"
