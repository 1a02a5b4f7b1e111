"""`uda plan` and `uda iterate --dry-run`, which say the same: steps, what cannot start, disk, and where results go."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.conftest import Trail, call, must
from uda.core.resources import find_yaml


@pytest.mark.parametrize("verb", [("plan",), ("iterate", "--dry-run")])
def test_a_plan_can_be_read_by_programs(tmp_path: Path, verb: tuple[str, ...]) -> None:
    rows = json.loads(must(*verb, "--tiny", "--json", "--out", tmp_path / "run").out)
    assert rows[0] == {
        "step": "minicity", "action": "run", "reason": "not made yet", "reads_target_labels": False
    }  # fmt: skip
    assert [row["step"] for row in rows if row["reads_target_labels"]] == ["oracle"]


@pytest.mark.parametrize("verb", [("plan",), ("iterate", "--dry-run")])
def test_steps_that_learn_from_target_labels_are_told(tmp_path: Path, verb: tuple[str, ...]) -> None:
    lines = must(*verb, "--pipeline", "minicity_few_pairs", "--tiny", "--out", tmp_path / "run").out.splitlines()
    told = [line for line in lines if line.endswith("; learns from target labels")]
    assert [line.partition(":")[0] for line in told] == ["oracle", "translate@1"]
    assert "oracle: run (its input target is made first); learns from target labels" in lines


@pytest.mark.parametrize("verb", [("plan",), ("iterate", "--dry-run")])
def test_a_plan_says_whether_jobs_can_be_had(
    tmp_path: Path, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (*verb, "--tiny", "--out", tmp_path / "run")
    assert must(*command, "--jobs", "2").out == must(*command).out
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = call(*command, "--jobs", "2")
    assert answer.code == 2 and "--jobs: a launch of several processes shares each step" in answer.err


@pytest.mark.parametrize("verb", [("plan",), ("iterate", "--dry-run")])
def test_a_plan_refuses_what_cannot_start_and_says_how_much_disk_it_takes(
    city: Trail, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    table = pd.read_csv(city.csv("source"))
    table["image"], table["label"] = [str(city.root / name) for name in table["image"]], ""
    table.to_csv(tmp_path / "bare.csv", index=False)
    own = ("--target", city.csv("train"), "--val", city.csv("val"))
    for given, code, said in (
        (("--set", "segment.size=[63,128]"), 2, "size: [63, 128] is not divisible by 32"),
        (("--source", tmp_path / "bare.csv", *own), 3, "bare.csv: 10 images have no label to learn from"),
    ):
        answer = call(*verb, "--tiny", *given, "--out", tmp_path / "run")
        assert (answer.code, answer.out) == (code, "")
        assert said in answer.err.splitlines()[-1]
    cost = must(*verb, "--tiny", "--source", city.csv("source"), *own, "--out", tmp_path / "run").err.splitlines()[-1]
    assert re.fullmatch(r"needs about .* of disk \(.* free\) and time not measured on this machine", cost)


@pytest.mark.parametrize("verb", [("plan",), ("iterate", "--dry-run")])
def test_without_out_a_loop_goes_where_its_pipeline_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(find_yaml("pipelines", "minicity"), "own.yaml")
    for given, name in (
        ((), "minicity"),
        (("--tiny",), "minicity_tiny"),
        (("--pipeline", "minicity_full"), "minicity_full"),
    ):
        assert must(*verb, *given, "--rounds", "3").err.splitlines()[0] == f"no --out: results go to runs/{name}"
    (tmp_path / "runs" / "own").mkdir(parents=True)
    (tmp_path / "runs" / "own" / "minicity").write_text("mine")
    assert "runs/own/minicity: exists and was not made by this program" in call(*verb, "--pipeline", "own.yaml").err
    assert "no --out" not in must(*verb, "--out", "here").err
