"""What `uda translate` and its kin leave and take: the trail, labels where there were some, fitted networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.e2e.conftest import SEGMENT, Trail, call, must
from uda.core.manifest import read_manifest
from uda.stages import _class_tones as class_tones


def data(city: Trail) -> tuple[str | Path, ...]:
    return ("--source", city.csv("source"), "--target", city.csv("train"))


def own_rows(city: Trail, file: Path, *, bare: list[int]) -> Path:
    """The source's manifest somewhere else, some of its rows without a label."""
    table = pd.read_csv(city.csv("source"))
    for column in ("image", "label"):
        table[column] = [str(city.root / name) for name in table[column]]
    table.loc[bare, "label"] = ""
    table.to_csv(file, index=False)
    return file


def test_the_same_fit_leaves_the_same_digest_however_long_it_takes(trail: Trail, tmp_path: Path) -> None:
    given = ("--config", "translate/minicity", "--tiny", *data(trail))
    found = []
    for name in ("one", "two"):
        must("translate", *given, "--guide", trail.first, "--device", "cpu", "--out", tmp_path / name)
        manifest = read_manifest(tmp_path / name)
        assert manifest is not None
        found.append(manifest)
        assert not (tmp_path / name / "fit.json").exists()
    assert found[0].metrics["images_per_second"] != found[1].metrics["images_per_second"]
    assert found[0].outputs == found[1].outputs


def test_an_image_without_a_label_is_translated_into_one_without(city: Trail, tmp_path: Path) -> None:
    source = own_rows(city, tmp_path / "some.csv", bare=[1])
    given = ("--config", "translate/color_transfer", "--tiny", "--target", city.csv("train"))
    must("translate", *given, "--source", source, "--out", tmp_path / "out")
    made = pd.read_csv(tmp_path / "out" / "samples.csv")
    assert list(made["label"].isna()) == [row == 1 for row in range(len(made))]
    assert len(list((tmp_path / "out" / "labels").iterdir())) == len(made) - 1
    must("translate", *given, "--source", source, "--out", tmp_path / "out")  # complete: nothing is missing
    answer = call("segment", *SEGMENT, "--source", tmp_path / "out/samples.csv", "--out", tmp_path / "segment")
    assert answer.code == 3 and "1 images have no label" in answer.err


def test_maps_that_a_fitted_translator_reads_have_to_be_there(city: Trail, trail: Trail, tmp_path: Path) -> None:
    source = own_rows(city, tmp_path / "some.csv", bare=[1])
    given = ("--config", "translate/semgan", "--tiny", "--target", city.csv("train"), "--source", source)
    answer = call("translate", *given, "--translator", trail.translated, "--out", tmp_path / "out")
    assert answer.code == 3 and "1 images have no label" in answer.err


def test_a_translator_of_other_classes_is_refused_and_other_settings_are_told(trail: Trail, tmp_path: Path) -> None:
    fitted = tmp_path / "fitted"
    shutil.copytree(trail.translated, fitted)
    given = ("--config", "translate/minicity", "--tiny", *data(trail))
    given_too = ("--guide", trail.first, "--translator", fitted)
    changed = ("--set", "translator.encoder_norm=true")
    answer = must("translate", *given, *given_too, *changed, "--out", tmp_path / "other")
    assert f"translate: {fitted} was fitted with translator.encoder_norm False, here it is True" in answer.err
    described = json.loads((fitted / "model.json").read_text())
    described["classes"][:2] = reversed(described["classes"][:2])
    (fitted / "model.json").write_text(json.dumps(described))
    answer = call("translate", *given, *given_too, "--out", tmp_path / "out")
    assert answer.code == 2 and f"{fitted}: was fitted for other classes; use the label space" in answer.err


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("key", "size", "fitting"),
    [("size", [65, 128], [64, 128]), ("render_size", [64, 99], [64, 100]), ("augment.crop", [61, 64], [60, 64])],
)
def test_a_size_that_the_network_cannot_divide_is_refused(
    city: Trail, tmp_path: Path, key: str, size: list[int], fitting: list[int], dry: tuple[str, ...]
) -> None:
    given = ("--config", "translate/cyclegan", "--tiny", *data(city), "--set", f"{key}={size}")
    answer = call("translate", *given, "--out", tmp_path / "out", *dry)
    assert answer.code == 2 and answer.out == ""
    wanted = f"error: {key}: {size} is not divisible by 4, as translator cyclegan needs; use {fitting}"
    assert answer.err.splitlines() == [wanted]  # no word of a run before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "setting", ["noise=0.1", "blur.probability=0.5", "color_jitter.probability=0.5", "class_colors.probability=0.5"]
)
def test_random_colours_are_refused_for_a_translator(city: Trail, tmp_path: Path, setting: str) -> None:
    given = ("--config", "translate/cyclegan", "--tiny", *data(city))
    answer = call("translate", *given, "--set", f"augment.{setting}", "--out", tmp_path / "out")
    assert answer.code == 2
    assert f"augment.{setting.partition('=')[0].partition('.')[0]}: translators are fitted to images in" in answer.err


