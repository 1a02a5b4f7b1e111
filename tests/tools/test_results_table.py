"""The table over seeds by its tool: what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stages import report_fakes as fakes
from tools import results_table as tool


def run(out: Path, seed: int, **changes: Any) -> Path:
    out.mkdir()
    fakes.write_report(out, 1, 0.0, seed, changes)
    return out


def call(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> int:
    monkeypatch.setattr("sys.argv", ["results_table.py", *map(str, folders)])
    try:
        tool.main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_seeds_of_one_pipeline_are_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, run(tmp_path / "a", 0), run(tmp_path / "b", 1)) == 0
    assert capsys.readouterr().out.startswith("| row | seed 0 | seed 1 | mIoU | gap closed |")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"pipeline": "minicity"}, "has pipeline minicity, not gta5_to_cityscapes as "),
        ({"label_space": "camvid11"}, "has label space camvid11, not cityscapes19 as "),
        ({"classes": ["road"]}, "has other classes as "),
        ({"seed": 0}, "has the seed 0 of "),
    ],
)
def test_a_mean_over_what_is_no_seed_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    what: str,
) -> None:
    first, other = run(tmp_path / "a", 0), run(tmp_path / "b", changes.pop("seed", 1), **changes)
    assert call(monkeypatch, first, other) == 2
    told = capsys.readouterr()
    assert f"{other}: {what}{first}; " in told.err and told.err.count("\n") == 1 and not told.out


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "report.json: cannot be read (No such file or directory)"),
        ("{", "report.json: is no JSON"),
        ("[]", "report.json: is no report of this program"),
        (json.dumps({"rows": []}), "report.json: is no report of this program (KeyError: 'classes')"),
    ],
)
def test_what_is_no_run_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    what: str,
) -> None:
    first, other = run(tmp_path / "a", 0), tmp_path / "b"
    if content is not None:
        other.mkdir()
        (other / "report.json").write_text(content)
    assert call(monkeypatch, first, other) == 3
    told = capsys.readouterr().err
    assert what in told and told.count("\n") == 1
