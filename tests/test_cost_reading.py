"""What reading files costs: beside which step, how often, and how it is measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.cost_steps import EACH, IMAGES, SIZE, SPEED, of_three, planned, predicting, seconds, seconds_beside
from uda.core.errors import DataError
from uda.cost import reading, trials
from uda.cost.drawing import Drawn, beside, drawing_seconds
from uda.cost.reading import View
from uda.cost.sets import Images, Sets
from uda.data.augment_config import AugmentConfig
from uda.data.read import read_image, read_label, read_size, write_image, write_label
from uda.data.samples import Sample
from uda.pipeline import Planned, Source
from uda.stages.catalog import get_stage

READ, AUGMENT, WRITE = 0.5, 0.125, 2.0
KEPT = {"runtime": {"cache_mb": 1}}
NOT_KEPT = {"runtime": {"cache_mb": 0}}


VIEW = View("cityscapes19", (32, 64), True, "bicubic")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Images, View]]:
    """What is read in trials, each of which says how long it took."""
    found: list[tuple[Images, View]] = []

    def measure(images: Images, how: View) -> float:
        found.append((images, how))
        return READ

    monkeypatch.setattr(reading, "measure_reading", measure)
    monkeypatch.setattr(reading, "measure_augmenting", lambda *_: AUGMENT)
    monkeypatch.setattr(reading, "measure_writing", lambda *_: WRITE)
    monkeypatch.setattr(trials.Trials, "speed", lambda *_: SPEED)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    return found


@pytest.mark.usefixtures("asked")
def test_without_workers_each_image_is_read_before_its_step(tmp_path: Path) -> None:
    assert seconds(planned(tmp_path, settings=NOT_KEPT)) == IMAGES * (1 + READ + AUGMENT)


@pytest.mark.usefixtures("asked")
def test_what_the_cache_holds_is_read_once(tmp_path: Path) -> None:
    assert seconds(planned(tmp_path, settings=KEPT)) == IMAGES * (1 + AUGMENT) + 2 * READ
    room_for_one = {"runtime": {"cache_mb": 4 * SIZE[0] * SIZE[1] / 1e6}}
    assert seconds(planned(tmp_path, settings=room_for_one)) == IMAGES * (1 + AUGMENT) + (2 + (IMAGES - 2) / 2) * READ


@pytest.mark.usefixtures("asked")
def test_workers_read_beside_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = {"runtime": {"cache_mb": 0, "workers": 4}}
    assert seconds(planned(tmp_path, settings=workers)) == IMAGES
    monkeypatch.setattr(trials.Trials, "speed", lambda *_: replace(SPEED, fit=0.0))
    assert seconds(planned(tmp_path, settings=workers)) == IMAGES * (READ + AUGMENT) / 4
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert seconds(planned(tmp_path, settings=workers)) == IMAGES * (READ + AUGMENT) / 2


def test_both_domains_are_read(tmp_path: Path, asked: list[tuple[Images, View]]) -> None:
    adversary = {**NOT_KEPT, "adversary": {"name": "output_space"}}
    one = of_three(tmp_path, planned(tmp_path, settings=adversary))
    assert seconds(one) == IMAGES * (1 + 2 * (READ + AUGMENT))
    assert [(images.count, how.labels) for images, how in asked] == [(2, True), (3, False)]


def test_two_sets_by_turns_are_one(tmp_path: Path, asked: list[tuple[Images, View]]) -> None:
    one = planned(tmp_path, settings=KEPT)
    both = replace(one, inputs={**one.inputs, "also": of_three(tmp_path, one).inputs["target"]})
    assert seconds(both) == IMAGES * (1 + AUGMENT) + (2 + 3) * READ
    assert len(asked) == 2


def test_caches_fill_while_images_are_drawn() -> None:
    few, many = Drawn(10, 1.0, 2.0, 0.5), Drawn(40, 0.25, 4.0, 0.0)
    first, later, last = 1 + 2.5 + 4, 1 + 0.5 + 4, 1 + 0.5 + 3
    assert drawing_seconds(1.0, [few, many], 100, 0) == 10 * first + 30 * later + 60 * last
    assert drawing_seconds(1.0, [few, many], 5, 0) == 5 * first
    assert drawing_seconds(1.0, [few], 100, 2) == 20 * 1.25 + 80 * 1  # each of two workers reads all ten
    assert drawing_seconds(1.0, [], 100, 0) == 100
    assert drawing_seconds(1.0, [few], 0, 0) == 0
    assert (beside(1.0, 2.0, 0), beside(1.0, 2.0, 1)) == (3.0, 2.0)


def test_processes_read_their_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: object) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert seconds(planned(tmp_path, settings=KEPT)) == IMAGES + IMAGES / 2 * AUGMENT + 2 * READ


@pytest.mark.usefixtures("asked")
def test_scores_and_labels_read_their_images(tmp_path: Path) -> None:
    fit, strategy = planned(tmp_path), {"strategy": {"name": "class_median"}, "size": SIZE}
    assert seconds_beside(predicting(tmp_path, "evaluate", {}), fit) == 2 * (EACH + READ)
    assert seconds_beside(predicting(tmp_path, "pseudo-label", {**strategy, **NOT_KEPT}), fit) == 4 * (EACH + READ)
    assert seconds_beside(predicting(tmp_path, "pseudo-label", {**strategy, **KEPT}), fit) == 4 * EACH + 2 * READ
    workers = {**strategy, "runtime": {"workers": 1}}  # of a pass nothing is kept for the next one
    assert seconds_beside(predicting(tmp_path, "pseudo-label", workers), fit) == 4 * READ


@pytest.mark.usefixtures("asked")
def test_rendering_reads_and_writes(tmp_path: Path) -> None:
    settings = {**NOT_KEPT, "samples": 3}

    def seconds_fitted(settings: dict[str, Any]) -> float | None:
        one = planned(tmp_path, "translate", settings)
        return seconds(replace(one, inputs={**one.inputs, "translator": Source(None, tmp_path / "fitted")}))

    rendered = 2 * (READ + 3 * (EACH + WRITE))
    assert seconds_fitted(settings) == rendered
    colours = {**settings, "translator": {"name": "color_transfer"}}  # those of a target image drawn for each
    assert seconds_fitted(colours) == rendered + 2 * 3 * READ
    assert seconds_fitted({**colours, **KEPT}) == rendered + 2 * READ


def test_pairs_are_read_with_their_maps(tmp_path: Path, asked: list[tuple[Images, View]]) -> None:
    for method, read in {"pix2pix": [(2, True), (3, True)], "semi_paired": [(2, True), (3, True), (2, False)]}.items():
        asked.clear()
        one = planned(tmp_path, "translate", {**NOT_KEPT, "translator": {"name": method}})
        one = replace(one, inputs={**one.inputs, "pairs": of_three(tmp_path, one).inputs["target"]})
        assert seconds(one) == IMAGES * (1 + 2 * (READ + AUGMENT)) + 2 * (READ + EACH + WRITE)
        assert [(images.count, how.labels) for images, how in asked] == read


def test_steps_of_one_view_share_a_trial(tmp_path: Path, asked: list[tuple[Images, View]]) -> None:
    one, other = (planned(tmp_path, settings={**KEPT, "seed": seed}) for seed in (0, 1))
    seconds(one, replace(other, name="other"))
    assert len(asked) == 1


def preparing(folder: Path, settings: dict[str, Any], root: Source) -> Planned:
    stage = get_stage("prepare")
    return Planned("source", stage, stage.config.model_validate(settings), {"root": root}, folder / "source")


def drawing_city(folder: Path) -> Planned:
    stage = get_stage("minicity")
    settings = {"gta5": 5, "synthia": 0, "cityscapes_train": 4, "cityscapes_val": 3, "height": 64, "width": 128}
    return Planned("city", stage, stage.config.model_validate(settings), {}, folder / "city")


def test_preparing_reads_all_files_in_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "measure_checking", lambda *_: 3.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    city = drawing_city(tmp_path)
    root = Source("city", city.out / "gta5")
    assert seconds_beside(preparing(tmp_path, {"dataset": "gta5", "threads": 2}, root), city) == 5 * 3 / 2
    few = preparing(tmp_path, {"dataset": "gta5", "threads": 2, "select": {"first": 4}}, root)
    assert seconds_beside(few, city) == 4 * 3 / 2
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert seconds_beside(few, city) == 4 * 3


@pytest.mark.usefixtures("asked")
def test_quality_looks_at_every_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "measure_looking", lambda *_: READ + 1.0)
    fit = planned(tmp_path)
    stage = get_stage("quality")
    own, three = fit.inputs["source"], of_three(tmp_path, fit).inputs["target"]
    inputs = {"images.a": own, "images.b": own, "source": own, "real": three}
    one = Planned("quality", stage, stage.config.model_validate({"size": SIZE}), inputs, tmp_path / "quality")
    assert seconds_beside(one, fit) == (3 * 2 + 3) * (1 + READ)
    judged = replace(one, inputs={**inputs, "segmenter": Source("segment", fit.out)})
    assert seconds_beside(judged, fit) == (3 * 2 + 3) * (1 + READ) + 3 * 2 * (EACH + READ)


def test_files_that_are_there_tell_for_the_rest(tmp_path: Path) -> None:
    for number in range(10):
        write_image(tmp_path / f"gta5/images/{number:05d}.png", np.zeros((8, 16, 3), np.uint8))
        write_label(tmp_path / f"gta5/labels/{number:05d}.png", np.full((8, 16), 7, np.uint8))
    one = preparing(tmp_path, {"dataset": "gta5"}, Source(None, tmp_path / "gta5"))
    found = Sets([one], {"source"}).made_by(one)
    assert (found.count, found.size, found.label_size) == (10, None, None)
    assert [sample.image.stem for sample in found.files] == ["00000", "00003", "00006", "00009"]
    assert all(sample.label is not None for sample in found.files)
    bare = preparing(tmp_path, {"dataset": "gta5", "labels": False}, Source(None, tmp_path / "gta5"))
    assert all(sample.label is None for sample in Sets([bare], {"source"}).made_by(bare).files)


def test_of_what_is_made_later_the_size_is_known(tmp_path: Path) -> None:
    city = drawing_city(tmp_path)
    target = preparing(tmp_path, {"dataset": "cityscapes", "split": "train"}, Source("city", city.out / "cityscapes"))
    made = Source("source", target.out / "samples.csv")
    fit = planned(tmp_path)
    render = planned(tmp_path, "translate", {"render_size": [96, 96], "samples": 2, "render_target": True})
    render = replace(render, inputs={**render.inputs, "target": made})
    label = predicting(tmp_path, "pseudo-label", {"strategy": {"name": "fixed"}, "size": SIZE})
    ours, theirs = (
        label,
        replace(label, name="theirs", inputs={**label.inputs, "target": made}, out=tmp_path / "theirs"),
    )
    plan = [city, target, fit, render, ours, theirs]
    sets = Sets(plan, {one.name for one in plan})
    size = (SIZE[0], SIZE[1])
    assert sets.of(made) == Images(4, (), (64, 128), (64, 128))
    assert sets.made_by(render) == Images(4, (), (96, 96), (96, 96))
    assert sets.of(Source("translate", render.out / "target_samples.csv")) == Images(4, (), (96, 96), None)
    assert sets.made_by(theirs) == Images(4, (), (64, 128), size)
    found = sets.made_by(ours)
    assert ([one.image.name for one in found.files], found.label_size) == (["a.png", "b.png"], size)
    assert all(one.label is None for one in found.files)


def test_what_an_earlier_run_of_a_step_has_left_says_nothing(tmp_path: Path) -> None:
    city = drawing_city(tmp_path)
    one = preparing(tmp_path, {"dataset": "gta5"}, Source("city", city.out / "gta5"))
    one.out.mkdir()
    (one.out / "samples.csv").write_text("image,label,dataset\na.png,,gta5\n")
    assert [Sets([city, one], waiting).made_by(one).count for waiting in ({"source"}, set[str]())] == [5, 1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A clock by which what is timed takes so many seconds, one after the other."""

    def start(*took: float) -> None:
        now = accumulate(chain.from_iterable((0.0, each) for each in took))
        monkeypatch.setattr(reading, "time", SimpleNamespace(monotonic=lambda: next(now)))

    return start


