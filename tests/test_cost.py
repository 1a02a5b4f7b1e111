"""What a plan costs: seconds and disk of what is left to do."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.cost_steps import EACH, IMAGES, SIZE, SPEED, of_three, planned, predicting, seconds, seconds_beside
from uda.core.console import Console
from uda.core.rundir import CHECKPOINT, RunDirectory
from uda.cost import disk, estimate, needs, trials
from uda.pipeline import Planned, Source
from uda.stages.base import decide
from uda.stages.catalog import get_stage, stage_names

ALL_RENDERED = {"samples": 3, "render_target": True, "recreate_target": True}
ASKING = {"name": "cyclegan", "weights": {"semantic_translation": 0.1}}
"""A translator that asks a guide."""


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
    """Reading takes no time here: see `test_cost_reading`."""
    monkeypatch.setattr(trials.Trials, "speed", lambda *_: SPEED)
    for name in ("reading", "augmenting", "writing"):
        monkeypatch.setattr(trials.Trials, name, lambda *_: 0.0)


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


def test_a_guide_looks_at_the_images_that_have_maps_where_those_are_fitted(tmp_path: Path) -> None:
    guide = planned(tmp_path)
    settings = {"translator": {"name": "sggan"}, "target_candidates": 3}
    fit = planned(tmp_path, "translate", settings, guide="segment")
    maps = of_three(tmp_path, fit).inputs["target"]
    one = replace(fit, inputs={**fit.inputs, "pseudo": maps})
    assert seconds_beside(one, guide) == IMAGES + EACH * 2 + EACH * 3


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
    assert estimate.estimate([fitted, score], [score], Console(quiet=True), measure=True).seconds == 2 * 0.25


def test_fits_beside_each_other_take_as_long_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    todo = [replace(planned(tmp_path / name), name=name) for name in "ab"]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", (set_to := list[int]()).append)

    def took(jobs: int) -> float | None:
        return estimate.estimate(todo, todo, Console(quiet=True), measure=True, jobs=jobs).seconds

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


def rendered_bytes(one: Planned) -> float:
    needed = estimate.estimate([one], [one], Console(quiet=True), measure=False)
    return needed.bytes - disk.SMALL_MODEL_BYTES


def test_disk_is_for_images_and_labels_at_the_size_that_they_are_rendered_at(tmp_path: Path) -> None:
    settings = {"render_size": [64, 128], "augment": {"crop": [16, 16]}}
    assert rendered_bytes(planned(tmp_path, "translate")) == pytest.approx(2 * 32 * 64 * (2 + 0.05))
    assert rendered_bytes(planned(tmp_path, "translate", settings)) == pytest.approx(2 * 64 * 128 * (2 + 0.05))
    # Three renders of two source images and of three target images made anew, with their labels, and one of each
    # target image in the source's look, without.
    everything = of_three(tmp_path, planned(tmp_path, "translate", {**settings, **ALL_RENDERED}))
    assert rendered_bytes(everything) == pytest.approx(64 * 128 * ((3 * (2 + 3) + 3) * 2 + (2 + 3) * 0.05))


def test_disk_is_for_what_is_not_rendered_yet(tmp_path: Path) -> None:
    one = planned(tmp_path, "translate")
    whole, run = rendered_bytes(one), interrupted(one, IMAGES, checkpoint=False)
    run.write("fit.json", b"{}")
    assert rendered_bytes(one) == whole
    run.write("images/a.png", b"x" * 1000)
    assert rendered_bytes(one) == whole - 1000
    run.write("images/b.png", b"x" * 10**9)
    assert rendered_bytes(one) == -disk.SMALL_MODEL_BYTES  # nothing, and not less


def test_time_is_for_all_images_that_are_rendered(tmp_path: Path) -> None:
    everything = of_three(tmp_path, planned(tmp_path, "translate", ALL_RENDERED))
    assert seconds(everything) == IMAGES + EACH * (3 * (2 + 3) + 3)
    run = interrupted(everything, IMAGES, checkpoint=False)
    run.write("fit.json", json.dumps({}).encode())
    for folder in ("images", "target_images", "recreated_images"):
        run.write(f"{folder}/a.png", b"x")
    assert seconds(everything) == EACH * (3 * (2 + 3) + 3 - 3)


def test_images_run_through_whole_whatever_the_crop_of_a_fit(tmp_path: Path) -> None:
    crop = {"augment": {"crop": [16, 16]}}
    assert seconds(planned(tmp_path, "translate", crop)) == IMAGES + EACH * 2
    assert seconds(planned(tmp_path, "translate", {**crop, "render_size": [64, 128]})) == IMAGES + 4 * EACH * 2
    fit = planned(tmp_path, settings=crop)
    labelled = {"strategy": {"name": "fixed"}, "size": [64, 64]}
    assert seconds_beside(predicting(tmp_path, "evaluate", {"size": [64, 128]}), fit) == 4 * EACH * 2
    assert seconds_beside(predicting(tmp_path, "pseudo-label", labelled), fit) == 2 * EACH * 2


def test_images_of_no_size_are_taken_to_be_of_the_segmenters(tmp_path: Path) -> None:
    score = predicting(tmp_path, "evaluate", {})
    assert seconds_beside(score, planned(tmp_path, settings={"size": [64, 64]})) == 2 * EACH * 2
    assert seconds_beside(score, planned(tmp_path, settings={"target_size": [64, 128]})) == 4 * EACH * 2


def test_a_guide_looks_at_target_images_of_the_translators_size(tmp_path: Path) -> None:
    guide = planned(tmp_path)
    settings = {"translator": {"name": "munit"}, "size": [64, 128], "render_size": SIZE, "target_candidates": 3}
    fit = of_three(tmp_path, planned(tmp_path, "translate", settings, guide="segment"))
    assert seconds_beside(fit, guide) == IMAGES + EACH * 2 + 4 * EACH * 3


@pytest.mark.parametrize(
    ("manifest", "images"), [("samples.csv", 4), ("target_samples.csv", 3), ("recreated_samples.csv", 6)]
)
def test_what_a_translation_makes_of_the_target_counts_as_the_targets(
    tmp_path: Path, manifest: str, images: int
) -> None:
    first = of_three(tmp_path, planned(tmp_path, "translate", {**ALL_RENDERED, "samples": 2}))
    fit, score = planned(tmp_path), predicting(tmp_path, "evaluate", {})
    made = Source("translate", first.out / manifest)
    score = replace(score, inputs={**score.inputs, "target": made})
    assert seconds_beside(score, fit, first) == EACH * images


def test_processes_share_images_but_those_that_are_scored_or_observed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, render = planned(tmp_path), planned(tmp_path, "translate")
    label = predicting(tmp_path, "pseudo-label", {"strategy": {"name": "class_median"}, "size": SIZE})
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert seconds(render) == IMAGES + EACH * 2 / 2
    assert seconds_beside(predicting(tmp_path, "evaluate", {}), fit) == EACH * 2
    assert seconds_beside(label, fit) == EACH * 2 + EACH * 2 / 2


def test_every_stage_is_in_the_table() -> None:
    assert list(needs.NEEDS) == stage_names()


def test_what_learns_nothing_counts_no_fit(tmp_path: Path) -> None:
    settings = {"translator": {"name": "color_transfer"}}
    assert seconds(planned(tmp_path, "translate", settings)) == EACH * 2


def test_statistics_take_another_look_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = of_three(tmp_path, planned(tmp_path, settings={"target_statistics": 400}))
    assert seconds(one) == IMAGES + EACH * 3
    few = of_three(tmp_path, planned(tmp_path, settings={"target_statistics": 1, "statistics_prior": 10}))
    assert seconds(few) == IMAGES + EACH * (1 + 1)
    guide = planned(tmp_path)
    fit = planned(tmp_path, "translate", {"guide_statistics": 2, "translator": ASKING}, guide="segment")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert seconds(one) == IMAGES + EACH * 3
    assert seconds_beside(of_three(tmp_path, fit), guide) == IMAGES + EACH * (2 + 2) + EACH * 2 / 2


def test_a_guide_that_is_not_asked_looks_at_nothing(tmp_path: Path) -> None:
    guide = planned(tmp_path)
    fit = planned(tmp_path, "translate", {"guide_statistics": 2}, guide="segment")
    assert seconds_beside(fit, guide) == IMAGES + EACH * 2
    asking = planned(tmp_path, "translate", {"guide_statistics": 2, "translator": ASKING}, guide="segment")
    assert seconds_beside(asking, guide) == IMAGES + EACH * 2 + EACH * (2 + 2)
    fitted = {**asking.inputs, "translator": Source(None, tmp_path / "fitted")}
    assert seconds_beside(replace(asking, inputs=fitted), guide) == EACH * 2


def test_tones_of_classes_take_a_look_at_both_domains_when_a_fitted_one_renders_too(tmp_path: Path) -> None:
    guide = planned(tmp_path)
    fit = planned(tmp_path, "translate", {"class_tones": 2}, guide="segment")
    assert seconds_beside(fit, guide) == IMAGES + EACH * 2 + EACH * (2 + 2)
    fitted = {**fit.inputs, "translator": Source(None, tmp_path / "fitted")}
    assert seconds_beside(replace(fit, inputs=fitted), guide) == EACH * 2 + EACH * (2 + 2)
    # Another segmenter tells them, with the target's statistics: the guide is not asked.
    fit = planned(tmp_path, "translate", {"class_tones": 2, "guide_statistics": 1}, tones="segment")
    assert seconds_beside(fit, guide) == IMAGES + EACH * 2 + EACH * (1 + 2 + 2)


def test_labels_without_thresholds_to_observe_take_one_pass(tmp_path: Path) -> None:
    passes = {"fixed": 1, "class_median": 2}
    for name, count in passes.items():
        label = predicting(tmp_path, "pseudo-label", {"strategy": {"name": name}, "size": SIZE})
        assert seconds_beside(label, planned(tmp_path)) == count * EACH * 2
