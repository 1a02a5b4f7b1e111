"""Predictions that somebody wrote, against labels: which file is which image's, how it is read, what is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data import fakes
from tests.e2e.conftest import Answer, call

SPACE = """\
name: three
classes: [{name: road, color: [1, 0, 0]}, {name: car, color: [0, 1, 0]}, {name: sky, color: [0, 0, 1]}]
"""
SPEC = """\
name: own
images: images/{id}.png
labels: labels/{id}.png
values: {road: [7], car: [8], sky: [9]}
void: [255]
"""
SHAPE = (4, 6)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with one's own spec and label space, to be filled with images, labels and predictions."""
    (tmp_path / "three.yaml").write_text(SPACE)
    (tmp_path / "own.yaml").write_text(SPEC)
    return tmp_path


def target(own: Path, *ids: str, label: int = 7) -> None:
    for one in ids:
        fakes.save(own / f"images/{one}.png", fakes.picture(SHAPE, 0))
        fakes.save(own / f"labels/{one}.png", np.full(SHAPE, label, np.uint8))
    rows = [f"images/{one}.png,labels/{one}.png,own.yaml" for one in ids]
    (own / "target.csv").write_text("\n".join(["image,label,dataset", *rows, ""]))


def predict(own: Path, name: str, index: int) -> Path:
    return fakes.save(own / f"made/{name}", np.full(SHAPE, index, np.uint8))


def score(own: Path, *more: str) -> Answer:
    given = ("--predictions", own / "made", "--target", own / "target.csv", "--out", own / "score")
    return call("evaluate", *given, "--set", f"label_space={own / 'three.yaml'}", *more)


def table(own: Path) -> pd.DataFrame:
    return pd.read_csv(own / "score/iou.csv", index_col="class")


def test_one_prediction_never_stands_for_two_images(own: Path) -> None:
    target(own, "a/001", "b/001", "b/002")
    predict(own, "001.png", 0), predict(own, "002.png", 0), predict(own, "a__001.png", 0)
    answer = score(own)
    assert answer.code == 3
    assert f"no prediction for {own / 'images/b/001.png'}; write b__001.png" in answer.err
    predict(own, "b__001.png", 1)
    assert score(own).code == 0
    assert table(own)["predicted_pixels"].to_dict() == {"road": 48, "car": 24, "sky": 0}


def test_an_image_that_is_listed_twice_has_one_prediction(own: Path) -> None:
    target(own, "a", "a")
    predict(own, "a.png", 0)
    assert score(own).code == 0


def test_the_ending_of_a_prediction_may_be_in_capitals(own: Path) -> None:
    target(own, "a")
    predict(own, "a.PNG", 0)
    assert score(own).code == 0


def test_labelled_pixels_are_counted_whatever_was_predicted(own: Path) -> None:
    target(own, "a")
    made = np.full(SHAPE, 255, np.uint8)
    made[0, :2] = 0
    fakes.save(own / "made/a.png", made)
    assert score(own).code == 0
    assert table(own).loc["road", ["iou", "pixels", "predicted_pixels"]].tolist() == [2 / 24, 24, 2]


def test_palette_indices_count_as_they_are(own: Path) -> None:
    target(own, "a")
    fakes.save_palette(own / "made/a.png", np.zeros(SHAPE, np.uint8))
    assert score(own).code == 0 and table(own).loc["road", "iou"] == 1
    fakes.save_palette(own / "made/a.png", np.full(SHAPE, 7, np.uint8))
    assert score(own, "--set", "coding=label-ids").code == 0 and table(own).loc["road", "iou"] == 1


def test_a_prediction_in_another_coding_is_not_mended_in_a_spec(own: Path) -> None:
    target(own, "a")
    wanted = "write class indices of three, 0 to 2, or 255 for none"
    predict(own, "a.png", 3)
    assert score(own).err.splitlines()[-1].endswith(f"a.png: label values outside the table: 3 (24 pixels); {wanted}")
    fakes.save(own / "made/a.png", fakes.picture(SHAPE, 0))
    assert score(own).err.splitlines()[-1].endswith(f"mode RGB, which coding 'id' does not read; {wanted}")
    wanted = "code predictions as the labels of own (coding: id), or set coding to train-ids"
    assert score(own, "--set", "coding=label-ids").err.splitlines()[-1].endswith(wanted)
