"""Runs as they are found: unfinished, stale, several side by side, single stages, leftovers of others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.stages import report_fakes as fakes
from tests.stages.report_page import Page, page_of
from uda.stages._report.reading import read_runs
from uda.stages._report.summary import warnings
from uda.stages.report import write_report


def test_missing_scores_are_dashes(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1)
    text = (out / "report.json").read_text()
    report = json.loads(text)
    report["rows"][2] |= {"miou": float("nan"), "pixel_accuracy": None, "subsets": {"16": None}}
    report["rows"][2]["iou"] = {**report["rows"][2]["iou"], "road": None, "sky": float("nan")}
    report["gap_closed"] = None
    (out / "report.json").write_text(json.dumps(report))
    page = page_of(out)
    last = page.row("round 1")
    assert last[1:6] == ["-", "-", "-", "-", "-"]
    assert "source only 30.0, round 1 -, oracle 70.0" in page.text
    assert "report.json is older than the evaluations: round 1 cannot be found in them" in page.text
    assert not re.search(r"\b(nan|None|null|NaN)\b", page.text)


def test_an_unfinished_loop_is_shown_as_far_as_it_went(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1, summed_up=False)
    fakes.segment(out / "round_2/segment", complete=False)
    page = page_of(out)
    assert "Unfinished: round_2/segment" in page.text
    assert "The loop did not come to its end" in page.text
    assert "mIoU: source only 30.0, round 1 50.0 (+20.0 points), oracle 70.0" in page.text
    assert [row[0].split(" ")[0] for row in page.rows[1:5]] == ["source", "color", "round", "oracle"]
    assert "under way" in page.text  # its curves
    assert "gap closed" not in page.text.replace("the gap closed is not said", "")


@pytest.mark.parametrize("kind", ["segment", "translate", "evaluate", "pseudo-label", "prepare"])
def test_a_single_stage_is_a_report_too(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "single"
    made = {
        "segment": lambda: fakes.segment(out),
        "translate": lambda: fakes.translate(out),
        "evaluate": lambda: fakes.evaluate(out, 0.5),
        "pseudo-label": lambda: fakes.pseudo_label(out),
        "prepare": lambda: fakes.prepare(out, "gta5", 7, {"size": 2}),
    }[kind]()
    page = page_of(made)
    assert f"single {kind}, version 1" in page.text
    expected = {
        "segment": "Training curves",
        "translate": "Translated samples",
        "evaluate": "mIoU: single 50.0",
        "pseudo-label": "Pseudo-labels",
        "prepare": "images were left out for defects (2 size)",
    }
    assert expected[kind] in page.text
    assert ("nothing is scored" in page.text) == (kind != "evaluate")
    assert "One seed" not in page.text


def test_seeds_of_one_pipeline_give_mean_and_deviation(tmp_path: Path) -> None:
    runs = [
        fakes.loop(tmp_path / f"seed{seed}", seed=seed, lift=lift) for seed, lift in ((0, 0.0), (1, 0.03), (2, -0.06))
    ]
    page = page_of(*runs)
    mean = next(row for row in page.rows if row[:2] == ["mean of 3 runs", "round 2"])
    assert mean[2:6] == ["gta5_to_cityscapes", "0, 1, 2", "72.5 ± 11.5", "59.0 ± 4.6"]
    assert next(row for row in page.rows if row[:2] == ["seed1", "round 2"])[4:6] == ["82.5", "63.0"]
    assert "seed1: 0 differences but the seed" in page.text
    assert "One seed" not in page.text


def test_runs_of_other_settings_or_data_are_not_averaged(tmp_path: Path) -> None:
    first = fakes.loop(tmp_path / "first")
    data = fakes.loop(tmp_path / "data", seed=1, images=21)
    settings = fakes.loop(tmp_path / "settings", seed=2)
    fakes.translate(settings / "round_2/translate", "munit")
    page = page_of(first, data, settings)
    assert "mean of" not in page.text
    assert page.text.count("One seed (") == 3
    assert "source: other data" in page.text
    assert "round_2/translate: translator.name sait → munit" in page.text


def test_two_pipelines_stand_side_by_side(tmp_path: Path) -> None:
    first = fakes.loop(tmp_path / "a/run")
    other = fakes.loop(tmp_path / "b/run", rounds=1, pipeline="gta5_to_cityscapes_fcn8s", published="gta5_fcn8s")
    page = page_of(first, other)
    rows = [row[:4] for row in page.rows if row and row[0] in ("a/run", "b/run") and len(row) > 9]
    assert ["a/run", "round 2", "gta5_to_cityscapes", "0"] in rows
    assert ["b/run", "round 1", "gta5_to_cityscapes_fcn8s", "0"] in rows
    assert ["a/run", "round 1", "gta5_to_cityscapes", "0"] not in rows  # the last round is the result
    assert "without round_2/segment" in page.text
    assert "b/run: round 1" in page.text  # among the published rows of its own pipeline


def test_what_is_made_from_older_results_is_told(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1)
    fakes.translate(out / "round_1/translate", columns=6, inputs={"source": out / "source/samples.csv"})
    (out / "round_1/translate").joinpath("extra").write_text("x")
    assert (
        "Made from an input that has changed since: round_1/segment (round_1/translate/samples.csv)"
        in page_of(out).text
    )


OWN = ["source_only", "source_only_score", "oracle", "oracle_score"]
OWN += [f"round_1/{name}" for name in ("translate", "pseudo_label", "segment", "evaluate")]
"""Steps of one round over one's own manifests, of all that a fake run of two rounds holds."""