def own_files(folder: Path, number: int = 4) -> Images:
    samples = []
    for index in range(number):
        image, label = folder / f"{index}.png", folder / f"label_{index}.png"
        write_image(image, np.zeros((16, 32, 3), np.uint8))
        write_label(label, np.full((16, 32), 7, np.uint8))
        samples.append(Sample(image, label, "cityscapes", folder))
    return Images(100, tuple(samples))


def test_seconds_are_the_mean_of_a_few_files(tmp_path: Path, clock: Callable[..., None]) -> None:
    clock(0.5, 0.125, 0.25, 0.375)  # the first one warms up
    assert reading.measure_reading(own_files(tmp_path), VIEW) == 0.25


def test_no_further_file_is_read_when_some_have_taken_long(tmp_path: Path, clock: Callable[..., None]) -> None:
    clock(2.0, 0.5)  # and no third one
    assert reading.measure_reading(own_files(tmp_path), VIEW) == 0.5


def test_files_that_cannot_be_read_are_passed_over_but_all(tmp_path: Path) -> None:
    files = own_files(tmp_path).files
    gone = [replace(one, image=tmp_path / "none.png") for one in files]
    assert reading.measure_reading(Images(4, (gone[0], files[1])), VIEW) > 0
    with pytest.raises(DataError, match="no such file"):
        reading.measure_reading(Images(4, tuple(gone)), VIEW)
    broken = trials.Trials(Sets([], ()))
    with pytest.raises(trials.UnmeasuredError, match=r"^none\.png: no such file$"):
        broken.reading(Images(4, tuple(gone)), VIEW)
    assert broken.reading(Images(0), VIEW) == 0


