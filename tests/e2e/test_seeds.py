"""One loop with several seeds in one command: each seed's own run, and a table over all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean, stdev

import pytest

from tests.e2e.conftest import call, must
from tools import results_table

LOOP = ("iterate", "--tiny", "--rounds", "0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("seeds") / "run"
    answer = must(*LOOP, "--seeds", "0,3", "--jobs", "2", "--out", out)
    assert "seed_0/source_only: run (its input seed_0/source is made first)" in answer.err
    assert "--- seed_3/oracle_score: done" in answer.err
    assert re.search(r"^seed_3/oracle_score: oracle \d+\.\d mIoU$", answer.err, re.MULTILINE)
    return out, answer.out


def scores(out: Path, row: str) -> list[float]:
    reports = [json.loads((out / f"seed_{seed}/report.json").read_text()) for seed in (0, 3)]
    assert [report["seed"] for report in reports] == [0, 3]
    return [100 * next(one["miou"] for one in report["rows"] if one["name"] == row) for report in reports]


def test_a_table_gives_each_seed_and_their_spread(finished: tuple[Path, str]) -> None:
    out, told = finished
    lines = told.splitlines()
    assert lines[0] == "| row | seed 0 | seed 3 | mIoU | gap closed |"
    for line, row in zip(lines[2:4], ("source only", "oracle"), strict=True):
        found = scores(out, row)
        numbers = " | ".join(f"{one:.1f}" for one in found)
        assert line == f"| {row} | {numbers} | {mean(found):.1f} ± {stdev(found):.1f} |  |"
    assert lines[-1] == f"report: {out / 'report.html'}"
    page = (out / "report.html").read_text()
    assert "seed_0" in page and "seed_3" in page


def test_each_seed_is_a_run_of_its_own(finished: tuple[Path, str]) -> None:
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("manifest.json")}
    alone = must(*LOOP, "--seed", "3", "--out", out / "seed_3")
    assert "everything is complete: nothing to run" in alone.err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("manifest.json")} == before
    for name in ("report.json", "report.html", "iou.csv"):
        assert (out / "seed_0" / name).is_file()
    one, other = ((out / f"seed_{seed}/source_only/segmenter.safetensors").read_bytes() for seed in (0, 3))
    assert one != other


def test_programs_read_one_report_for_each_seed(finished: tuple[Path, str]) -> None:
    out, _ = finished
    answer = must(*LOOP, "--seeds", "0,3", "--out", out, "--json")
    assert json.loads(answer.out) == [json.loads((out / f"seed_{s}/report.json").read_text()) for s in (0, 3)]


def test_a_plan_names_the_steps_by_their_seed(finished: tuple[Path, str]) -> None:
    out, _ = finished
    steps = json.loads(must("plan", *LOOP[1:], "--seeds", "0,3,4", "--out", out, "--json").out)
    actions = {one["step"]: one["action"] for one in steps}
    assert actions["seed_3/oracle"] == "skip" and actions["seed_4/oracle"] == "run"
    assert len(actions) == len(steps)


def test_the_tool_prints_the_same_table(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, told = finished
    folders = [str(out / f"seed_{seed}") for seed in (0, 3)]
    monkeypatch.setattr("sys.argv", ["results_table.py", *folders, "--classes"])
    results_table.main()
    table, classes = capsys.readouterr().out.split("\n\n")
    assert told.startswith(table + "\n")
    assert classes.splitlines()[0] == "| IoU [%] | source only | oracle |"
    assert len(classes.splitlines()) == 2 + 19


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--seeds", "0,1", "--seed", "2"), "--seed and --seeds say the same thing twice; give one of them"),
        (("--seeds", "0;1"), "write whole numbers with commas between them, as in 0,1,2"),
        (("--seeds", ""), "write whole numbers with commas between them, as in 0,1,2"),
    ],
)
def test_seeds_that_mean_nothing_are_refused(tmp_path: Path, asked: tuple[str, ...], said: str) -> None:
    answer = call(*LOOP, *asked, "--out", tmp_path / "run")
    assert answer.code == 2 and said in answer.err
    assert not (tmp_path / "run").exists()
