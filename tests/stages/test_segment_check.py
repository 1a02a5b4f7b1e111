"""What `uda segment` refuses before anything runs: weights to start from that are of other classes, or are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli_calls import Told
from tests.core.test_manifest import stage_directory
from tests.data import fakes
from uda.data.label_space import load_space

TENSORS = {"weight": torch.zeros(2)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A manifest of one labelled image, in a folder of its own."""
    fakes.gta5(tmp_path / "gta5", count=1)
    file = tmp_path / "gta5/source.csv"
    file.write_text("image,label,dataset\nimages/00001.png,labels/00001.png,gta5\n")
    return file


def ask(told: Told, source: Path, init: Path, *more: str) -> tuple[int, str]:
    given = ("--config", "segment/minicity", "--source", source, "--init", init, "--out", source.parent / "out")
    return told("segment", *given, "--set", "adversary=null", "--set", "target_statistics=0", *more, "--dry-run")


def segmenter(folder: Path, space: str = "cityscapes19", *, weights: bool = True) -> Path:
    names = list(load_space(space).names)
    files = {"model.json": json.dumps({"config": {}, "classes": names, "label_space": space}).encode()}
    return stage_directory(folder, files | ({"segmenter.safetensors": b"x"} if weights else {}))


def test_a_segmenter_of_other_classes_is_told_by_a_dry_run(told: Told, source: Path, tmp_path: Path) -> None:
    init = segmenter(tmp_path / "init")
    assert ask(told, source, init) == (0, "")
    code, line = ask(told, source, init, "--set", "label_space=idd7")
    assert code == 2
    assert line.startswith(f"error: {init}: was trained for 19 classes (road, sidewalk, building, ...), not for the 7")
    assert line.endswith("; use the label space it has, or give its segmenter.safetensors to take what fits")


def test_a_directory_without_a_segmenter_is_told_by_a_dry_run(told: Told, source: Path, tmp_path: Path) -> None:
    assert ask(told, source, segmenter(tmp_path / "bare", weights=False))[0] == 3
    code, line = ask(told, source, stage_directory(tmp_path / "other", {"samples.csv": b"x"}))
    assert code == 3 and "holds no segmenter (model.json is missing)" in line


def test_a_file_that_holds_no_tensors_is_told_by_a_dry_run_whatever_it_is_called(
    told: Told, source: Path, tmp_path: Path
) -> None:
    wanted = (
        "is no file of tensors (a state dict), or a damaged one; "
        "give a directory that `uda segment` wrote, or a file as .pth, .pt or .safetensors are"
    )
    for name in ("file.csv", "empty.pth", "text.safetensors"):
        file = tmp_path / name
        file.write_text("" if "empty" in name else "image,label,dataset\n")
        assert ask(told, source, file) == (3, f"error: {file}: {wanted}")


def test_checkpoints_are_told_by_their_content(told: Told, source: Path, tmp_path: Path) -> None:
    for name in ("a.pth", "a.pt", "a.pth.tar", "a.bin", "a.ckpt", "a"):
        torch.save(TENSORS, tmp_path / name)
        assert ask(told, source, tmp_path / name) == (0, "")
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(TENSORS, tmp_path / "a.safetensors")
    for name in ("old.pth", "a.safetensors"):
        assert ask(told, source, tmp_path / name) == (0, "")


def test_an_architecture_that_does_not_exist_is_told_by_a_dry_run(told: Told, source: Path) -> None:
    given = ("--set", "segmenter.name=smp", "--set", "segmenter.architecture=Unett", "--source", source)
    code, line = told("segment", "--config", "segment/minicity", *given, "--out", source.parent / "out", "--dry-run")
    assert code == 2
    wanted = "segmenter.architecture: unknown architecture 'Unett'; did you mean 'Unet'?"
    assert line == f"error: --set segmenter.architecture=Unett: {wanted}"
