"""Which trials a plan's estimate makes, and what it says where one fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cost_steps import EACH, IMAGES, SPEED, of_three, planned, predicting, seconds
from tests.test_cost_trials import TINY
from uda import iterate
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError, RunError
from uda.cost import estimate, trials
from uda.pipeline import Planned, Request, Source
from uda.stages import trial
from uda.stages.base import Decision
from uda.stages.segment import SegmentConfig
from uda.stages.translate import TranslateConfig
from uda.stages.trial import Speed


@pytest.fixture(autouse=True)
def _files_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reading", "augmenting", "writing"):
        monkeypatch.setattr(trials.Trials, name, lambda *_: 0.0)


def test_settings_that_no_plan_could_refuse_are_told_before_the_first_step(
    tmp_path: Path,
) -> None:
    settings = {"segmenter": {"name": "smp", "architecture": "FPN", "encoder": "resnet19"}, "size": [32, 64]}
    with pytest.raises(ConfigError, match=r"^step segment: .*resnet19"):
        seconds(planned(tmp_path, settings=settings))


def test_a_trial_that_a_gpu_has_no_room_for_is_told_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Speed:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(trial, "speed", full)
    with pytest.raises(RunError, match=r"segment: out of memory in a trial .*20 GiB\); make fit.batch"):
        seconds(planned(tmp_path))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What trials were asked for."""
    asked: list[tuple[Any, ...]] = []

    def measure(*given: Any) -> Speed:
        asked.append(given)
        return SPEED

    monkeypatch.setattr(trial, "speed", measure)
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
    assert {*SegmentConfig.model_fields, *TranslateConfig.model_fields} >= trials._NO_MATTER_OF_SPEED


def test_target_images_that_give_statistics_alone_are_in_no_batch(tmp_path: Path, tried: list[tuple[Any, ...]]) -> None:
    adversary = {"adversary": {"name": "output_space"}}
    todo = [
        of_three(tmp_path, planned(tmp_path, settings=settings)) for settings in ({"target_statistics": 4}, adversary)
    ]
    seconds(*[replace(one, name=f"step_{number}") for number, one in enumerate(todo)])
    assert [with_target for _, with_target, _ in tried] == [False, True]


def test_a_segmenter_that_is_there_is_tried_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, tuple[int, int]]] = []

    def pass_through(directory: Path, size: tuple[int, int], _: object) -> float:
        asked.append((directory, size))
        return EACH / (64 * 64)

    monkeypatch.setattr(trial, "segmenter_speed", pass_through)
    given = Source(None, tmp_path / "bdl")
    planned(tmp_path)  # and the manifest
    score = predicting(tmp_path, "evaluate", {"size": [64, 64]})
    score = replace(score, inputs={**score.inputs, "segmenter": given})
    assert (seconds(score), asked) == (EACH * 2, [(given.path, (64, 64))])


def test_a_guide_that_is_there_is_given_to_the_trial(tmp_path: Path, tried: list[tuple[Any, ...]]) -> None:
    fit = planned(tmp_path, "translate")
    seconds(replace(fit, inputs={**fit.inputs, "guide": Source(None, tmp_path / "bdl")}))
    assert [guide for _, _, guide in tried] == [tmp_path / "bdl"]


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Have trials of segmenters fail."""

    def measure(config: Any, *_: object) -> Speed:
        if isinstance(config, SegmentConfig):
            raise error
        return SPEED

    monkeypatch.setattr(trial, "speed", measure)


def rounds(folder: Path, *places: str) -> list[Planned]:
    """Two rounds of a fit that is scored, and a translation, in each place."""
    fit, score = planned(folder), predicting(folder, "evaluate", {})
    render = planned(folder, "translate")
    found = []
    for at in (f"{place}{{}}@{number}" for place in places or ("",) for number in (1, 2)):
        sources = {**score.inputs, "segmenter": Source(at.format("segment"), folder / "segment")}
        found += [replace(one, name=at.format(one.name)) for one in (render, fit)]
        found.append(replace(score, name=at.format("evaluate"), inputs=sources))
    return found


def test_a_step_whose_trial_fails_counts_nothing_and_is_named_once_a_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RunError("diverged: segmentation is nan at image 2", "segment", "lower the rate"))
    todo = rounds(tmp_path, "seed_0/", "seed_1/")
    found = estimate.estimate(todo, todo, Console(quiet=True), measure=True)
    assert found.seconds == 4 * (IMAGES + EACH * 2)
    names = "seed_0/segment@1, seed_0/evaluate@1"
    assert found.left_out == (f"{names} (their trial failed: diverged: segmentation is nan at image 2)",)


def test_what_is_not_measured_stands_beside_the_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, RuntimeError("mat1 and mat2\nshapes cannot be multiplied " + 20 * "(1x2) "))
    decided = [(one, Decision("run", "not made yet")) for one in rounds(tmp_path)]
    request = Request("own", tmp_path / "out")
    iterate.say_cost(decided[:2], request, Console(), measure=True)
    last = capsys.readouterr().err.splitlines()[-1]
    reason = "mat1 and mat2 shapes cannot be multiplied (1x2) (1x2)"
    assert f"about 2m 40s on this machine, without segment@1 (its trial failed: {reason}" in last
    assert last.endswith("...)") and len(last) < 250


def test_a_line_for_each_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, RuntimeError("no kernel"))
    score = predicting(tmp_path, "evaluate", {})
    score = replace(score, inputs={**score.inputs, "segmenter": Source(None, tmp_path / "nowhere")})
    decided = [(one, Decision("run", "not made yet")) for one in (planned(tmp_path), score)]
    monkeypatch.setattr(trial, "segmenter_speed", no_segmenter)
    iterate.say_cost(decided, Request("own", tmp_path / "out"), Console(), measure=True)
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert first.endswith(" on this machine, without segment (its trial failed: no kernel)")
    assert second == "and without evaluate (its trial failed: nowhere: holds no segmenter)"


def no_segmenter(directory: Path, *_: object) -> float:
    raise DataError("holds no segmenter", directory, "give another")


def test_of_many_steps_the_first_are_named() -> None:
    told = estimate._told(["source_only", "oracle", "segment@1", "evaluate@1"], "no kernel")
    assert told == "source_only, oracle, segment@1 and 1 more (their trial failed: no kernel)"