def test_the_coding_of_predictions_goes_with_predictions_alone(trail: Trail, tmp_path: Path) -> None:
    given = ("--config", "evaluate/minicity", "--tiny", "--target", trail.csv("val"), "--segmenter", trail.first)
    answer = call("evaluate", *given, "--set", "coding=label-ids", "--out", tmp_path / "out")
    assert answer.code == 2 and "coding: says what --predictions hold, and there are none; leave it out" in answer.err


def test_a_frame_that_a_segmenters_directory_was_not_trained_in_is_told(trail: Trail, tmp_path: Path) -> None:
    fit = ("segment", *SEGMENT, "--set", "adversary=null", "--set", "target_statistics=0", *data(trail)[:2])
    quiet = must(*fit, "--init", trail.first, "--out", tmp_path / "same").err
    assert "in frame" not in quiet
    told = must(*fit, "--init", trail.first, "--set", "segmenter.frame=unit", "--out", tmp_path / "other").err
    assert f"{trail.first} was trained in frame imagenet, here it is unit: set segmenter.frame=imagenet" in told
    manifest = read_manifest(tmp_path / "other")
    assert manifest is not None and len(manifest.metrics["warnings"]) == 1


@pytest.mark.parametrize("option", ["--translator", "--init"])
def test_a_fitted_translator_brings_its_settings(trail: Trail, tmp_path: Path, option: str) -> None:
    """Without a config it renders, and goes on learning, as it was fitted."""
    given = (*data(trail), "--guide", trail.first, option, trail.translated, "--device", "cpu")
    answer = must("translate", *given, "--out", tmp_path / "again")
    assert f"no --config: the settings are those of {trail.translated / 'config.yaml'}" in answer.err
    first, again = read_manifest(trail.translated), read_manifest(tmp_path / "again")
    assert first is not None and again is not None
    kept = {key: value for key, value in first.config.items() if key != "runtime"}
    assert kept == {key: value for key, value in again.config.items() if key != "runtime"}
    changed = must(
        "translate", *given, "--set", "samples=2", "--set", "translator.noise=true", "--dry-run", "--out", "x"
    )
    assert "would run" in changed.out
    answer = call("translate", *given, "--tiny", "--out", tmp_path / "tiny")
    assert answer.code == 2 and "config.yaml: its settings are as it was fitted, with no tiny overlay; " in answer.err


