"""The wheel holds all that runs: built from a copy, installed elsewhere, used from a third place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from uda.core.listing import entries, shipped_yaml

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("configs", "pipelines", "data_manifests")


def run(*command: str, cwd: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_TARGET")}
    done = subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout, built from a copy so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for name in ("uda", *SHIPPED):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "made", ".", cwd=source)
    (made,) = (source / "made").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("elsewhere")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    run(*pip, "--target", str(target), str(wheel), cwd=target)
    return target


def test_the_wheel_holds_every_module_and_every_shipped_file(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "uda").rglob("*.py")}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "uda").rglob("*.j2")}
    shipped = {
        f"uda/{path.relative_to(ROOT).as_posix()}"
        for name in SHIPPED
        for path in (ROOT / name).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert (modules | templates | shipped) - held == set()
    assert not [name for name in held if name.split("/")[0] in ("tests", "tools", *SHIPPED)]


def test_installed_elsewhere_it_finds_its_own_yamls(installed: Path, tmp_path: Path) -> None:
    def uda(*arguments: str) -> str:
        return run(sys.executable, "-P", "-m", "uda", *arguments, cwd=tmp_path, PYTHONPATH=str(installed))

    where = "import uda.core.resources as r; print(r.folder('configs'))"
    found = run(sys.executable, "-P", "-c", where, cwd=tmp_path, PYTHONPATH=str(installed)).strip()
    assert Path(found) == installed / "uda/configs"
    for kind in ("configs", "pipelines", "datasets", "label_spaces", "translators"):
        assert json.loads(uda("list", kind, "--json")) == entries(kind)
    for name in ("minicity", "gta5", "translate/sait"):
        assert uda("show", name).strip() == shipped_yaml(name).read_text().strip()


def test_installed_elsewhere_it_runs_a_stage(installed: Path, tmp_path: Path) -> None:
    counts = ("gta5=1", "synthia=0", "cityscapes_train=1", "cityscapes_val=0", "height=64", "width=128")
    options = [part for text in counts for part in ("--set", text)]
    command = (sys.executable, "-P", "-m", "uda", "minicity", "--out", "city", *options)
    run(*command, cwd=tmp_path, PYTHONPATH=str(installed))
    for name, root in (("gta5", "gta5"), ("cityscapes", "cityscapes")):
        prepare = (sys.executable, "-P", "-m", "uda", "prepare", name, f"city/{root}", "--out", f"{name}.csv")
        run(*prepare, cwd=tmp_path, PYTHONPATH=str(installed))
        assert len((tmp_path / f"{name}.csv").read_text().splitlines()) == 2


def test_the_program_is_on_the_path_of_an_installation(installed: Path) -> None:
    script = installed / "bin/uda"
    assert script.is_file()
    assert os.access(script, os.X_OK)
