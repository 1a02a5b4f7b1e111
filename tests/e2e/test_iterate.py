"""The whole loop through the command line: report, skips, interruption, and what may be seen of the target."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.e2e.conftest import Trail, call, must
from uda.data.dataset import SegmentationDataset
from uda.data.label_space import load_space
from uda.data.samples import read_samples
from uda.data.supervision import split_pairs

WEIGHTS = ("start", "source_only", "translate", "segment")


def weights(run: Path) -> dict[str, bytes]:
    """Bytes of every fitted network of a run, but the oracle's."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*.safetensors"))
        if "oracle" not in path.parts and ".partial" not in path.as_posix()
    }


def own_data(city: Trail) -> tuple[object, ...]:
    given = (("--source", "source"), ("--target", "train"), ("--val", "val"))
    return tuple(part for flag, name in given for part in (flag, city.csv(name)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("loop") / "run"
    answer = must("iterate", "--tiny", "--rounds", "2", "--out", out)
    assert "source only" in answer.out and "oracle" in answer.out and "round 2" in answer.out
    assert str(out / "report.html") in answer.out
    assert "of disk" in answer.err and "on this machine" in answer.err  # said before anything ran
    assert "oracle: run (its input target is made first); learns from target labels\n" in answer.err
    return out


def test_the_report_has_a_row_for_each_round_between_its_bounds(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    assert [(row["name"], row["round"]) for row in report["rows"]] == [
        ("source only", None),
        ("round 1", 1),
        ("round 2", 2),
        ("oracle", None),
    ]
    assert len(report["classes"]) == 19
    for row in report["rows"]:
        assert set(row["iou"]) == set(report["classes"]) and set(row["subsets"]) == {"16", "13"}
        assert 0 <= row["miou"] <= 1
    with (finished / "iou.csv").open(newline="") as opened:
        assert len(list(csv.reader(opened))) == 5
    page = (finished / "report.html").read_text()
    assert "round 2" in page and "data:image/png;base64," in page


def test_running_again_skips_everything_and_says_why(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("manifest.json")}
    answer = must("iterate", "--tiny", "--rounds", "2", "--out", finished)
    assert "everything is complete: nothing to run" in answer.err
    assert answer.err.count("skip (complete, same settings and inputs)") == len(before)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("manifest.json")} == before


def test_a_report_can_be_read_by_programs(finished: Path) -> None:
    answer = must("iterate", "--tiny", "--rounds", "2", "--out", finished, "--json")
    assert json.loads(answer.out) == json.loads((finished / "report.json").read_text())
    assert answer.err.splitlines()[-1] == f"report: {finished / 'report.html'}"


def test_plan_names_what_a_changed_setting_makes_stale(finished: Path) -> None:
    lines = must("plan", "--tiny", "--rounds", "2", "--out", finished, "--set", "pseudo_label.strategy.cap=0.8").out
    said = dict(line.split(": ", 1) for line in lines.splitlines())
    assert said["pseudo_label@1"] == "run (stale: config strategy.cap default -> 0.8)"
    assert said["segment@1"] == "run (its input pseudo_label@1 is made first)"
    assert said["translate@1"].startswith("skip") and said["translate@2"].startswith("run")
    assert said["source_only"].startswith("skip") and said["oracle"].startswith("skip")


@pytest.mark.parametrize("pipeline", ["minicity_full", "camvid_day_to_dusk", "camvid_to_idd_lite"])
def test_comparators_stand_beside_the_rounds(tmp_path: Path, pipeline: str) -> None:
    must("iterate", "--pipeline", pipeline, "--tiny", "--rounds", "1", "--out", tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [(row["name"], row["round"]) for row in report["rows"]] == [
        ("source only", None),
        ("colour transfer", None),
        ("identity, round 1", None),
        ("round 1", 1),
        ("oracle", None),
    ]
    scores = {row["name"]: row["miou"] for row in report["rows"]}
    gap = scores["oracle"] - scores["source only"]
    if gap > 0:
        assert report["gap_closed"] == pytest.approx((scores["round 1"] - scores["source only"]) / gap)
    else:
        assert report["gap_closed"] is None


@pytest.mark.parametrize(
    "pipeline",
    [
        *("gta5_to_cityscapes", "gta5_to_cityscapes_fcn8s", "gta5_to_cityscapes_labels"),
        *("synthia_to_cityscapes", "synthia_to_cityscapes_fcn8s"),
    ],
)
def test_the_papers_pipelines_run_on_mini_city(tmp_path: Path, pipeline: str) -> None:
    must("iterate", "--pipeline", pipeline, "--tiny", "--out", tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["source only", "round 1", "oracle"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Musto" in page  # the published rows to compare with


def rendered_labels_are_the_sources(city: Trail, run: Path) -> bool:
    space = load_space("cityscapes19")
    source, made = (
        SegmentationDataset(read_samples(file), space, size=(64, 128))
        for file in (city.csv("source"), run / "round_1/translate/samples.csv")
    )
    assert len(made) == len(source) == 10
    return all(np.array_equal(made.sample_at(at)[1], source.sample_at(at)[1]) for at in range(len(made)))


@pytest.mark.parametrize("pipeline", ["minicity_pseudo_pairs", "minicity_unpaired_labels"])
def test_the_sources_label_maps_are_rendered_in_the_loop(city: Trail, tmp_path: Path, pipeline: str) -> None:
    must("iterate", "--pipeline", pipeline, *own_data(city), "--tiny", "--out", tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["source only", "round 1", "oracle"]
    assert rendered_labels_are_the_sources(city, tmp_path / "run")


def test_the_few_labels_that_one_has_are_pairs_in_the_loop(city: Trail, tmp_path: Path) -> None:
    table = pd.read_csv(city.csv("train"), dtype=str)
    for column in ("image", "label"):
        table[column] = [str((city.root / one).resolve()) for one in table[column]]
    _, (other,) = split_pairs([0, 1], 0.1, seed=0)
    table.loc[2:, "label"] = ""
    table.loc[other, "label"] = str(tmp_path / "gone.png")  # no pair: its label stays closed
    table.to_csv(tmp_path / "few.csv", index=False)
    own = ("--source", city.csv("source"), "--target", tmp_path / "few.csv", "--val", city.csv("val"))
    answer = must("iterate", "--pipeline", "minicity_few_pairs", *own, "--tiny", "--out", tmp_path / "run")
    assert "no oracle: 6 of the target manifest's 8 rows have no label" in answer.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["source only", "round 1"]
    assert rendered_labels_are_the_sources(city, tmp_path / "run")


def test_an_interrupted_run_goes_on_to_the_same_weights(city: Trail, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        options = ["--set", "translate.fit.images=40", "--set", "translate.runtime.checkpoint_seconds=0"]
        given = [str(part) for part in own_data(city)]
        return [sys.executable, "-m", "uda", "iterate", *given, "--tiny", *options, "--out", str(out)]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole), check=True, env=environment, capture_output=True)
    running = subprocess.Popen(command(broken), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    checkpoint = broken / "round_1" / "translate.partial"
    limit = time.monotonic() + 600
    while not (checkpoint / "log.jsonl").exists() and running.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=600)
    assert running.returncode == 130, told.decode()
    assert told.decode().strip().splitlines()[-1].endswith("run the same command again to go on")
    assert checkpoint.exists()
    assert "source only" in (broken / "report.html").read_text()  # what is scored can be read before the end
    assert not (broken / "report.json").exists()
    again = subprocess.run(command(broken), check=True, env=environment, capture_output=True, text=True)
    assert "translate@1: resume" in again.stderr
    assert weights(broken) == weights(whole)


def test_target_labels_are_never_looked_at(city: Trail, tmp_path: Path) -> None:
    runs = []
    for name in ("true", "corrupted"):
        data = tmp_path / name
        shutil.copytree(city.root / "data", data / "data")
        for csv_name in ("source", "train"):
            shutil.copy(city.csv(csv_name), data / f"{csv_name}.csv")
        labels = [data / str(row.label) for row in pd.read_csv(data / "train.csv").itertuples()]
        assert all(label.is_file() and data in label.resolve().parents for label in labels)
        if name == "corrupted":
            noise = np.random.default_rng(0)
            for label in labels:
                with Image.open(label) as opened:
                    size = opened.size[::-1]
                Image.fromarray(noise.integers(0, 34, size, dtype=np.uint8)).save(label)
        given = ("--source", data / "source.csv", "--target", data / "train.csv", "--val", city.csv("val"))
        must("iterate", *given, "--tiny", "--rounds", "2", "--out", data / "run")
        runs.append(data / "run")
    one, other = (weights(run) for run in runs)
    assert {"source_only", "round_1/translate", "round_2/segment"} <= {Path(path).parent.as_posix() for path in one}
    assert one == other
    oracle = [(run / "oracle" / "segmenter.safetensors").read_bytes() for run in runs]
    assert oracle[0] != oracle[1]  # the labels were corrupted indeed


def test_without_labels_of_the_target_there_is_no_oracle(city: Trail, tmp_path: Path) -> None:
    table = pd.read_csv(city.csv("train"))
    table["image"] = [str((city.root / str(one)).resolve()) for one in table["image"]]
    table["label"] = ""
    table.to_csv(tmp_path / "bare.csv", index=False)
    given = ("--source", city.csv("source"), "--target", tmp_path / "bare.csv")
    answer = must("iterate", *given, "--tiny", "--out", tmp_path / "run")
    assert "no oracle: the target manifest has no labels" in answer.err and "no --val" in answer.err
    assert not (tmp_path / "run" / "oracle").exists()
    assert (tmp_path / "run" / "round_1" / "segment" / "segmenter.safetensors").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


def test_settings_that_cannot_work_are_told_before_anything_runs(tmp_path: Path) -> None:
    answer = call("iterate", "--tiny", "--set", "translate.size=[62,128]", "--out", tmp_path / "run")
    assert answer.code == 2 and "is not divisible by" in answer.err
    assert not (tmp_path / "run").exists()
