"""Predictions that somebody wrote, against labels: which file is which image's, how it is read, what is counted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from tests.core.test_manifest import stage_directory
from tests.data import fakes
from tests.e2e.conftest import Answer, call
from uda.core.console import Console
from uda.engine import inference
from uda.engine.inference import Predicted
from uda.segmenters import _store
from uda.stages.base import execute
from uda.stages.evaluate import STAGE

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


def test_the_scores_are_printed_class_by_class(own: Path) -> None:
    target(own, "a", "b")
    predict(own, "a.png", 0)
    predict(own, "b.png", 1)
    (own / "three.yaml").write_text(SPACE + "subsets: {one: [road]}\n")
    answer = score(own)
    assert answer.code == 0, answer.err
    scores = {"road": "50.0", "car": "0.0", "sky": "-", "mIoU": "25.0", "mIoU one": "50.0", "pixel accuracy": "50.0"}
    scores["class accuracy"] = "50.0"
    lines = ["IoU [%]", *(f"{name:<14}  {value:>5}" for name, value in scores.items()), str(own / "score")]
    assert answer.out.splitlines() == lines
    assert "evaluate: mIoU 25.00 over 2 classes (mIoU one 50.00), 2 images" in answer.err


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
    assert table(own).loc["road", ["iou", "pixels", "predicted_pixels"]].to_numpy().tolist() == [2 / 24, 24, 2]


def test_palette_indices_count_as_they_are(own: Path) -> None:
    target(own, "a")
    fakes.save_palette(own / "made/a.png", np.zeros(SHAPE, np.uint8))
    assert score(own).code == 0 and table(own).loc["road", "iou"] == 1
    fakes.save_palette(own / "made/a.png", np.full(SHAPE, 7, np.uint8))
    assert score(own, "--set", "coding=label-ids").code == 0 and table(own).loc["road", "iou"] == 1


def test_a_prediction_in_another_coding_is_not_mended_in_a_spec(own: Path) -> None:
    target(own, "a")
    wanted = (
        "write class indices of three, 0 to 2, or 255 for none; "
        "where they are the data set's label values, give --coding label-ids"
    )
    predict(own, "a.png", 3)
    assert score(own).err.splitlines()[-1].endswith(f"a.png: label values outside the table: 3 (24 pixels); {wanted}")
    fakes.save(own / "made/a.png", fakes.picture(SHAPE, 0))
    assert score(own).err.splitlines()[-1].endswith(f"mode RGB, which coding 'id' does not read; {wanted}")
    wanted = "code predictions as the labels of own (coding: id), or set coding to train-ids"
    assert score(own, "--set", "coding=label-ids").err.splitlines()[-1].endswith(wanted)


def test_predictions_and_a_segmenter_are_refused_before_either_is_looked_at(own: Path) -> None:
    target(own, "a")
    answer = score(own, "--segmenter", str(own))
    wanted = "error: uda evaluate: needs one of --segmenter DIR and --predictions DIR"
    assert (answer.code, answer.err.splitlines()) == (2, [wanted])
    neither = call("evaluate", "--target", own / "target.csv", "--out", own / "score")
    assert (neither.code, neither.err.splitlines()) == (2, [wanted])


@pytest.mark.parametrize("upsample", ["logits", "softmax"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_predictions_are_brought_to_the_labels_size_as_the_network_was_trained(
    own: Path, monkeypatch: pytest.MonkeyPatch, upsample: str, align_corners: bool
) -> None:
    logits = 3 * torch.randn(1, 3, *SHAPE, generator=torch.Generator().manual_seed(0))
    label = np.random.default_rng(0).integers(7, 10, (13, 21), dtype=np.uint8)
    fakes.save(own / "images/a.png", fakes.picture((13, 21), 0))
    fakes.save(own / "labels/a.png", label)
    (own / "target.csv").write_text("image,label,dataset\nimages/a.png,labels/a.png,own.yaml\n")
    monkeypatch.setattr(inference, "predict", lambda *_, **__: iter([Predicted([0], logits)]))
    network = SimpleNamespace(network=SimpleNamespace(align_corners=align_corners))
    monkeypatch.setattr(_store, "load_segmenter", lambda *_, **__: network)
    monkeypatch.setattr(_store, "check_segmenter", lambda *_, **__: {})
    config = {"label_space": str(own / "three.yaml"), "size": SHAPE, "upsample": upsample, "runtime": {"device": "cpu"}}
    inputs = {"segmenter": stage_directory(own / "segmenter", {"x": b"x"}), "target": own / "target.csv"}
    execute(STAGE, STAGE.config.model_validate(config), inputs, own / "score", Console())
    scores = logits.softmax(1) if upsample == "softmax" else logits
    guess = F.interpolate(scores, (13, 21), mode="bilinear", align_corners=align_corners).argmax(1)[0].numpy()
    wanted = np.histogram2d((label - 7).ravel(), guess.ravel(), bins=3, range=((0, 3), (0, 3)))[0]
    assert np.array_equal(pd.read_csv(own / "score/confusion.csv", index_col=0).to_numpy(), wanted)
