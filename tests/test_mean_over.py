"""Sources that lack classes: which mean counts, from the pipeline's YAML to the verdict and the gap closed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.stages import report_fakes as fakes
from uda.core.errors import ConfigError
from uda.data.label_space import load_space
from uda.pipeline import Request, load_pipeline
from uda.stages._report.reading import read_runs
from uda.stages._report.scores import read_scores
from uda.stages._report.seeds import scores_table
from uda.stages._report.summary import means, tiles, verdict
from uda.stages._report.tables import columns, text_table
from uda.stages.report import gap_closed

PIPELINES = {"synthia_to_cityscapes": "13", "synthia_to_cityscapes_fcn8s": "16", "gta5_to_cityscapes": None}


@pytest.mark.parametrize(("name", "wanted"), PIPELINES.items())
def test_synthias_pipelines_count_the_papers_classes(tmp_path: Path, name: str, wanted: str | None) -> None:
    assert load_pipeline(Request(name, tmp_path)).mean_over == wanted


def test_a_subset_that_is_none_is_told_and_ones_own_label_space_has_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("label_space: cityscapes19\nmean_over: '12'\nbefore: {city: {stage: minicity}}\n")
    with pytest.raises(ConfigError, match="no subset '12'"):
        load_pipeline(Request(str(own), tmp_path))
    changed = Request("synthia_to_cityscapes", tmp_path, assignments=("label_space=camvid11",))
    assert load_pipeline(changed).mean_over is None
    kept = replace(changed, assignments=("label_space=cityscapes19",))
    assert load_pipeline(kept).mean_over == "13"


def test_the_gap_closed_is_that_of_the_subset() -> None:
    content = fakes.report(2, mean_over="13")
    for row in content["rows"]:
        row["miou"] -= 0.1 if row["name"] == "oracle" else 0.0  # all classes say something else
    rows = {row["name"]: row["subsets"]["13"] for row in content["rows"]}
    wanted = (rows["round 2"] - rows["source only"]) / (rows["oracle"] - rows["source only"])
    assert gap_closed(content) == pytest.approx(wanted)
    assert gap_closed({**content, "mean_over": None}) != pytest.approx(wanted)
    assert gap_closed(fakes.report(0)) is None
    content["rows"] = [row for row in content["rows"] if row["name"] != "oracle"]
    assert gap_closed(content) is None


def test_verdict_tiles_and_tables_put_it_first(tmp_path: Path) -> None:
    scores = read_scores(fakes.report(1, mean_over="13"))
    found = {row.name: f"{100 * (row.subsets['13'] or 0):.1f}" for row in scores.rows}
    assert [one.title for one in columns(scores)][:3] == ["mIoU13", "mIoU", "mIoU16"]
    (run,) = read_runs([fakes.loop(tmp_path / "run", rounds=1, mean_over="13")])
    assert verdict(run).startswith(f"mIoU13: source only {found['source only']}, round 1 {found['round 1']}")
    shown = {title: (figure, below) for title, figure, below in tiles(run)}
    assert shown["round 1"][0] == found["round 1"]
    assert "mIoU16" in shown["round 1"][1] and "mIoU13" not in shown["round 1"][1]
    assert "the gap closed are of mIoU13" in means(run)
    assert scores_table([scores])[0].split(" | ")[-2] == "mIoU13"
    lines = text_table(scores).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("mIoU")] == ["mIoU13", "mIoU", "mIoU16"]
    assert load_space("cityscapes19").subset_indices("13")
