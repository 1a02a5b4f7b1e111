"""Data sets in their own layouts (`--data`) without labels: the loop comes to its end, or does not begin."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Trail, call, must
from uda.core.resources import find_yaml


@pytest.fixture
def asked(city: Trail, tmp_path: Path) -> tuple[object, ...]:
    """Mini-city as somebody's data sets, without Cityscapes' training labels, and the smallest loop over them."""
    root = tmp_path / "data"
    for name in ("gta5", "cityscapes"):
        shutil.copytree(city.data / name, root / name)
    shutil.rmtree(root / "cityscapes/gtFine/train")
    graph = yaml.safe_load(find_yaml("pipelines", "gta5_to_cityscapes_fcn8s").read_text())
    graph["tiny"] = {"rounds": 1}  # and the data of `--data`
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    return ("--pipeline", tmp_path / "own.yaml", "--data", root, "--tiny", "--out", tmp_path / "run")


def test_without_target_labels_a_loop_has_no_oracle(asked: tuple[object, ...], tmp_path: Path) -> None:
    told = f"no oracle: {tmp_path / 'data'}/cityscapes: split 'train' has no labels"
    planned = must("plan", *asked)
    assert told in planned.err.splitlines() and "oracle" not in planned.out
    answer = must("iterate", *asked)
    assert told in answer.err.splitlines()
    rows = json.loads((tmp_path / "run/report.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["source only", "round 1"]
    again = must("iterate", *asked)
    assert told in again.err.splitlines() and "everything is complete: nothing to run" in again.err.splitlines()


def test_a_loop_without_labels_to_score_against_is_refused_before_a_fit(
    asked: tuple[object, ...], tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "data/cityscapes/gtFine/val")
    for verb in ("plan", "iterate", "iterate"):
        answer = call(verb, *asked)
        assert answer.code == 3
        assert answer.err.splitlines()[-1] == (
            f"error: step source_only_score: {tmp_path / 'data'}/cityscapes: split 'val' has no labels to score "
            "against; put them there, or give manifests of your own"
        )
    assert not (tmp_path / "run").exists()
    shutil.rmtree(tmp_path / "data/gta5/labels")
    answer = call("iterate", *asked)
    assert answer.code == 3
    assert f"step source_only: {tmp_path / 'data'}/gta5: has no labels to learn from; " in answer.err


def test_a_label_space_of_one_stage_is_refused_before_a_fit(asked: tuple[object, ...]) -> None:
    for verb in ("plan", "iterate"):
        answer = call(verb, *asked, "--set", "segment.label_space=idd7")
        assert answer.code == 2
        assert answer.err.splitlines()[-1] == (
            "error: --set: 'segment.label_space=idd7' is not the label space of the other steps, cityscapes19; "
            "write --set label_space=idd7, which all steps share"
        )


def test_sizes_that_a_setting_makes_unlike_are_told(asked: tuple[object, ...]) -> None:
    lines = must("plan", *asked, "--set", "segment.size=[96,128]", "--set", "segment.target_size=[96,128]").err
    assert "; --set evaluate.size=[96,128] --set pseudo-label.size=[96,128] makes them alike" in lines
    assert "; --set translate.render_size=[96,128] makes them alike" in lines
    assert "makes them alike" not in must("plan", *asked, "--set", "segment.fit.batch=4").err