@pytest.mark.parametrize(
    ("verb", "name"),
    [("evaluate", "segmenter"), ("pseudo-label", "segmenter"), ("quality", "segmenter"), ("translate", "guide")],
)
def test_a_segmenter_of_other_classes_is_told_before_anything_runs(
    trail: Trail, tmp_path: Path, verb: str, name: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(trail.first, other)
    described = json.loads((other / "model.json").read_text())
    described["classes"] = described["classes"][:3]
    (other / "model.json").write_text(json.dumps(described))
    given = {
        "evaluate": ("--target", trail.csv("val")),
        "pseudo-label": ("--target", trail.csv("train")),
        "quality": ("--images", trail.csv("source"), "--real", trail.csv("val"), "--config", "quality/minicity"),
        "translate": (*data(trail), "--config", "translate/minicity"),
    }[verb]
    for dry in ((), ("--dry-run",)):
        answer = call(verb, *given, f"--{name}", other, "--out", tmp_path / "out", *dry)
        assert answer.code == 2 and f"{other}: was trained for 3 classes (" in answer.err.splitlines()[-1]
    assert not (tmp_path / "out.partial").exists()


def test_classes_are_moved_to_the_tones_that_the_guide_sees_in_the_target(trail: Trail, tmp_path: Path) -> None:
    given = ("--config", "translate/identity", "--tiny", *data(trail), "--guide", trail.first, "--device", "cpu")
    tones = ("--set", "class_tones=4", "--set", "guide_statistics=4", "--set", "rows=[0, 0.9]")
    must("translate", *given, "--out", tmp_path / "plain")
    answer = must("translate", *given, *tones, "--out", tmp_path / "moved")
    assert "classes are moved to the target's tones (class_gains.csv)" in answer.err
    assert f"class_tones: {trail.first} learnt classes in their own tones" in answer.err
    gains = pd.read_csv(tmp_path / "moved" / "class_gains.csv").set_index("class")
    assert (gains.loc["road"] != 1).any() and len(gains) == 19

    def tone(out: str, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        row = pd.read_csv(tmp_path / out / "samples.csv").iloc[number]
        image, label = (np.asarray(Image.open(tmp_path / out / row[column])) for column in ("image", "label"))
        rgb = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1
        return rgb, torch.from_numpy(label.astype(np.int64))[None]

    for number in (0, 3):
        image, label = tone("plain", number)
        by_hand = class_tones.move(image, label, class_tones.read_table(tmp_path / "moved" / "class_gains.csv"))
        assert (by_hand - tone("moved", number)[0]).abs().max() < 2 / 127.5


def test_of_classes_that_are_named_alone_tones_are_moved(trail: Trail, tmp_path: Path) -> None:
    given = ("--config", "translate/identity", "--tiny", *data(trail), "--guide", trail.first)
    tones = ("--set", "class_tones=4", "--set", "class_tones_of=[road, 10]")
    must("translate", *given, *tones, "--out", tmp_path / "moved")
    gains = pd.read_csv(tmp_path / "moved" / "class_gains.csv").set_index("class")
    assert (gains.loc["road"] != 1).any() and (gains.drop(index=["road", "sky"]) == 1).all(axis=None)
    for dry in ((), ("--dry-run",)):
        answer = call("translate", *given, *tones[:2], "--set", "class_tones_of=[raod]", "--out", tmp_path / "no", *dry)
        assert answer.code == 2 and "class_tones_of: no class 'raod' in the label space" in answer.err
    answer = call("translate", *given, *tones[2:], "--out", tmp_path / "no")
    assert answer.code == 2 and "class_tones is 0" in answer.err and not (tmp_path / "no").exists()


def test_another_segmenter_than_the_guide_may_tell_tones(trail: Trail, tmp_path: Path) -> None:
    few = ("--set", "target_candidates=1", "--set", "guide_statistics=2")
    given = ("--config", "translate/minicity", "--tiny", *few, *data(trail), "--guide", trail.first)
    tones = ("--set", "class_tones=2", "--tones", trail.second)
    answer = call("translate", *given, *tones[2:], "--out", tmp_path / "none")
    assert answer.code == 2 and "no tones are told: class_tones is 0" in answer.err
    must("translate", *given, "--out", tmp_path / "plain")
    answer = must("translate", *given, *tones, "--out", tmp_path / "told")
    assert f"class_tones: {trail.second} learnt classes in their own tones" in answer.err
    fits = [load_file(tmp_path / out / "translator.safetensors") for out in ("plain", "told")]
    assert all(torch.equal(fits[0][key], value) for key, value in fits[1].items())  # the fit asks the guide as ever
    by_guide = must("translate", *given, *tones[:2], "--out", tmp_path / "by_guide")
    assert f"class_tones: {trail.first} learnt" in by_guide.err
    found = [pd.read_csv(tmp_path / out / "class_gains.csv") for out in ("told", "by_guide")]
    assert not found[0].equals(found[1])


def test_nothing_is_said_of_a_guide_that_learnt_classes_in_random_tones(trail: Trail, tmp_path: Path) -> None:
    learnt = (*SEGMENT, "--config", "overlays/class_colors", "--set", "adversary=null", "--set", "target_statistics=0")
    must("segment", *learnt, "--source", trail.csv("source"), "--out", tmp_path / "guide")
    given = ("--config", "translate/identity", "--tiny", "--set", "class_tones=2", "--guide", tmp_path / "guide")
    answer = must("translate", *given, *data(trail), "--out", tmp_path / "moved")
    assert "(class_gains.csv)" in answer.err and "their own tones" not in answer.err


def test_tones_of_classes_take_a_guide_and_labels(trail: Trail, tmp_path: Path) -> None:
    given = (
        "--config",
        "translate/minicity_cyclegan",
        "--tiny",
        "--set",
        "class_tones=4",
        "--set",
        "target_candidates=1",
    )
    answer = call("translate", *given, "--set", "guide_statistics=0", *data(trail), "--out", tmp_path / "out")
    assert answer.code == 2 and "class_tones: a segmenter must see which classes" in answer.err
    bare = own_rows(trail, tmp_path / "bare.csv", bare=list(range(10)))
    more = ("--config", "translate/identity", "--tiny", "--set", "class_tones=4", "--target", trail.csv("train"))
    answer = call("translate", *more, "--guide", trail.first, "--source", bare, "--out", tmp_path / "out")
    assert answer.code == 3 and "class_tones moves classes by their labels" in answer.err
