from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from uda import cost
from uda.core.console import Console
from uda.core.errors import ConfigError
from uda.core.rundir import CHECKPOINT, RunDirectory
from uda.pipeline import Planned, Source
from uda.stages.base import decide
from uda.stages.catalog import get_stage

IMAGES = 160
MEASURED = cost._speed


def planned(folder: Path, name: str = "segment", settings: Mapping[str, Any] | None = None, **steps: str) -> Planned:
    """A step that learns from two images of one's own, or from what other steps make."""
    manifest = folder / "own.csv"
    if not manifest.exists():
        manifest.write_text("image,label,dataset\na.png,a.png,gta5\nb.png,b.png,gta5\n")
    stage = get_stage(name)
    key = "segmenter" if name == "segment" else "translator"
    method = {"segment": "deeplabv2", "translate": "color_transfer"}[name]
    base = {key: {"name": method}, "size": [32, 64], "fit": {"images": IMAGES}}
    config = stage.config.model_validate({**base, **(settings or {})})
    own = {"source": Source(None, manifest), **({"target": Source(None, manifest)} if name == "translate" else {})}
    inputs = own | {key: Source(step, folder / step / "samples.csv") for key, step in steps.items()}
    return Planned(name, stage, config, inputs, folder / name)


def begun(one: Planned, *, force: bool = False) -> RunDirectory:
    decision = decide(one.stage, one.config, {key: s.path for key, s in one.inputs.items()}, one.out, force=force)
    run = RunDirectory(one.out)
    run.begin(decision.fingerprint, {}, fresh=decision.action == "run", forced=force)
    run.close()  # as when its process ends
    return run


def interrupted(one: Planned, seen: int, *, checkpoint: bool = True, force: bool = False) -> RunDirectory:
    run = begun(one, force=force)
    for images in range(20, seen + 1, 20):
        run.log(images=images, loss=0.5)
    if checkpoint:
        run.path(CHECKPOINT).touch()
    return run


@pytest.fixture(autouse=True)
def _a_second_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_speed", lambda one, by_name, speeds: cost.Speed(1.0, 0.25))


def seconds(*todo: Planned, force: bool = False) -> float | None:
    return cost.estimate(todo, todo, Console(quiet=True), measure=True, force=force).seconds


def test_a_fit_that_was_not_begun_counts_in_full(tmp_path: Path) -> None:
    one = planned(tmp_path)
    assert seconds(one) == IMAGES
    begun(one)
    assert seconds(one) == IMAGES


def test_a_fit_that_goes_on_counts_what_is_left(tmp_path: Path) -> None:
    one = planned(tmp_path)
    interrupted(one, 100)
    assert seconds(one) == 60
    with (one.out.with_name("segment.partial") / "log.jsonl").open("a") as log:
        log.write('{"images": 1')  # torn
    assert seconds(one) == 60


def test_a_fit_that_was_set_aside_counts_what_is_left(tmp_path: Path) -> None:
    one, other = planned(tmp_path), planned(tmp_path, settings={"seed": 1})
    interrupted(one, 100)
    interrupted(other, 20)
    assert (seconds(one), seconds(other)) == (60, 140)


def test_without_a_checkpoint_a_fit_counts_in_full(tmp_path: Path) -> None:
    one = planned(tmp_path)
    interrupted(one, 100, checkpoint=False)
    assert seconds(one) == IMAGES


def test_a_fit_of_other_settings_or_begun_without_force_counts_in_full(tmp_path: Path) -> None:
    one = planned(tmp_path)
    interrupted(one, 100)
    assert seconds(planned(tmp_path, settings={"seed": 1})) == IMAGES
    assert seconds(one, force=True) == IMAGES
    interrupted(one, 40, force=True)
    assert seconds(one, force=True) == IMAGES - 40


def test_a_fit_whose_input_is_made_first_counts_in_full(tmp_path: Path) -> None:
    one = planned(tmp_path)
    interrupted(one, 100)
    first = planned(tmp_path, "translate")
    later = planned(tmp_path, target="translate")
    assert seconds(first, later) == IMAGES + 0.25 * 2 + IMAGES


def test_a_guide_that_looks_at_the_target_images_takes_its_time(tmp_path: Path) -> None:
    guide = planned(tmp_path)
    settings = {"translator": {"name": "munit"}, "target_candidates": 3}
    fit = planned(tmp_path, "translate", settings, guide="segment")
    without = planned(tmp_path, "translate", {**settings, "target_candidates": 1}, guide="segment")
    both = seconds(guide, fit), seconds(guide, without)
    assert both == (IMAGES + IMAGES + 0.25 * 2 + 0.25 * 2, IMAGES + IMAGES + 0.25 * 2)


def test_images_that_are_rendered_count_no_more(tmp_path: Path) -> None:
    one = planned(tmp_path, "translate")
    run = interrupted(one, 160, checkpoint=False)
    run.write("fit.json", json.dumps({}).encode())
    assert seconds(one) == 0.25 * 2
    run.write("images/a.png", b"x")
    assert seconds(one) == 0.25


def test_fits_of_a_few_steps_are_not_measured(tmp_path: Path) -> None:
    few, many = (planned(tmp_path, settings={"fit": {"images": images, "batch": 2}}) for images in (40, 42))
    assert seconds(few) is None
    assert seconds(many) == 42
    assert seconds(replace(few, name="few"), many) == 82


def test_scores_alone_are_measured(tmp_path: Path) -> None:
    fitted = planned(tmp_path, settings={"fit": {"images": 4, "batch": 2}})
    stage = get_stage("evaluate")
    sources = {"segmenter": Source("segment", fitted.out), "target": Source(None, tmp_path / "own.csv")}
    score = Planned("evaluate", stage, stage.config.model_validate({}), sources, tmp_path / "evaluate")
    assert cost.estimate([fitted, score], [score], Console(quiet=True), measure=True).seconds == 2 * 0.25


def test_fits_beside_each_other_take_as_long_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [(tmp_path / name).mkdir() for name in "ab"]
    todo = [replace(planned(tmp_path / name), name=name) for name in "ab"]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", (set_to := list[int]()).append)

    def took(jobs: int) -> float | None:
        return cost.estimate(todo, todo, Console(quiet=True), measure=True, jobs=jobs).seconds

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert (took(1), took(2)) == (2 * IMAGES, IMAGES)
    assert set_to == [4, 4, 2, 4]  # a trial has as many threads as a step will, and gives them back
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert took(2) == 2 * IMAGES  # a fit that has all cores to itself leaves none
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (took(1), took(4)) == (2 * IMAGES, IMAGES)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert took(4) == 2 * IMAGES


def test_settings_that_no_plan_could_refuse_are_told_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_speed", MEASURED)
    settings = {"segmenter": {"name": "smp", "architecture": "FPNN", "encoder": "resnet18"}, "size": [32, 64]}
    with pytest.raises(ConfigError, match=r"^step segment: .*FPNN"):
        seconds(planned(tmp_path, settings=settings))