def test_the_page_is_about_the_steps_of_the_run_not_about_all_that_lies_there(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=2)
    fakes.write_report(out, 1, 0.0, 0, {"steps": OWN})
    fakes.segment(out / "round_3/segment", complete=False)
    page = page_of(out)
    assert "rounds 1" in page.text and "8 complete" in page.text and "gta5, 20 images" not in page.text
    others = "color_transfer, evaluate_color_transfer, round_2, round_3, source, target, val"
    assert f"no part of it and left out here: {others}. What nothing else uses can be removed." in page.text
    assert not re.search(r"round_[23]/|color_transfer:|Unfinished|does not hold round", page.text)
    fakes.write_report(out, 1, 0.0, 0, {})  # an older report names no steps
    text = page_of(out).text
    assert "rounds 2" in text and "17 complete" in text and "no part of it" not in text


def test_work_that_other_settings_left_beside_a_complete_step_is_not_unfinished(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1)
    fakes.segment(out / "round_1/segment", 1, complete=False)
    (out / "oracle.partial.0123abcd").mkdir()
    text = page_of(out).text
    assert "Unfinished" not in text and "under way" not in text
    left = "oracle.partial.0123abcd, round_1/segment.partial"
    assert f"Other settings were begun and left: {left}. Their command goes on with them" in text


def test_of_a_run_under_way_only_what_counts_is_shown(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1, summed_up=False)
    fakes.segment(out / "round_1/segment", 1, complete=False)
    steps = {name: not name.startswith("round_1/") for name in OWN}
    text = Page(write_report([out], tmp_path / "page.html", steps).read_text()).text
    assert "mIoU: source only 30.0, oracle 70.0" in text and "round 1" not in text
    assert "Unfinished: round_1/segment." in text and "4 complete" in text


def test_the_head_says_where_the_result_is_and_what_ones_own_data_are(tmp_path: Path) -> None:
    data = {"source": {"path": "mine/source.csv", "images": 12, "labelled": 11}, "val": {"path": "gone.csv"}}
    out = fakes.loop(tmp_path / "run", rounds=1)
    fakes.write_report(out, 1, 0.0, 0, {"steps": OWN, "segmenter": "round_1/segment", "data": data})
    text = page_of(out).text
    assert "data source: mine/source.csv, 12 images, 11 labelled; val: gone.csv result round_1/segment" in text
    assert "in the run's directory: uda predict --segmenter round_1/segment IMAGES --out DIR" in text


def test_what_stages_say_of_their_own_results_is_a_warning_once(tmp_path: Path) -> None:
    text = "all weights started at random, in a recipe for pretrained ones"
    out = fakes.loop(tmp_path / "run", rounds=1)
    for name in ("source_only", "oracle"):
        file = out / name / "manifest.json"
        made = json.loads(file.read_text())
        made["metrics"]["warnings"] = [text]
        file.write_text(json.dumps(made))
    (run,) = read_runs([out])
    assert [line for line in warnings(run, [run]) if text in line] == [f"oracle, source_only: {text}."]
