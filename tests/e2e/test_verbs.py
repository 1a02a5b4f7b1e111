"""Every verb through the command line, on a tiny mini-city: what it leaves, and that results hold together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.e2e.conftest import Trail, call, must
from uda.core.manifest import MANIFEST, read_manifest
from uda.data.label_space import load_space


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_prepare_counts_what_is_there(city: Trail) -> None:
    for name, images in (("source", 10), ("synthia", 10), ("train", 8), ("val", 4)):
        table = pd.read_csv(city.csv(name))
        assert len(table) == images
        assert set(table.columns) >= {"image", "label", "dataset"}
        found = json.loads(city.csv(name).with_suffix(".json").read_text())
        assert found["defects"] == []


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


def test_translate_renders_each_image_and_carries_its_label(trail: Trail) -> None:
    before, after = pd.read_csv(trail.csv("source")), pd.read_csv(trail.translated / "samples.csv")
    assert len(after) == len(before)
    space = load_space("cityscapes19")
    for row in after.itertuples():
        image, label = pixels(trail.translated / str(row.image)), pixels(trail.translated / str(row.label))
        assert image.shape == (*label.shape, 3) == (64, 128, 3)
        assert set(np.unique(label)) <= {*range(len(space.classes)), 255}
        assert image.std() > 1
    there_and_back = pd.read_csv(trail.translated / "target_samples.csv")
    assert len(there_and_back) == 8
    assert (trail.translated / "grid.png").is_file()


def test_a_fitted_translator_renders_again_the_same(trail: Trail, tmp_path: Path) -> None:
    must(
        "translate", "--config", "translate/minicity", "--tiny", "--source", trail.csv("source"), "--target",
        trail.csv("train"), "--guide", trail.first, "--translator", trail.translated, "--out", tmp_path / "again",
    )  # fmt: skip
    for row in pd.read_csv(trail.translated / "samples.csv").itertuples():
        assert (tmp_path / "again" / str(row.image)).read_bytes() == (trail.translated / str(row.image)).read_bytes()


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
    assert other["iou"] == one["iou"]
    table = pd.read_csv(trail.score / "iou.csv")
    assert list(table.columns[:3]) == ["class", "iou", "pixels"] and len(table) == 19


def test_a_second_run_is_skipped_and_force_runs_again(trail: Trail) -> None:
    command = ("evaluate", "--config", "evaluate/minicity", "--tiny", "--target", trail.csv("val"))
    command = (*command, "--segmenter", trail.second, "--out", trail.score)
    before = (trail.score / MANIFEST).read_bytes()
    assert "would skip (complete" in must(*command, "--dry-run").out
    must(*command)
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


def test_list_show_and_doctor_answer() -> None:
    assert {"sait", "munit", "color_transfer", "identity"} <= {
        line.split()[0] for line in must("list", "translators").out.splitlines()
    }
    assert "label_space: cityscapes19" in must("show", "minicity_full").out
    assert "torch" in must("doctor").out


@pytest.mark.parametrize("translator", ["munit", "color_transfer", "identity"])
def test_other_translators_go_through_the_same_command(city: Trail, tmp_path: Path, translator: str) -> None:
    must(
        "translate", "--config", f"translate/{translator}", "--tiny", "--source", city.csv("source"), "--target",
        city.csv("train"), "--out", tmp_path / translator,
    )  # fmt: skip
    assert len(pd.read_csv(tmp_path / translator / "samples.csv")) == 10


def test_translate_says_before_it_starts_what_its_inputs_lack(city: Trail, trail: Trail, tmp_path: Path) -> None:
    given = ("--tiny", "--source", city.csv("source"), "--target", city.csv("train"), "--out", tmp_path / "out")
    unguided = call("translate", "--config", "translate/minicity", *given)
    assert unguided.code == 2 and "needs a segmenter as guide" in unguided.err and "give --guide" in unguided.err
    pseudo = ("--pseudo", trail.pseudo / "samples.csv")
    paired = call("translate", "--config", "translate/munit", *given, *pseudo)
    assert paired.code == 2 and "munit learns from no pairs" in paired.err
    assert not (tmp_path / "out").exists()


def test_a_segmenter_learns_from_two_manifests_in_true_formats(city: Trail, tmp_path: Path) -> None:
    must(
        "segment", "--config", "segment/fcn8s", "--tiny", "--source", city.csv("synthia"), "--target",
        city.csv("train"), "--out", tmp_path / "fcn8s",
    )  # fmt: skip
    terms = json.loads((tmp_path / "fcn8s" / "log.jsonl").read_text().splitlines()[-1])
    assert {"segmentation", "adversarial", "discriminator"} <= set(terms)
