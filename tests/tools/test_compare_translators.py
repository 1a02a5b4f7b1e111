"""The comparison of translators by its command, on a tiny mini-city."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.data import fakes
from tools import compare_translators as tool
from uda import runner
from uda.compare_recipes import recipe_names
from uda.core.errors import RunError
from uda.core.manifest import MANIFEST


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of this machine."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def table(text: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {name: rest for name, *rest in lines}


def test_a_comparison_is_run_once_and_its_table_made_as_often_as_one_likes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    names = "identity,color_transfer,oasis"
    command = ["--tiny", "--translators", names, "--seeds", "0", "--out", str(out)]
    assert tool.main(command) == 0
    told = capsys.readouterr()
    assert "steps are to be run; they need about" in told.err
    text = (out / "translators.md").read_text()
    assert text.rstrip() == told.out.rstrip()
    assert text.startswith(f"`python tools/compare_translators.py --tiny --translators {names}")
    found = table(text)
    title = dict(zip(found["translator"], range(100), strict=False))
    assert list(found) == ["translator", "source", "ideal", "identity", "color_transfer", "oasis"]
    # What is left as it is measures as the source does.
    for name in ("LAB histogram EMD", "LBP chi-square", "sharpness gap"):
        assert found["identity"][title[name]] == found["source"][title[name]]
    own = json.loads((out / "quality_0" / "quality.json").read_text())
    values = {row["name"]: row["measures"] for row in own["rows"] if row["role"] != "real"}
    assert values["ideal"]["lab_emd"]["value"] < values["source"]["lab_emd"]["value"]
    assert (
        found["color_transfer"][title["render [s/1000]"]] != "-"
        and found["color_transfer"][title["fit [s/1000]"]] == "-"
    )
    assert all(found[name][title["mIoU [%]"]] != "-" for name in list(found)[1:])

    before = {path: path.stat().st_mtime_ns for path in out.rglob(MANIFEST)}
    assert tool.main(command) == 0
    again = capsys.readouterr()
    assert "\n0 of " in again.err and again.out == told.out
    assert {path: path.stat().st_mtime_ns for path in out.rglob(MANIFEST)} == before
    assert tool.main([*command, "--table-only"]) == 0
    assert capsys.readouterr().out == told.out


def test_a_dry_run_says_what_would_be_run_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = fakes.camvid(tmp_path / "camvid"), tmp_path / "run"
    command = ["--data", "camvid", "--camvid", str(root), "--translators", "fda", "--seeds", "1", "--out", str(out)]
    assert tool.main([*command, "--dry-run"]) == 0
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert said["source"] == "run (not made yet)"
    assert {"judge", "start_1", "translate_fda_1", "segment_fda_1", "evaluate_fda_1", "quality_1"} <= set(said)
    assert not out.exists()


@pytest.mark.parametrize("size", [["--tiny"], []], ids=["tiny", "as it ships"])
@pytest.mark.parametrize("data", ["minicity", "camvid"])
def test_all_translators_can_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, size: list[str]
) -> None:
    given = [] if data == "minicity" else ["--camvid", str(fakes.camvid(tmp_path / "camvid"))]
    assert tool.main(["--data", data, *given, *size, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    for name in recipe_names("minicity" if data == "minicity" else "pocket"):
        assert {f"translate_{name}_{seed}" for seed in (0, 1, 2)} <= set(said)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data", "camvid"], 2, "--data camvid and --camvid ROOT go together"),
        (["--camvid", "x"], 2, "--data camvid and --camvid ROOT go together"),
        (["--translators", "fda,fda"], 2, "names a translator twice"),
        (["--translators", "fad"], 2, "did you mean 'fda'?"),
        (["--seeds", "0,x"], 2, "write whole numbers with commas"),
        (["--set", "fda.size=3"], 2, "size"),
        (["--table-only", "--dry-run"], 2, "leave --dry-run out"),
        (["--table-only"], 3, "no such directory"),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert tool.main([*arguments, "--out", str(tmp_path / "run")]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_where_nothing_came_to_an_end_the_reasons_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = runner.Ran(failed={"city": RunError("no luck", "step city")})
    monkeypatch.setattr(runner, "run", lambda *_, **__: ran)
    assert tool.main(["--tiny", "--translators", "identity", "--seeds", "0", "--out", str(tmp_path / "run")]) == 4
    assert "1 steps failed: step city: no luck; run the same command again" in capsys.readouterr().err
