"""`uda pseudo-label` on logits that are handed to it: what it counts, what it refuses, how often it looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.core.test_manifest import stage_directory
from tests.data import fakes
from uda.core.console import Console
from uda.engine import inference
from uda.engine.inference import Predicted
from uda.segmenters import _store
from uda.stages.base import execute
from uda.stages.pseudo_label import STAGE

SPACE = """\
name: three
classes: [{name: road, color: [1, 0, 0]}, {name: car, color: [0, 1, 0]}, {name: sky, color: [0, 0, 1]}]
"""
SURE = (0.95, 0.04, 0.01)
SHAPE = (2, 4)


class Told:
    """Stands in for the network: logits of two images of 2 x 4 pixels, and how often they were asked for."""

    def __init__(self, pixels: Sequence[tuple[float, float, float]]) -> None:
        self.logits_BNHW = torch.tensor(pixels).log().view(2, *SHAPE, 3).permute(0, 3, 1, 2).clone()
        self.passes = 0

    def predict(self, *_: object, **__: object) -> Iterator[Predicted]:
        self.passes += 1
        for index in (1, 0):  # in no order of the manifest's, as with several processes
            yield Predicted([index], self.logits_BNHW[index : index + 1])


def label(folder: Path, told: Told, monkeypatch: pytest.MonkeyPatch, **strategy: object) -> dict[str, Any]:
    for name in "ab":
        fakes.save(folder / f"{name}.png", fakes.picture(SHAPE, 0))
    (folder / "target.csv").write_text("image,label,dataset\na.png,,gta5\nb.png,,gta5\n")
    (folder / "three.yaml").write_text(SPACE)
    monkeypatch.setattr(inference, "predict", told.predict)
    monkeypatch.setattr(_store, "load_segmenter", lambda *_, **__: SimpleNamespace(network=None))
    monkeypatch.setattr(_store, "check_segmenter", lambda *_, **__: {})
    config = {
        "label_space": str(folder / "three.yaml"),
        "strategy": strategy,
        "size": SHAPE,
        "runtime": {"device": "cpu"},
    }
    inputs = {"segmenter": stage_directory(folder / "segmenter", {"x": b"x"}), "target": folder / "target.csv"}
    made = execute(STAGE, STAGE.config.model_validate(config), inputs, folder / "out", Console())
    return dict(made.metrics)


def test_coverage_is_the_believed_part_of_what_is_predicted_as_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half of each class sets its threshold: 0.9 of road, 0.4 of car, 1 of sky, which is nowhere the most probable.
    sure, torn, unsure, car = (0.9, 0.08, 0.02), (0.54, 0.45, 0.01), (0.6, 0.1, 0.3), (0.3, 0.4, 0.3)
    told = Told(8 * [sure] + 4 * [torn] + 2 * [unsure] + 2 * [car])
    metrics = label(tmp_path, told, monkeypatch, name="class_balanced", portion=0.5)
    found = [
        [metrics["classes"][name][key] for name in ("road", "car", "sky")]
        for key in ("predicted_pixels", "pixels", "coverage")
    ]
    # What is torn is labelled as a car: a pixel more of cars, and believed of what was predicted to be road.
    assert found == [[14, 2, 0], [8, 6, 0], [12 / 14, 1, None]]
    assert metrics["coverage"] == 14 / 16
    assert STAGE.text is not None
    assert STAGE.text(metrics).splitlines() == [
        "class       threshold  coverage [%]",
        "road            0.900          85.7",
        "car             0.400         100.0",
        "sky             1.000             -",
        "all pixels                     87.5",
    ]


def test_each_image_has_its_own_labels_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = (3 * torch.randn(16, 3, generator=generator)).softmax(1)
    told = Told([(float(a), float(b), float(c)) for a, b, c in pixels])
    metrics = label(tmp_path, told, monkeypatch, name="class_balanced", portion=0.5)
    thresholds = np.array([metrics["classes"][name]["threshold"] for name in ("road", "car", "sky")], np.float32)
    ratios = told.logits_BNHW.softmax(1).numpy() / thresholds[:, None, None]
    wanted = np.where(ratios.max(1) >= 1, ratios.argmax(1), 255)
    made = np.stack([np.asarray(Image.open(tmp_path / f"out/labels/{name}.png")) for name in "ab"])
    assert np.array_equal(made, wanted) and len(np.unique(wanted)) == 4


@pytest.mark.parametrize(("name", "passes"), [("fixed", 1), ("class_median", 2), ("class_balanced", 2)])
def test_images_are_looked_at_twice_only_where_that_teaches_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, passes: int
) -> None:
    told = Told(16 * [SURE])
    metrics = label(tmp_path, told, monkeypatch, name=name)
    assert told.passes == passes and metrics["coverage"] == 1
