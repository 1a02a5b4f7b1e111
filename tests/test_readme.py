"""The README's promises, tried as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.e2e.conftest import must
from uda.cli import cli
from uda.data.label_space import load_space

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def python_of(named: str) -> str:
    """The README's Python that names something, as it would be typed."""
    (code,) = [one for one in re.findall(r"```python\n(.*?)\n *```", README, re.S) if named in one]
    return textwrap.dedent(code)


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test"} <= targets
    assert "make demo" in README and "make test" in README


def test_every_command_shown_exists_with_its_options() -> None:
    assert isinstance(cli, click.Group)
    shown = re.findall(
        r"uda (?!is)([a-z-]+)((?: [^`\n#;|]*)?)", " ".join(re.findall(r"```sh.*?```|`[^`\n]+`", README, re.S))
    )
    assert len(shown) > 20
    for verb, rest in shown:
        assert verb in cli.commands, verb
        known = {option for parameter in cli.commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (verb, rest)


def test_every_folder_of_the_tree_exists_and_every_link_leads_somewhere() -> None:
    for name in re.findall(r"^\| `(\w+)/` \|", README, re.M):
        assert (ROOT / name).is_dir()
    for link in re.findall(r"\]\(([^)#]+)\)", re.sub(r"```.*?```", "", README, flags=re.S)):
        assert link.startswith("http") or (ROOT / link).is_file(), link


@pytest.mark.parametrize("simulator", ["my_simulator"])
def test_ones_own_data_go_through_the_loop(
    tmp_path: Path, simulator: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.S)
    block, camera = (next(text for text in blocks if f"name: {name}" in text) for name in (simulator, "my_camera"))
    rng = np.random.default_rng(0)
    for domain, count in (("simulator", 3), ("camera", 4)):
        for index in range(count):
            image, label = (tmp_path / domain / kind / f"{index}.png" for kind in ("rgb", "seg"))
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)).save(image)
            if domain == "simulator":
                label.parent.mkdir(exist_ok=True)
                Image.fromarray(rng.choice(np.array([0, 1, 2, 7, 255], np.uint8), (64, 128))).save(label)
    (tmp_path / "my_simulator.yaml").write_text(block)
    (tmp_path / "my_camera.yaml").write_text(camera)
    for spec, folder, made in (("my_simulator", "simulator", "source"), ("my_camera", "camera", "target")):
        must("prepare", tmp_path / f"{spec}.yaml", tmp_path / folder, "--out", tmp_path / f"{made}.csv")
    assert len(pd.read_csv(tmp_path / "target.csv")) == 4
    given = ("--source", tmp_path / "source.csv", "--target", tmp_path / "target.csv")
    must("iterate", *given, "--tiny", "--rounds", "1", "--out", tmp_path / "run")
    segmenter = tmp_path / "run" / "round_1" / "segment"
    photo = tmp_path / "camera" / "rgb" / "0.png"
    must("predict", "--segmenter", segmenter, photo, "--out", tmp_path / "predicted")
    with Image.open(tmp_path / "predicted" / "0.png") as made_labels:
        assert made_labels.size == (128, 64)
        classes = np.unique(np.asarray(made_labels)).tolist()
    shutil.copy(photo, tmp_path / "photo.jpg")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    exec(python_of("load_segmenter"), {})  # the README's own lines
    names = load_space("cityscapes19").names
    assert capsys.readouterr().out.splitlines()[-1] == str([names[index] for index in classes])


def test_a_translator_of_ones_own_is_fitted_and_renders(tmp_path: Path) -> None:
    code = python_of("class MyTranslator")
    (tmp_path / "my_translator.py").write_text(code)
    must("minicity", "--tiny", "--out", tmp_path / "city")
    for name, layout in (("gta5", "gta5"), ("cityscapes", "cityscapes")):
        must("prepare", name, tmp_path / "city" / layout, "--out", tmp_path / f"{name}.csv")
    own = (
        "--set",
        "translator.name=my_translator:MyTranslator",
        "--set",
        "size=[64,128]",
        "--set",
        "augment.crop=null",
        "--set",
        "fit.images=4",
    )
    given = ("--source", tmp_path / "gta5.csv", "--target", tmp_path / "cityscapes.csv")
    command = [sys.executable, "-m", "uda", "translate", *map(str, (*own, *given, "--out", tmp_path / "out"))]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert len(list((tmp_path / "out" / "images").glob("*.png"))) == len(pd.read_csv(tmp_path / "gta5.csv"))
    log = (tmp_path / "out" / "log.jsonl").read_text()
    assert '"gan"' in log and '"discriminator"' in log
