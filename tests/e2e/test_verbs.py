"""Every verb through the command line, on a tiny mini-city: what it leaves, and that results hold together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.e2e.conftest import Trail, call, must, pixels
from uda.core.manifest import MANIFEST, read_manifest
from uda.core.resources import find_yaml


def test_prepare_counts_what_is_there(city: Trail) -> None:
    for name, images in (("source", 10), ("synthia", 10), ("train", 8), ("val", 4)):
        table = pd.read_csv(city.csv(name))
        assert len(table) == images
        assert set(table.columns) >= {"image", "label", "dataset"}
        found = json.loads(city.csv(name).with_suffix(".json").read_text())
        assert found["defects"] == []


def test_the_ideal_translation_has_the_games_labels_in_another_look(city: Trail, tmp_path: Path) -> None:
    given = ("--set", "gta5=2", "--set", "synthia=0", "--set", "cityscapes_train=0", "--set", "cityscapes_val=0")
    must("minicity", "--tiny", *given, "--set", "ideal=true", "--out", tmp_path / "data")
    game, ideal = tmp_path / "data/gta5", tmp_path / "data/ideal"
    files = sorted(path.relative_to(ideal) for path in ideal.rglob("*.png"))
    assert files == sorted(path.relative_to(game) for path in game.rglob("*.png")) and len(files) == 4
    for file in files:
        assert ((game / file).read_bytes() == (ideal / file).read_bytes()) is (file.parts[0] == "labels")
    answer = call("minicity", "--set", "gta5=0", "--set", "ideal=true", "--out", tmp_path / "none")
    assert answer.code == 2 and "ideal draws the images of gta5, which is 0" in answer.err


def test_each_stage_says_it_is_complete(trail: Trail) -> None:
    for directory, stage in (
        (trail.data, "minicity"),
        (trail.first, "segment"),
        (trail.translated, "translate"),
        (trail.pseudo, "pseudo-label"),
        (trail.score, "evaluate"),
    ):
        manifest = read_manifest(directory)
        assert manifest is not None and manifest.stage == stage
        assert not directory.with_name(directory.name + ".partial").exists()


def test_configs_are_laid_over_one_another(tmp_path: Path) -> None:
    over = tmp_path / "over.yaml"
    over.write_text("cityscapes_val: 1\ntiny: {gta5: 2, cityscapes_train: 0}\n")
    must("minicity", "--config", "minicity/standard", "--config", over, "--tiny", "--out", tmp_path / "city")
    kept = yaml.safe_load((tmp_path / "city" / "config.yaml").read_text())
    assert (kept["gta5"], kept["cityscapes_train"]) == (2, 0)
    alone = yaml.safe_load(find_yaml("configs", "minicity/standard").read_text())["tiny"]
    assert kept["height"] == alone["height"]
    assert len(list((tmp_path / "city" / "gta5" / "images").iterdir())) == 2


def test_pseudo_labels_are_classes_or_nothing(trail: Trail) -> None:
    table = pd.read_csv(trail.pseudo / "samples.csv")
    assert len(table) == 8
    kept = 0
    for row in table.itertuples():
        label = pixels(trail.pseudo / str(row.label))
        assert set(np.unique(label)) <= {*range(19), 255}
        kept += int((label != 255).sum())
    manifest = read_manifest(trail.pseudo)
    assert manifest is not None
    assert kept == sum(one["pixels"] for one in manifest.metrics["classes"].values()) > 0
    assert manifest.metrics["coverage"] == pytest.approx(kept / (8 * 64 * 128))


def test_evaluating_a_segmenter_or_its_predictions_is_the_same(trail: Trail, tmp_path: Path) -> None:
    images = [str(row.image) for row in pd.read_csv(trail.csv("val")).itertuples()]
    files = [Path(one) if Path(one).is_absolute() else trail.root / one for one in images]
    size = ("--set", "size=[64,128]")
    answer = must("predict", "--segmenter", trail.second, *files, *size, "--out", tmp_path / "predicted")
    assert len(answer.out.split()) >= len(files)
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in files:
        (label,) = [one for one in (tmp_path / "predicted").rglob(f"{file.stem}*.png") if "overlay" not in str(one)]
        shutil.copy(label, flat / f"{file.stem}.png")
    given = ("evaluate", "--config", "evaluate/minicity", "--tiny", "--target", trail.csv("val"))
    must(*given, "--predictions", flat, "--out", tmp_path / "score")
    one, other = (json.loads((where / "report.json").read_text()) for where in (trail.score, tmp_path / "score"))
    # Batches differ, and with them the order of float32 sums: a pixel between two classes may turn.
    assert other["iou"] == pytest.approx(one["iou"], rel=1e-3)
    table = pd.read_csv(trail.score / "iou.csv")
    assert list(table.columns[:3]) == ["class", "iou", "pixels"] and len(table) == 19


@pytest.mark.parametrize("verb", ["evaluate", "pseudo-label"])
def test_images_enter_at_the_size_that_the_segmenter_was_trained_at(trail: Trail, tmp_path: Path, verb: str) -> None:
    given = (verb, "--segmenter", trail.second, "--target", trail.csv("val"))
    said = f"{verb}: no --config and no size: images enter at 64x128, as the segmenter was trained"
    assert must(*given, "--out", tmp_path / "own").err.splitlines()[0] == said
    manifest = read_manifest(tmp_path / "own")
    assert manifest is not None and manifest.settings["size"] == [64, 128]
    again = must(*given, "--set", "size=[64,128]", "--out", tmp_path / "own").err
    assert said not in again and "skipped (complete, same settings and inputs)" in again
    must(*given, "--set", "size=[32,64]", "--out", tmp_path / "small")
    small = read_manifest(tmp_path / "small")
    assert small is not None and small.settings["size"] == [32, 64]
    if verb == "evaluate":  # as the run's own, which names its config
        one, other = (json.loads((where / "report.json").read_text()) for where in (trail.score, tmp_path / "own"))
        assert other["iou"] == pytest.approx(one["iou"], rel=1e-3)  # batches differ: see above
    for name in ("segmenter.safetensors", "model.json"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        shutil.copy(trail.second / name, tmp_path / "bare" / name)
    bare = call(verb, "--segmenter", tmp_path / "bare", "--target", trail.csv("val"), "--out", tmp_path / "x")
    assert bare.err.startswith(f"{verb}: the segmenter does not say what size it was trained at; --set size=")


def test_a_second_run_is_skipped_and_force_runs_again(trail: Trail) -> None:
    command: tuple[str | Path, ...] = ("evaluate", "--config", "evaluate/minicity", "--tiny")
    command += ("--target", trail.csv("val"), "--segmenter", trail.second, "--out", trail.score)
    before = (trail.score / MANIFEST).read_bytes()
    assert "would skip (complete" in must(*command, "--dry-run").out
    answer = must(*command)
    assert "skipped" in answer.err and answer.out.splitlines()[0] == "IoU [%]"  # its table is shown all the same
    assert (trail.score / MANIFEST).read_bytes() == before
    assert "would run (--force)" in must(*command, "--dry-run", "--force").out


def test_json_prints_the_metrics(trail: Trail) -> None:
    command = ("evaluate", "--config", "evaluate/minicity", "--tiny", "--target", trail.csv("val"))
    answer = must(*command, "--segmenter", trail.second, "--out", trail.score, "--json")
    assert json.loads(answer.out)["miou"] >= 0


def test_report_shows_single_stages(trail: Trail, tmp_path: Path) -> None:
    answer = must("report", trail.score, trail.pseudo, trail.translated, "--out", tmp_path / "page.html")
    assert answer.out.strip() == str(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "traffic light" in page and "data:image/png;base64," in page


def test_verify_finds_a_changed_byte(trail: Trail, tmp_path: Path) -> None:
    assert "agree" in must("verify", trail.pseudo, "--deep").out
    copy = tmp_path / "pseudo"
    shutil.copytree(trail.pseudo, copy)
    label = next((copy / "labels").iterdir())
    label.write_bytes(label.read_bytes()[:-1] + b"\0")
    answer = call("verify", copy, "--deep")
    assert answer.code == 3 and label.name in answer.out


def test_list_says_what_kinds_there_are() -> None:
    kinds = must("list").out.splitlines()
    assert any(line.startswith("translators ") and line.endswith("by `uda list translators`") for line in kinds)
    assert json.loads(must("list", "--json").out).keys() == {line.split()[0] for line in kinds}


def test_list_show_and_doctor_answer() -> None:
    assert {"sait", "munit", "color_transfer", "identity"} <= {
        line.split()[0] for line in must("list", "translators").out.splitlines()
    }
    assert "label_space: cityscapes19" in must("show", "minicity_full").out
    assert "torch" in must("doctor").out


@pytest.mark.parametrize(
    "stage", ["minicity", "prepare", "translate", "segment", "pseudo-label", "evaluate", "quality", "predict"]
)
def test_settings_lists_what_set_takes(stage: str) -> None:
    listed = json.loads(must("settings", stage, "--json").out)
    assert listed and all(isinstance(meaning, str) for _, meaning in listed.values())
    text = must("settings", stage).out
    assert all(f"{key}=" in text for key in listed)


def test_settings_are_those_of_the_config_and_of_the_method_that_is_chosen() -> None:
    one = must(
        "settings",
        "translate",
        "lr",
        "--config",
        "translate/minicity",
        "--set",
        "translator.optimizers.generator.lr=0.125",
    )
    assert "translator.optimizers.generator.lr=0.125\n    Base learning rate" in one.out
    other = must("settings", "translate", "weights", "--set", "translator.name=oasis").out
    assert "translator.weights.label_mix=5.0" in other and "symmetric_ce" not in other
    answer = call("settings", "segment", "segmenter.encodre")
    assert answer.code == 2 and "did you mean 'segmenter.encoder'?" in answer.err
    assert call("settings", "translat").code == 2
    unfitted = ("settings", "translate", "--set", "translator.name=color_transfer")
    assert "\nfit." not in must(*unfitted).out and "\ntranslator.mode=" in must(*unfitted).out
    told = "uda settings translate: nothing reads 'fit.batch': color_transfer is not fitted; leave it out"
    assert told in call("settings", "translate", "fit.batch", *unfitted[2:]).err
