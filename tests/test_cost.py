"""What a plan costs: seconds and disk of what is left to do, and for which steps trials are made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.test_cost_trials import TINY
from uda import cost
from uda.core.console import Console
from uda.core.errors import ConfigError, RunError
from uda.core.rundir import CHECKPOINT, RunDirectory
from uda.pipeline import Planned, Source
from uda.stages.base import decide
from uda.stages.catalog import get_stage
from uda.stages.segment import SegmentConfig
from uda.stages.translate import TranslateConfig

IMAGES = 160
SIZE = [32, 64]
EACH = 0.25
"""Seconds to run an image of that size through a network."""
ALL_RENDERED = {"samples": 3, "render_target": True, "recreate_target": True}
MEASURED = cost._speed


def planned(folder: Path, name: str = "segment", settings: Mapping[str, Any] | None = None, **steps: str) -> Planned:
    """A step that learns from two images of one's own, or from what other steps make."""
    manifest = folder / "own.csv"
    if not manifest.exists():
        manifest.write_text("image,label,dataset\na.png,a.png,gta5\nb.png,b.png,gta5\n")
    stage = get_stage(name)
    key = "segmenter" if name == "segment" else "translator"
    method = {"segment": "deeplabv2", "translate": "color_transfer"}[name]
    base = {key: {"name": method}, "size": SIZE, "fit": {"images": IMAGES}}
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
    monkeypatch.setattr(cost, "_speed", lambda one, by_name, speeds: cost.Speed(1.0, EACH / (SIZE[0] * SIZE[1])))


def seconds(*todo: Planned, force: bool = False) -> float | None:
    return cost.estimate(todo, todo, Console(quiet=True), measure=True, force=force).seconds


def seconds_beside(one: Planned, *others: Planned) -> float | None:
    """Seconds of a step alone, whose inputs the others have made."""
    return cost.estimate([*others, one], [one], Console(quiet=True), measure=True).seconds


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
    for name in "ab":
        (tmp_path / name).mkdir()
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


def of_three(folder: Path, one: Planned) -> Planned:
    """The step with three target images of one's own."""
    manifest = folder / "three.csv"
    manifest.write_text("image,label,dataset\n" + "".join(f"{name}.png,,gta5\n" for name in "cde"))
    return replace(one, inputs={**one.inputs, "target": Source(None, manifest)})


def predicting(folder: Path, name: str, settings: Mapping[str, Any]) -> Planned:
    """A step that runs a segmenter over the two images of one's own."""
    stage = get_stage(name)
    inputs = {"segmenter": Source("segment", folder / "segment"), "target": Source(None, folder / "own.csv")}
    return Planned(name, stage, stage.config.model_validate(settings), inputs, folder / name)


def rendered_bytes(one: Planned) -> float:
    estimate = cost.estimate([one], [one], Console(quiet=True), measure=False)
    return estimate.bytes - cost._SMALL_MODEL_BYTES


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
    assert rendered_bytes(one) == -cost._SMALL_MODEL_BYTES  # nothing, and not less


def test_a_trial_that_a_gpu_has_no_room_for_is_told_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> cost.Speed:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(cost, "_speed", MEASURED)
    monkeypatch.setattr(cost, "_trial", full)
    with pytest.raises(RunError, match=r"segment: out of memory in a trial .*20 GiB\); make fit.batch"):
        seconds(planned(tmp_path))


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
    assert seconds_beside(predicting(tmp_path, "pseudo-label", labelled), fit) == 2 * 2 * EACH * 2


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
    label = predicting(tmp_path, "pseudo-label", {"strategy": {"name": "fixed"}, "size": SIZE})
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert seconds(render) == IMAGES + EACH * 2 / 2
    assert seconds_beside(predicting(tmp_path, "evaluate", {}), fit) == EACH * 2
    assert seconds_beside(label, fit) == EACH * 2 + EACH * 2 / 2


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What trials were asked for."""
    asked: list[tuple[Any, ...]] = []

    def measure(*given: Any) -> cost.Speed:
        asked.append(given)
        return cost.Speed(1.0, EACH / (SIZE[0] * SIZE[1]))

    monkeypatch.setattr(cost, "_speed", MEASURED)
    monkeypatch.setattr(cost, "_trial", measure)
    return asked


def test_one_trial_is_enough_for_every_seed_and_length(tmp_path: Path, tried: list[tuple[Any, ...]]) -> None:
    settings: list[dict[str, Any]] = [
        *({"seed": seed, "fit": {"images": images, "batch": 2}} for seed in (0, 1) for images in (IMAGES, 80)),
        {"fit": {"batch": 4}},
        {"fit": {"batch": 2}, "size": [64, 64]},
        {"fit": {"batch": 2}, "runtime": {"device": "cpu"}},
    ]
    todo = [replace(planned(tmp_path, settings=one), name=f"step_{n}") for n, one in enumerate(settings)]
    assert seconds(*todo[:4]) == 2 * (IMAGES + 80)
    assert len(tried) == 1
    tried.clear()
    seconds(*todo)
    assert len(tried) == 4


def test_a_guide_is_part_of_what_is_tried(tmp_path: Path, tried: list[tuple[Any, ...]]) -> None:
    short = planned(tmp_path, settings={"fit": {"images": 80}, "seed": 1})
    long, other = replace(planned(tmp_path), name="long"), replace(planned(tmp_path, settings=TINY), name="other")
    names = ("segment", "long", "other", None)
    fits = [
        replace(
            planned(tmp_path, "translate", None, **({} if name is None else {"guide": name})), name=f"translate_{name}"
        )
        for name in names
    ]
    seconds(short, long, other, *fits)
    guided = [config.segmenter.name for _, _, config in tried if config is not None]
    assert guided == ["deeplabv2", "smp"]  # the two of one network share a trial
    assert len(tried) == 2 + 3  # of segmenters, and of the translator with each guide and without


def test_what_is_left_out_of_a_speeds_key_are_settings_of_fits() -> None:
    assert {*SegmentConfig.model_fields, *TranslateConfig.model_fields} >= cost._NO_MATTER_OF_SPEED
