"""Data sets without labels, as a plan finds them by names: the oracle goes, and what cannot do without is told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loop_house import BEFORE, ROUND, House
from uda import pipeline
from uda.core.errors import DataError


@pytest.fixture
def disk(house: House, tmp_path: Path) -> Path:
    """The folder of the house's data sets, whose files are empty: nobody opens them."""
    root = tmp_path / "disk"
    files = [f"gta5/{kind}/{number}.png" for kind in ("images", "labels") for number in range(3)]
    for split in ("train", "val"):
        for number in range(3):
            id_ = f"{split}/bonn/bonn_00000{number}_000019"
            files += [f"cityscapes/leftImg8bit/{id_}_leftImg8bit.png", f"cityscapes/gtFine/{id_}_gtFine_labelIds.png"]
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    del house.graph["before"]["city"]
    for name, folder in (("source", "gta5"), ("target", "cityscapes"), ("val", "cityscapes")):
        house.step(name)["inputs"]["root"] = f"{{data}}/{folder}"
    house.config("val", {"dataset": "cityscapes", "split": "val"})
    house.step("val")["config"] = "val.yaml"
    house.config("segment", {"segmenter": "fcn8s", "size": [64, 128]})
    house.config("labels", {"strategy": "fixed", "size": [64, 128]})
    return root


def refused(house: House, disk: Path, *assignments: str) -> str:
    with pytest.raises(DataError) as caught:
        pipeline.plan([*house.expand(*assignments, data=disk, rounds=1).values()], force=False)
    return str(caught.value)


WITHOUT = [name for name in BEFORE if name not in ("city", "oracle", "oracle_score")] + [f"{name}@1" for name in ROUND]


def test_without_target_labels_on_the_disk_there_is_no_oracle(
    house: House, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"oracle", "oracle_score"} <= set(house.expand(data=disk))
    assert "no oracle" not in capsys.readouterr().err
    shutil.rmtree(disk / "cityscapes/gtFine/train")
    planned = house.expand(data=disk, rounds=1)
    assert list(planned) == WITHOUT
    assert f"no oracle: {disk}/cityscapes: split 'train' has no labels\n" in capsys.readouterr().err
    pipeline.plan([*planned.values()], force=False)
    assert "'oracle.seed=1' changes nothing: no step oracle runs" in house.refused("oracle.seed=1", data=disk)
    assert list(house.expand(data=disk, rounds=0)) == ["source", "val", "source_only", "source_only_score"]


def test_labels_that_are_not_to_be_written_are_none(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    planned = house.expand("target.labels=false", rounds=1)  # of mini-city, which is drawn later
    assert list(planned) == ["city", *WITHOUT]
    told = f"no oracle: {house.out}/city/cityscapes: target.labels=false leaves no labels\n"
    assert told in capsys.readouterr().err


def test_where_some_target_labels_are_missing_there_is_no_oracle(
    house: House, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house.config("target", {"dataset": "cityscapes"})  # all splits
    shutil.rmtree(disk / "cityscapes/gtFine/val")
    house.config("val", {"dataset": "cityscapes", "split": "train"})
    house.step("translate")["reads_target_labels"] = True
    house.step("translate")["inputs"]["pairs"] = "target/samples.csv"
    house.config("translate", {"translator": "semi_paired", "size": [64, 128]})
    assert list(house.expand(data=disk, rounds=1)) == WITHOUT  # few pairs want some labels
    assert f"no oracle: {disk}/cityscapes: 3 of 6 images have no labels\n" in capsys.readouterr().err
    assert {"oracle"} <= set(house.expand("target.select.first=3", data=disk))  # those are of train
    shutil.rmtree(disk / "cityscapes/gtFine/train")
    with pytest.raises(DataError, match=r"cityscapes: has no labels, from which the rounds of pipeline .* learn; put"):
        house.expand(data=disk)
    assert "oracle" not in house.expand(data=disk, rounds=0)


def test_labels_that_a_step_cannot_do_without_are_missed_by_the_plan(house: House, disk: Path) -> None:
    mend = "put them there, or give manifests of your own"
    shutil.rmtree(disk / "cityscapes/gtFine/val")
    where = f"step source_only_score: {disk}/cityscapes"
    assert refused(house, disk) == f"{where}: split 'val' has no labels to score against; {mend}"
    told = f"{where}: val.labels=false leaves no labels to score against; leave it out"
    assert refused(house, disk, "val.labels=false") == told
    shutil.rmtree(disk / "gta5/labels")
    where = f"step source_only: {disk}/gta5"
    assert refused(house, disk) == f"{where}: has no labels to learn from; {mend}"


def test_what_names_do_not_tell_is_left_to_the_step(house: House, disk: Path) -> None:
    shutil.rmtree(disk / "cityscapes/gtFine/train")
    chosen = "target.select.classes=[road]"  # `prepare` opens labels, and ends where there is none
    assert "oracle" in house.expand(chosen, data=disk)
    shutil.rmtree(disk / "cityscapes/leftImg8bit/train")
    assert "oracle" in house.expand(data=disk)
    with pytest.raises(DataError, match=r"step source: .*nowhere/gta5: no such folder; give the data set's folder"):
        pipeline.plan([*house.expand(data=disk / "nowhere").values()], force=False)


def test_a_plan_pairs_by_names_without_torch() -> None:
    code = "import sys, uda.unlabelled, uda.sizes, uda.pipeline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
