"""Trials that measure a machine: what is tried, and the seconds an image that follow from it."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from uda.engine import loop
from uda.engine.runtime import Runtime, make_runtime
from uda.segmenters.smp import SmpConfig
from uda.stages import trial
from uda.stages._translate_task import TranslateTask
from uda.stages.segment import SegmentConfig
from uda.stages.translate import TranslateConfig
from uda.translators.munit import MunitConfig
from uda.translators.oasis import OasisConfig

TINY = {"segmenter": SmpConfig.tiny().model_dump(), "size": [64, 128]}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what the fits of trials draw first; each fit takes six seconds, an image run through a quarter."""
    shapes: list[tuple[int, ...]] = []

    def fit(task: object, plan: loop.Plan, batches: Any, *_: object) -> None:
        assert plan.images == 2 * plan.batch
        shapes.append(tuple(next(batches(0)).source_images_BCHW.shape))

    monkeypatch.setattr(loop, "fit", fit)
    monkeypatch.setattr(trial, "forward_seconds", lambda *_: 0.25)
    monkeypatch.setattr(trial, "time", SimpleNamespace(monotonic=count(0, 6).__next__))
    return shapes


def test_speed_is_by_the_pixels_of_the_crop_that_is_tried(drawn: list[tuple[int, ...]]) -> None:
    config = SegmentConfig.model_validate({**TINY, "augment": {"crop": [96, 64]}, "fit": {"batch": 4}})
    speed = trial.speed(config, False, None)
    assert drawn == [(4, 3, 96, 64)] * 2
    assert speed.fit == pytest.approx(6 / 2 / 4)
    assert speed.forward == pytest.approx(0.25 / (96 * 64))


def test_a_trial_at_a_smaller_size_is_scaled_to_the_fits(drawn: list[tuple[int, ...]]) -> None:
    speed = trial.speed(SegmentConfig.model_validate({**TINY, "size": [1024, 1024]}), False, None)
    assert drawn == [(1, 3, 512, 512)] * 2
    assert speed.fit == pytest.approx(4 * 6 / 2)
    assert speed.forward == pytest.approx(0.25 / (512 * 512))


def test_a_true_trial_takes_time_to_learn_and_less_to_run_through() -> None:
    unguided = {**MunitConfig.tiny().model_dump(), "weights": {}}
    settings = {"translator": unguided, "size": [128, 256], "augment": {"crop": [64, 64]}}
    segmenting = trial.speed(SegmentConfig.model_validate({**TINY, "fit": {"batch": 2}}), False, None)
    translating = trial.speed(TranslateConfig.model_validate(settings), True, None)
    assert 0 < segmenting.forward * 64 * 128 < segmenting.fit
    assert 0 < translating.forward * 64 * 64 < translating.fit


def test_a_process_tries_its_share_of_a_batch(drawn: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "processes", 2)
    speed = trial.speed(SegmentConfig.model_validate({**TINY, "fit": {"batch": 4}}), False, None)
    assert drawn == [(2, 3, 64, 128)] * 2
    assert speed.fit == pytest.approx(6 / 2 / 4)  # both together
    assert speed.forward == pytest.approx(0.25 / (64 * 128))  # either


def test_what_is_not_fitted_is_tried_with_any_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "processes", 2)
    sizes = list[torch.Size]()

    def rendering(task: object, batch: Any, runtime: object) -> float:
        sizes.append(batch.source_images_BCHW.shape)
        return 6.0

    monkeypatch.setattr(trial, "forward_seconds", rendering)
    config = TranslateConfig.model_validate({"translator": {"name": "color_transfer"}, "size": [64, 128]})
    assert trial.speed(config, True, None) == trial.Speed(0.0, 6 / (64 * 128))
    assert sizes == [(1, 3, 64, 128)]


def test_a_translation_that_leaves_a_segmenter_can_guide() -> None:
    space = {"label_space": "camvid11", "size": [64, 64]}
    guide = TranslateConfig.model_validate({"translator": OasisConfig.tiny().model_dump(), **space})
    config = TranslateConfig.model_validate({"translator": MunitConfig.tiny().model_dump(), **space})
    task, _, _ = trial.prepare(config, 11, guide, make_runtime(config.runtime))
    assert isinstance(task, TranslateTask) and task.setting.guide is not None
    assert task.setting.guide(torch.zeros(1, 3, 64, 64)).shape == (1, 11, 64, 64)