def test_pngs_of_their_size_stand_for_what_is_made_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from uda.data.label_space import load_space
    from uda.data.spec import index_spec, mapping_table

    space = load_space("cityscapes19")
    made = reading._samples(Images(7, (), (70, 130), (35, 65)), space, tmp_path)
    assert len(made) > 1 and made[0].label is not None
    assert read_size(made[0].image) == (70, 130) and read_size(made[0].label) == (35, 65)
    assert made[0].image.stat().st_size == pytest.approx(2 * 70 * 130, rel=0.3)  # about as a photograph's
    spec = index_spec(space)
    assert len(np.unique(read_label(made[0].label, spec, mapping_table(spec, space)))) > 5
    assert read_image(made[0].image).std() > 20
    for images in (Images(7, (), (70, 130), (35, 65)), Images(7, (), (70, 130), None)):
        assert reading.measure_reading(images, VIEW) > 0
        assert reading.measure_checking(images, preparing_config({"dataset": "gta5"})) > 0


def preparing_config(settings: dict[str, Any]) -> Any:
    return get_stage("prepare").config.model_validate(settings)


def test_a_thread_of_prepare_checks_files_as_they_are(tmp_path: Path, clock: Callable[..., None]) -> None:
    clock(0.5, 0.25, 0.25)
    settings = {"dataset": "cityscapes", "label_space": "cityscapes19"}
    assert reading.measure_checking(own_files(tmp_path, 3), preparing_config(settings)) == 0.25


def test_quality_is_tried_on_files_as_they_are(tmp_path: Path, clock: Callable[..., None]) -> None:
    clock(9.0, 2.0)
    config: Any = get_stage("quality").config.model_validate({"size": [64, 64], "runtime": {"device": "cpu"}})
    assert reading.measure_looking(own_files(tmp_path), config) == 2.0 / 4


def test_augmenting_and_writing_are_tried_on_a_picture_of_the_size(clock: Callable[..., None]) -> None:
    clock(0.5, 0.25, 0.25)
    augment = AugmentConfig(crop=(32, 32), flip=1.0, scale=(0.5, 2.0))
    assert reading.measure_augmenting((64, 128), augment) == 0.25
    clock(0.5, 0.125, 0.125)
    assert reading.measure_writing((64, 128)) == 0.125
