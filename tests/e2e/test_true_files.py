"""True files of GTA5 and Cityscapes, where they are to be had: statistics checked by hand, and a tiny loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data import fakes
from tests.e2e.conftest import must

DATA = fakes.SHARED_DATA

pytestmark = pytest.mark.skipif(
    not (DATA / "gta5").is_dir() or not (DATA / "cityscapes").is_dir(),
    reason="no true samples of GTA5 and Cityscapes: set UDA_SHARED_DATA to a folder that holds them",
)

LABEL_IDS = {"road": 7, "sidewalk": 8, "building": 11, "vegetation": 21, "sky": 23, "car": 26, "person": 24}
"""Official label ids, from cityscapesScripts."""


@pytest.mark.parametrize(
    ("name", "pattern", "images"),
    [("gta5", "labels/*.png", 1), ("cityscapes", "gtFine/train/*/*_labelIds.png", 8)],
)
def test_class_pixels_are_those_counted_by_hand(tmp_path: Path, name: str, pattern: str, images: int) -> None:
    split = () if name == "gta5" else ("--split", "train")
    must("prepare", name, DATA / name, *split, "--out", tmp_path / "made.csv")
    found = json.loads((tmp_path / "made.json").read_text())
    counts = dict.fromkeys(LABEL_IDS, 0)
    files = sorted((DATA / name).glob(pattern))
    assert len(files) == images
    for file in files:
        with Image.open(file) as opened:
            label = np.asarray(opened)
        for one, value in LABEL_IDS.items():
            counts[one] += int((label == value).sum())
    assert counts["road"] > 0
    said = {row["class"]: row["pixels"] for row in found["classes"]}
    assert {one: said[one] for one in LABEL_IDS} == counts


def test_a_tiny_loop_runs_on_them(tmp_path: Path) -> None:
    must("prepare", "gta5", DATA / "gta5", "--out", tmp_path / "source.csv")
    must("prepare", "cityscapes", DATA / "cityscapes", "--split", "train", "--out", tmp_path / "target.csv")
    given = ("--source", tmp_path / "source.csv", "--target", tmp_path / "target.csv", "--val", tmp_path / "target.csv")
    must("iterate", "--pipeline", "gta5_to_cityscapes", "--tiny", *given, "--out", tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["source only", "round 1", "oracle"]
    assert report["rows"][0]["iou"]["road"] is not None
