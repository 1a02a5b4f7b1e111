"""`uda report` as it is called, what it refuses, and the tables of `uda iterate`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.stages import report_fakes as fakes
from tests.stages.report_page import Page, page_of
from uda.cli import cli
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError, UdaError
from uda.stages.report import format_table, run_report, write_iou_csv, write_report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.loop(tmp_path_factory.mktemp("runs") / "first")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


def test_the_verb_writes_beside_the_first_run_and_says_what_came_out(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    result = invoke(copy)
    assert result.exit_code == 0
    assert result.stdout == f"{copy / 'report.html'}\n"
    assert result.stderr.splitlines()[0].startswith("copy: mIoU: source only 30.0, round 2 60.0")
    assert result.stderr.splitlines()[1].startswith("copy: One seed (0)")
    elsewhere = tmp_path / "new/folder/page.html"
    assert invoke(copy, run, "--out", elsewhere).exit_code == 0
    assert "Side by side" in Page(elsewhere.read_text()).text
    assert [path.name for path in elsewhere.parent.iterdir()] == ["page.html"]


def broken(tmp_path: Path, how: str) -> Path:
    """A directory that cannot be reported."""
    out = tmp_path / "run"
    if how == "a file":
        out.write_text("x")
    elif how == "empty":
        out.mkdir()
    elif how == "only begun":
        fakes.segment(out / "segment", complete=False)
    elif how == "a folder of runs":
        fakes.loop(out / "first", rounds=0)
    elif how != "nowhere":
        fakes.loop(out, rounds=1)
        file, text = {
            "report": ("report.json", "{"),
            "other report": ("report.json", '{"rows": [{"name": "x"}], "classes": []}'),
            "manifest": ("oracle/manifest.json", "[]"),
            "picture": ("round_1/translate/grid.png", "x"),
            "matrix": ("round_1/evaluate/confusion.csv", "a,b\nroad,1,2\n"),
            "words": ("round_1/evaluate/confusion.csv", "a,b\nroad,many\n"),
            "cut scores": ("round_1/evaluate/iou.csv", "class,iou,pixels\nroad,0.5\n"),
            "torn scores": ("round_1/evaluate/iou.csv", "class,iou,pixels\nroad,0.5,7\n"),
            "other scores": ("round_1/evaluate/iou.csv", "class,iou\nroad,0.5\n"),
        }[how]
        (out / file).write_text(text)
    return out


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("nowhere", "no such directory"),
        ("a file", "is no directory"),
        ("empty", r"holds no report\.json of `uda iterate` and no complete stage; give a directory"),
        ("only begun", r"no complete stage \(segment unfinished\)"),
        ("a folder of runs", "holds runs, it is none itself: first; name them one by one"),
        ("report", "is no JSON"),
        ("other report", r"is no report of this program \(KeyError: 'miou'\)"),
        ("manifest", "is no manifest of this program"),
        ("picture", "is no picture"),
        ("matrix", "is not square"),
        ("words", "is no confusion matrix"),
        ("cut scores", r"evaluate/iou\.csv: is no table of each class's IoU \(a row is cut\); run its stage again"),
        ("torn scores", r"evaluate/iou\.csv: is no table of each class's IoU \(it has 1 rows for 19 classes\)"),
        ("other scores", r"evaluate/iou\.csv: is no table of each class's IoU \(it has no column 'pixels'\)"),
    ],
)
def test_wrong_directories_are_told_in_one_line(tmp_path: Path, how: str, what: str) -> None:
    result = invoke(broken(tmp_path, how), "--out", tmp_path / "page.html")
    assert isinstance(result.exception, DataError)
    assert re.search(what, str(result.exception))
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["manifest.json", "folder.html", "file/page.html"])
def test_a_place_that_is_none_for_a_page_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError):
        write_report([run], tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.html"]


def test_an_older_page_stays_where_a_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1)
    old = write_report([out], out / "report.html").read_bytes()

    def full_disk(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "write_bytes", full_disk)
        write_report([out], out / "report.html")
    assert (out / "report.html").read_bytes() == old
    (out / "round_1/translate/grid.png").write_text("x")
    with pytest.raises(UdaError):
        write_report([out], out / "report.html")
    assert (out / "report.html").read_bytes() == old


def test_the_text_table_has_classes_as_lines() -> None:
    lines = format_table(fakes.report(rounds=1)).splitlines()
    assert re.split(" {2,}", lines[0]) == ["IoU [%]", "source only", "colour transfer", "round 1", "oracle"]
    assert lines[2].split() == ["road", "20.0", "25.0", "40.0", "60.0"]
    assert [line.split()[0] for line in lines[2:21]] == [name.split()[0] for name in fakes.SPACE.names]
    assert lines[18].split() == ["train", "-", "-", "-", "-"]
    assert lines[-5].split() == ["mIoU", "30.0", "35.0", "50.0", "70.0"]
    assert lines[-1] == "gap closed: 50.0 %"


@pytest.mark.parametrize("changes", [{"gap_closed": None}, {"rows": fakes.report(1)["rows"][:-1]}])
def test_no_gap_is_a_dash(changes: dict[str, Any]) -> None:
    assert format_table({**fakes.report(1), **changes}).splitlines()[-1] == "gap closed: -"


def test_an_oracle_below_source_only_leaves_no_gap(tmp_path: Path) -> None:
    content = fakes.report(1)
    content["rows"][-1]["miou"] = 0.2
    assert format_table(content).splitlines()[-1] == "gap closed: -"
    out = fakes.loop(tmp_path / "run", rounds=1)
    (out / "report.json").write_text(json.dumps(content))
    assert "there is no gap to close" in page_of(out).text


def test_the_csv_holds_fractions_and_empty_cells(tmp_path: Path) -> None:
    write_iou_csv(fakes.report(rounds=1), tmp_path / "iou.csv")
    head, *rows = [line.split(",") for line in (tmp_path / "iou.csv").read_text().splitlines()]
    assert head[:7] == ["row", "round", "miou", "miou_16", "miou_13", "pixel_accuracy", "road"]
    assert [row[:2] for row in rows] == [["source only", ""], ["colour transfer", ""], ["round 1", "1"], ["oracle", ""]]
    last = dict(zip(head, rows[2], strict=True))
    assert (last["road"], last["train"]) == ("0.4", "")
    assert float(last["miou"]) == pytest.approx(0.5)


@pytest.mark.parametrize("call", [format_table, lambda report: write_iou_csv(report, Path("never.csv"))])
def test_what_is_no_report_is_told(call: Any) -> None:
    with pytest.raises(DataError, match=r"report\.json: is no report of this program"):
        call({"rows": [], "classes": None})


def test_the_report_needs_no_torch(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom uda.stages.report import write_report\n"
        "write_report([Path(sys.argv[1])], Path(sys.argv[2]))\n"
    )
    out = tmp_path / "page.html"
    subprocess.run([sys.executable, "-c", code, str(run), str(out)], check=True)
    assert out.read_bytes() == write_report([run], tmp_path / "again.html").read_bytes()


def test_run_report_returns_the_page(run: Path, tmp_path: Path) -> None:
    assert run_report([run], tmp_path / "page.HTM", Console(quiet=True)) == tmp_path / "page.HTM"
    assert (tmp_path / "page.HTM").is_file()
