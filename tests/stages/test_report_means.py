"""What the page's means are worth: over which classes they go, and over which seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stages import report_fakes as fakes
from tests.stages.report_page import page_of
from uda.stages._report.means import uneven_means
from uda.stages._report.reading import Run, read_runs
from uda.stages._report.summary import verdict, warnings
from uda.stages.report import format_seeds


def read(directory: Path) -> Run:
    return read_runs([directory])[0]


def small_run(out: Path, rows: dict[str, dict[str, float | None]], *, pixels: bool) -> Run:
    """A run over road, sky, car and bus, whose labels have the first two alone."""
    names = ["road", "sky", "car", "bus"]
    content = []
    for name, iou in rows.items():
        there = [value for value in iou.values() if value is not None]
        table = "class,pixels\n" + "".join(f"{one},{9 if one in ('road', 'sky') else 0}\n" for one in names)
        metrics = {"classes": names, "miou": sum(there) / len(there), "iou": iou}
        files = {"iou.csv": table.encode()} if pixels else {"none": b""}
        number = int(name[-1]) if name.startswith("round") else None
        where = "evaluate_" + name if number is None else f"round_{number}/evaluate"
        fakes.stage(out / where, "evaluate", metrics=metrics, files=files)
        content.append({"name": name, "round": number, **metrics})
    (out / "report.json").write_text(json.dumps({"classes": names, "rows": content}))
    return read(out)


@pytest.mark.parametrize("pixels", [True, False])
def test_predictions_of_classes_without_labels_turn_no_verdict_unseen(tmp_path: Path, pixels: bool) -> None:
    rows: dict[str, dict[str, float | None]] = {
        "source only": {"road": 0.6, "sky": 0.2, "car": None, "bus": None},
        "round 1": {"road": 0.7, "sky": 0.3, "car": 0.0, "bus": 0.0},
    }
    run = small_run(tmp_path / "run", rows, pixels=pixels)
    assert "round 1 25.0 (-15.0 points)" in verdict(run)
    assert uneven_means(run) == [
        "2 of 4 classes occur in no label (car, bus); one that is predicted all the same counts as 0 in mIoU (source "
        "only 0, round 1 2 of them: rows average over different classes). Over the classes that the labels have: "
        "source only 40.0, round 1 50.0 (+10.0 points). Give the label space that your labels have (--set "
        "label_space=FILE)."
    ]
    assert uneven_means(run)[0] in warnings(run, [run])


def test_only_counts_of_pixels_tell_a_class_that_is_never_right_from_one_without_labels(tmp_path: Path) -> None:
    rows: dict[str, dict[str, float | None]] = {"source only": {"road": 0.6, "sky": 0.0, "car": 0.0, "bus": None}}
    (line,) = uneven_means(small_run(tmp_path / "counted", rows, pixels=True))
    assert "(source only 1 of them)" in line and "different classes" not in line
    assert uneven_means(small_run(tmp_path / "uncounted", rows, pixels=False)) == []
    for row in rows.values():
        row["car"] = None  # nor predicted: the mean is over the labels' classes
    assert uneven_means(small_run(tmp_path / "fair", rows, pixels=True)) == []


def seeds(tmp_path: Path, *bounds: tuple[float, float]) -> list[Path]:
    """Runs of one round with these scores of source only and oracle; the round adds 4 points."""
    made = []
    for seed, (low, high) in enumerate(bounds):
        out = fakes.loop(tmp_path / f"seed{seed}", rounds=1, seed=seed)
        content = fakes.report(1, seed=seed)
        del content["rows"][1]
        for row, score in zip(content["rows"], (low, low + 0.04, high), strict=True):
            row["miou"] = score
        content["gap_closed"] = 0.04 / (high - low) if high > low else None
        (out / "report.json").write_text(json.dumps(content))
        made.append(out)
    return made


def table(runs: list[Path]) -> list[str]:
    return format_seeds([json.loads((out / "report.json").read_text()) for out in runs]).splitlines()


def test_a_gap_that_chance_makes_is_left_out_of_the_mean_over_seeds(tmp_path: Path) -> None:
    runs = seeds(tmp_path, (0.30, 0.50), (0.30, 0.48), (0.46, 0.461), (0.31, 0.50))
    lines = table(runs)
    assert lines[3] == "| round 1 | 34.0 | 34.0 | 50.0 | 35.0 | 38.2 ± 7.8 | 21.1 ± 1.1 |"
    assert lines[5] == "" and lines[6].startswith("Gap closed without seed 2: oracle and source only are no further")
    page = page_of(*runs)
    cells = [row[4] for row in page.rows if len(row) > 5 and row[1] == "round 1"]
    assert cells == ["21.1 ± 1.1", "20.0", "22.2", "-", "21.1"]
    assert "Gap closed without seed 2 (seed2): oracle and source only are no further apart there" in page.text
    assert page.text.count("no gap can be seen") == 1


def test_where_no_seed_has_a_gap_there_is_no_mean(tmp_path: Path) -> None:
    lines = table(seeds(tmp_path, (0.653, 0.654), (0.458, 0.583)))
    assert lines[3].endswith("| - |") and "without seed 0, 1:" in lines[-1]


def test_sound_gaps_are_averaged_without_a_word(tmp_path: Path) -> None:
    runs = seeds(tmp_path, (0.30, 0.50), (0.32, 0.50))
    lines = table(runs)
    assert len(lines) == 5 and lines[3].endswith("| 21.1 ± 1.6 |")
    assert "Gap closed without" not in page_of(*runs).text
    assert len(table(seeds(tmp_path / "bare", (0.5, 0.4)))) == 5  # one seed: nothing is known of chance
