"""Parts of `uda quality` that need no images: names of rows, repeated inputs, tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from uda.core.config import Layers, validate
from uda.core.console import Console
from uda.core.errors import ConfigError
from uda.stages._quality_table import MEASURES, Result, Row, as_frame, as_json, as_text, from_json, not_measured
from uda.stages.base import Job, Stage, StageConfig, decide, execute
from uda.stages.catalog import get_stage
from uda.stages.quality import QualityConfig, name_rows

CONFIG = Path(__file__).parents[2] / "configs" / "quality" / "minicity.yaml"


def names(*paths: str) -> list[str]:
    return [key.removeprefix("images.") for key in name_rows([Path(path) for path in paths])]


def test_rows_are_named_after_directories_or_manifests() -> None:
    assert names("runs/sait/samples.csv", "runs/munit/samples.csv") == ["sait", "munit"]
    assert names("runs/translated.csv") == ["translated"]


def test_like_names_get_the_folders_above() -> None:
    assert names("a/translate/samples.csv", "b/translate/samples.csv") == ["a/translate", "b/translate"]
    assert names("one.csv", "other/one.csv")[1] == "other/one"


def test_no_row_is_named_like_what_stands_beside_the_translations() -> None:
    assert names("runs/source/samples.csv") == ["runs/source"]
    assert names("a/labels/samples.csv", "a/munit/samples.csv") == ["a/labels", "a/munit"]


def test_a_folder_beside_a_manifest_of_its_name() -> None:
    found = names("a.csv", "a/samples.csv")
    assert len(set(found)) == 2 and found[1].endswith("a/samples.csv")


def test_a_manifest_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a.csv: is given twice; give each --images once"):
        names("a.csv", "b.csv", "a.csv")


def gather(job: Job) -> dict[str, Any]:
    return {"inputs": sorted(job.inputs)}


GATHER = Stage("gather", 1, StageConfig, gather, required=("leaf", "root"), repeated=("leaf",))


@pytest.fixture
def leaf(tmp_path: Path) -> Path:
    (tmp_path / "leaf.csv").write_text("image\n")
    return tmp_path / "leaf.csv"


def test_a_repeated_input_is_given_as_often_as_one_likes(leaf: Path) -> None:
    out = leaf.parent / "out"
    for keys in (("leaf",), ("leaf.one",), ("leaf.one", "leaf.two.half")):
        inputs = {**dict.fromkeys(keys, leaf), "root": leaf}
        manifest = execute(GATHER, StageConfig(), inputs, out, Console(quiet=True))
        assert manifest.metrics["inputs"] == sorted([*keys, "root"])
    assert decide(GATHER, StageConfig(), inputs, out, force=False).action == "skip"
    renamed = {"leaf.one": leaf, "leaf.third": leaf, "root": leaf}
    decision = decide(GATHER, StageConfig(), renamed, out, force=False)
    assert decision.reason == "stale: input leaf.third added, input leaf.two.half taken away"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("root",), "uda gather: needs --leaf"),
        (("leaf.one",), "uda gather: needs --root"),
        (("leaf.one", "root", "root.two"), "uda gather: takes no input root.two"),
        (("leaf.one", "root", "leafs"), "uda gather: takes no input leafs"),
    ],
)
def test_missing_and_unknown_inputs_are_told(leaf: Path, keys: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        decide(GATHER, StageConfig(), dict.fromkeys(keys, leaf), leaf.parent / "out", force=False)


ROWS = [
    Row("real", "real", 8, {"sharpness": Result(250.0, 8), "inception_score": not_measured("no weights")}),
    Row("sait", "translation", 10, {"fid": not_measured("no weights"), "miou": Result(0.51234, 9, "few images")}),
]


def test_json_gives_value_direction_and_count_of_each_measure() -> None:
    real, sait = json.loads(json.dumps(as_json(ROWS), allow_nan=False))["rows"]
    assert (real["name"], real["role"], real["images"]) == ("real", "real", 8)
    assert real["measures"]["sharpness"] == {"value": 250.0, "direction": None, "count": 8, "note": ""}
    assert sait["measures"]["fid"] == {
        "value": None, "direction": "lower", "count": 0, "note": "not measured: no weights"
    }  # fmt: skip
    assert sait["measures"]["miou"]["direction"] == "higher"


def test_rows_come_back_from_json() -> None:
    assert from_json(json.loads(json.dumps(as_json(ROWS)))) == ROWS


def test_csv_has_a_line_for_each_measure_of_each_row() -> None:
    table = as_frame(ROWS)
    assert list(table.columns) == ["row", "role", "measure", "value", "direction", "count", "note"]
    assert table[["row", "measure"]].to_numpy().tolist() == [
        ["real", "sharpness"], ["real", "inception_score"], ["sait", "fid"], ["sait", "miou"]
    ]  # fmt: skip


def test_the_table_has_a_line_for_each_measure_and_notes_below() -> None:
    lines = as_text(ROWS).splitlines()
    assert lines[0].split() == ["better", "real", "sait"]
    assert lines[1].split() == ["images", "8", "10"]
    assert len(lines) == 2 + len(MEASURES) + 2
    by_title = {line.split("  ")[0]: line.split() for line in lines}
    assert by_title["alignment mIoU"][-3:] == ["higher", "-", "0.5123"]
    assert by_title["sharpness"][-2:] == ["250", "-"]
    assert lines[-2:] == [
        "Inception Score, FID (real, sait): not measured: no weights", "alignment mIoU (sait): few images"
    ]  # fmt: skip


@pytest.mark.parametrize("tiny", [False, True])
def test_the_shipped_config_loads(tiny: bool) -> None:
    stage = get_stage("quality")
    config = validate(QualityConfig, Layers().add_file(CONFIG, tiny=tiny))
    assert stage.config is QualityConfig
    assert config.size == ((64, 128) if tiny else (128, 256))
