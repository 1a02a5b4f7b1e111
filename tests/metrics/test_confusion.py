from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from uda.core.errors import DataError
from uda.metrics.confusion import ConfusionMatrix


def _matrix(prediction: list[int], label: list[int], classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(classes)
    matrix.update(np.array([prediction], np.uint8), np.array([label], np.uint8))
    return matrix


def test_scores_by_hand() -> None:
    #                 hit hit miss(1->0) void ignored false alarm on 0
    matrix = _matrix([0, 1, 0, 255, 1, 1], [0, 1, 1, 1, 255, 0], classes=3)
    assert matrix.array.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert matrix.counts[:, 3].tolist() == [0, 1, 0]
    iou = matrix.iou()
    assert iou[0] == pytest.approx(1 / 3)  # 1 hit, 1 miss, 1 false alarm
    assert iou[1] == pytest.approx(1 / 4)  # 1 hit, 2 misses (one of them void), 1 false alarm
    assert math.isnan(iou[2])
    assert matrix.mean_iou() == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert matrix.pixel_accuracy() == pytest.approx(2 / 5)
    assert matrix.class_accuracy() == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_a_class_that_is_only_predicted_scores_zero() -> None:
    assert _matrix([2, 0], [0, 0], classes=3).iou().tolist() == pytest.approx([0.5, math.nan, 0.0], nan_ok=True)


def test_a_subset_takes_the_mean_of_the_whole_matrix_s_scores() -> None:
    matrix = _matrix([0, 2, 1, 1], [0, 0, 1, 1], classes=3)
    assert matrix.mean_iou([0, 1]) == pytest.approx((1 / 2 + 1) / 2)  # class 2 is outside, its false alarm counts
    assert matrix.mean_iou((0,)) == pytest.approx(1 / 2)


def test_nothing_counted_gives_nan_without_warnings() -> None:
    matrix = _matrix([0, 1], [255, 255], classes=2)
    scores = [*matrix.iou(), matrix.mean_iou(), matrix.pixel_accuracy(), matrix.class_accuracy()]
    assert all(math.isnan(score) for score in scores)


def test_labels_outside_the_classes_count_nowhere_in_any_integer_type() -> None:
    for kind in (np.uint8, np.int32, np.int64):
        matrix = ConfusionMatrix(2)
        outside = [2, 254, 255] if kind is np.uint8 else [2, 254, -1]
        matrix.update(np.array([*outside, 0], kind), np.array([0, 0, 0, 0], kind))
        matrix.update(np.array([0, 0, 0], kind), np.array(outside, kind))
        assert matrix.counts.tolist() == [[1, 0, 3], [0, 0, 0]]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(4, 3\) does not fit its label \(3, 4\)"):
        ConfusionMatrix(2).update(np.zeros((4, 3), np.uint8), np.zeros((3, 4), np.uint8))


_PIXELS = st.lists(st.sampled_from([0, 1, 2, 3, 200, 255]), min_size=12, max_size=12)


@given(_PIXELS, _PIXELS)
def test_every_labelled_pixel_is_counted_once(prediction: list[int], label: list[int]) -> None:
    matrix = _matrix(prediction, label, classes=4)
    for true in range(4):
        for called in range(4):
            wanted = sum(p == called and t == true for p, t in zip(prediction, label, strict=True))
            assert matrix.array[true, called] == wanted
    assert matrix.counts.sum() == sum(t < 4 for t in label)


def test_it_agrees_with_the_official_cityscapes_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CITYSCAPES_DATASET", "CITYSCAPES_RESULTS", "CITYSCAPES_EXPORT_DIR"):
        monkeypatch.delenv(name, raising=False)
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling", reason="cityscapesscripts is not installed"
    )
    ids = {label.trainId: label.id for label in official.labels if 0 <= label.trainId < 19}
    names = {label.trainId: label.name for label in official.labels if 0 <= label.trainId < 19}
    to_id = np.zeros(256, np.uint8)
    to_id[list(ids)] = list(ids.values())
    rng = np.random.default_rng(0)
    matrix, predictions, truths = ConfusionMatrix(19), list[str](), list[str]()
    for number in range(3):
        label = rng.choice([*range(17), 255], (24, 32)).astype(np.uint8)  # motorcycle and bicycle never occur
        label[:4] = 255
        prediction = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, 18, label.shape)).astype(np.uint8)
        prediction[rng.random(label.shape) < 0.05] = 255
        matrix.update(prediction, label)
        truth_ids = np.where(label == 255, rng.choice([0, 4, 9, 29], label.shape), to_id[label]).astype(np.uint8)
        for kind, pixels, files in (("gtFine_labelIds", truth_ids, truths), ("pred", to_id[prediction], predictions)):
            file = tmp_path / f"aachen_{number:06d}_000019_{kind}.png"
            Image.fromarray(pixels).save(file)
            files.append(str(file))
    for setting, value in (("quiet", True), ("JSONOutput", False), ("evalInstLevelScore", False)):
        monkeypatch.setattr(official.args, setting, value)
    result = _official_scores(official, predictions, truths, monkeypatch)
    for index, iou in enumerate(matrix.iou()):
        assert iou == pytest.approx(result["classScores"][names[index]], abs=1e-6, nan_ok=True), names[index]
    assert matrix.mean_iou() == pytest.approx(result["averageScoreClasses"], abs=1e-6)
    assert np.isnan(matrix.iou()[18]) and not np.isnan(matrix.iou()[17])


def _official_scores(
    official: Any, predictions: list[str], truths: list[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    # Scores of instances are switched off, but the result still asks for them.
    monkeypatch.setattr(official, "getInstanceIouScoreForLabel", lambda *_: float("nan"))
    monkeypatch.setattr(official, "getInstanceIouScoreForCategory", lambda *_: float("nan"))
    scores: dict[str, Any] = official.evaluateImgLists(predictions, truths, official.args)
    return scores
