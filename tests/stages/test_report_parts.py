from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.stages import report_fakes as fakes
from uda.core.errors import ConfigError
from uda.core.resources import find_yaml, names
from uda.data.label_space import load_space
from uda.stages._report.comparison import spread
from uda.stages._report.curves import figures, read_log
from uda.stages._report.pictures import GREY, class_colors, confusion, grid_picture
from uda.stages._report.published import load_published, obstacle, published_group
from uda.stages._report.reading import Run, StageEntry, read_runs
from uda.stages._report.scores import read_scores
from uda.stages._report.sections import published
from uda.stages._report.summary import warnings
from uda.stages._report.tables import percent, points, score_cells
from uda.stages._report.trail import given, trail
from uda.stages.report import write_report


def read(directory: Path) -> Run:
    return read_runs([directory])[0]


def only(directory: Path) -> StageEntry:
    (entry,) = read(directory).stages
    return entry


# Published rows


def test_every_group_that_a_pipeline_names_is_there_and_fits_its_label_space() -> None:
    groups = load_published()
    pipelines = [yaml.safe_load(find_yaml("pipelines", name).read_text()) for name in names("pipelines")]
    named = {one["published"]: one["label_space"] for one in pipelines if one.get("published")}
    assert set(named) == set(groups)
    for key, space in named.items():
        assert set(groups[key].columns) <= set(load_space(space).names)


def test_means_follow_from_the_published_classes() -> None:
    checked = 0
    for group in load_published().values():
        for row in group.rows:
            values = [value for value in row.iou or () if value is not None]
            if values:
                # Rounded to 0.1 in the papers; one row of 2017 is 0.12 off in the table that quotes it.
                assert sum(values) / len(values) == pytest.approx(row.miou, abs=0.13), row.method
                checked += 1
    assert checked == 27


def test_the_papers_own_results_are_confirmed() -> None:
    found = {
        (key, row.classes): row.miou
        for key, group in load_published().items()
        for row in group.rows
        if row.method == "SAIT (Musto & Zinelli)" and row.confirmed and row.mark == "paper"
    }
    assert found == {
        ("gta5_deeplabv2", 19): 50.4,
        ("gta5_fcn8s", 19): 46.5,
        ("synthia_deeplabv2", 13): 55.1,
        ("synthia_fcn8s", 16): 41.5,
    }


def test_what_was_recalled_is_never_called_confirmed() -> None:
    rows = [row for group in load_published().values() for row in group.rows]
    assert all(row.confirmed == (row.mark != "m") for row in rows)
    assert all(row.confirmed != ("not checked" in row.origin) for row in rows)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"iou": [50.0, 60.0, 70.0]}, "A: 3 IoUs for 2 columns"),
        ({"iou": [50.0, None]}, "A: 1 IoUs for a mean over 2 classes"),
        ({"mark": "x"}, "mark"),
        ({"miou": 120}, "less than or equal to 100"),
        ({"pages": 3}, "unknown key"),
        ({"confirmed": None}, "confirmed"),
    ],
)
def test_wrong_published_rows_are_told(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    row = {"method": "A", "classes": 2, "miou": 55.0, "mark": "r", "confirmed": True, "origin": "here", **change}
    group = {"source": "gta5", "target": "cityscapes", "network": "n", "columns": ["road", "sky"], "rows": [row]}
    file = tmp_path / "published.yaml"
    file.write_text(yaml.safe_dump({"mine": group}))
    with pytest.raises(ConfigError, match=re.escape(what)) as caught:
        load_published(file)
    assert "published.yaml: mine" in str(caught.value)


def test_an_unknown_group_is_a_warning_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'gta5_fcn8s'"):
        published_group("gta5_fcn8")
    run = read(fakes.loop(tmp_path / "run", rounds=1, published="gta5_fcn8"))
    shown, trouble = published(run)
    assert shown is None
    assert trouble is not None and "did you mean 'gta5_fcn8s'" in trouble


def test_only_the_published_data_sets_are_comparable(tmp_path: Path) -> None:
    group = published_group("gta5_deeplabv2")
    assert obstacle(read(fakes.loop(tmp_path / "true", rounds=1)), group) is None
    some = fakes.loop(tmp_path / "some", rounds=1)
    fakes.prepare(some / "target", "cityscapes", select={"groups": [], "first": 9, "last": None})
    assert obstacle(read(some), group) is None  # it is not scored on these
    fakes.prepare(some / "val", "cityscapes", select={"groups": [], "first": 9, "last": None})
    assert obstacle(read(some), group) == "this run is scored on chosen images alone (val)"
    own = fakes.loop(tmp_path / "own", rounds=1)
    fakes.prepare(own / "source", "my_simulator")
    assert obstacle(read(own), group) == "this run has data of its own in the place of gta5"
    city = fakes.loop(tmp_path / "city", rounds=1)
    fakes.stage(city / "minicity", "minicity")
    shown, _ = published(read(city))
    assert shown is not None and shown.obstacle is not None and "mini-city" in shown.obstacle
    assert not [line for _, lines in shown.blocks for line in lines if line.own]


def test_the_run_stands_in_each_block_by_that_blocks_mean(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1, published="synthia_deeplabv2")
    fakes.prepare(out / "source", "synthia")
    run = read(out)
    shown, _ = published(run)
    assert shown is not None and run.scores.result is not None
    own = {count: line.miou for count, lines in shown.blocks for line in lines if line.own}
    assert own == {count: percent(run.scores.result.subsets[str(count)]) for count in (16, 13)}
    lines = {count: next(line for line in rows if line.own) for count, rows in shown.blocks}
    assert {line.network for line in lines.values()} == {"deeplabv2"}
    three = [shown.columns.index(name) for name in ("wall", "fence", "pole")]
    assert [lines[13].cells[at] for at in three] == ["-"] * 3  # they do not count in that mean
    assert all(lines[16].cells[at] != "-" for at in three)


def test_a_step_that_is_a_link_is_part_of_the_run(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1)
    whole = [entry.name for entry in read(out).stages]
    shutil.move(out / "round_1/translate", tmp_path / "disk")
    (out / "round_1/translate").symlink_to(tmp_path / "disk")
    assert [entry.name for entry in read(out).stages] == whole


def test_pixels_that_were_predicted_to_be_nothing_are_pixels_of_their_class(tmp_path: Path) -> None:
    names = fakes.SPACE.names
    score = fakes.evaluate(tmp_path / "score", 0.5)
    matrix = confusion(only(tmp_path))
    assert matrix is not None and matrix.rows[0] is not None
    part = matrix.rows[0][0]
    table = (score / "confusion.csv").read_text().splitlines()[1:]
    counts = [sum(map(int, line.split(",")[1:])) for line in table]
    lines = [f"{name},0.5,{2 * count},0,0" for name, count in zip(names, counts, strict=True)]
    (score / "iou.csv").write_text("\n".join(("class,iou,pixels,predicted_pixels,correct_pixels", *lines)) + "\n")
    halved = confusion(only(tmp_path))
    assert halved is not None and halved.rows[0] is not None and halved.rows[0][0] == pytest.approx(part / 2)


# Curves


def write_log(file: Path, lines: list[Any]) -> Path:
    file.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines) + "\n")
    return file


def test_what_was_logged_beyond_a_checkpoint_counts_no_more(tmp_path: Path) -> None:
    steps = [(10, 1.0), (20, 2.0), (30, 3.0), (15, 9.0), (25, 8.0)]
    log = read_log(write_log(tmp_path / "log", [{"images": at, "time": 0, "a": value} for at, value in steps]), "x")
    assert log.terms == {"a": ([10, 15, 25], [1.0, 9.0, 8.0])}


def test_broken_lines_and_values_are_left_out(tmp_path: Path) -> None:
    lines = [
        {"images": 1, "a": 1.0},
        '{"images": 2, "a"',
        "[1]",
        "7",
        {"a": 3},
        {"images": 4, "a": float("nan"), "b": "x"},
    ]
    assert read_log(write_log(tmp_path / "log", lines), "x").terms == {"a": ([1.0], [1.0])}
    (tmp_path / "log").write_bytes(b"\xff\xfe\n" + b'{"images": 5, "a": 2}\n')
    assert read_log(tmp_path / "log", "x").terms == {"a": ([5.0], [2.0])}
    assert read_log(tmp_path / "none", "x").terms == {}


def test_long_logs_are_averaged(tmp_path: Path) -> None:
    log = read_log(write_log(tmp_path / "log", [{"images": at, "a": at % 2} for at in range(1, 1001)]), "x")
    images, values = log.terms["a"]
    assert len(images) == len(values) == 250
    assert (images[0], images[-1], set(values)) == (4, 1000, {0.5})


def test_terms_of_any_name_can_be_drawn(tmp_path: Path) -> None:
    fakes.stage(tmp_path / "run/s", "segment", log=[{"images": 1, "$x^{_$": 1.0, "<b>": 2.0}])
    (figure,) = figures(read(tmp_path / "run"))
    assert [panel.term for panel in figure.panels] == ["$x^{_$", "<b>"]
    assert all(panel.image.startswith("data:image/svg+xml;base64,") for panel in figure.panels)


# Trail


def test_inputs_are_named_by_what_made_them_even_where_results_are_alike(tmp_path: Path) -> None:
    out = tmp_path / "run"
    same = {"samples.csv": b"image,label,dataset\n"}
    for name in ("first", "second"):
        fakes.stage(out / name, "prepare", files=same)
    fakes.stage(out / "third", "segment", inputs={"source": out / "second/samples.csv", "init": out / "second"})
    step = next(step for step in trail(read(out)) if step.entry.name == "third")
    assert [(one.name, one.what, one.stale) for one in step.inputs] == [
        ("init", "second", False),
        ("source", "second/samples.csv", False),
    ]


def test_files_from_outside_keep_their_path_and_count_as_given(tmp_path: Path) -> None:
    own, shipped = tmp_path / "own.csv", find_yaml("configs/label_spaces", "cityscapes19")
    own.write_text("image\n")
    fakes.segment(tmp_path / "run/s", inputs={"source": own, "label_space": shipped})
    run = read(tmp_path / "run")
    what = {one.name: one.what for one in trail(run)[0].inputs}
    assert what == {"source": str(own), "label_space": "configs/label_spaces/cityscapes19.yaml"}
    before = given(run)
    assert set(before) == {"s source", "s label_space"}
    own.write_text("other\n")
    fakes.segment(tmp_path / "run/s", inputs={"source": own, "label_space": shipped})
    after = given(read(tmp_path / "run"))
    assert [name for name in before if before[name] != after[name]] == ["s source"]


def test_a_remade_input_makes_what_came_of_it_stale_a_repeated_one_does_not(tmp_path: Path) -> None:
    out = tmp_path / "run"
    fakes.prepare(out / "source", "gta5")
    fakes.segment(out / "s", inputs={"source": out / "source/samples.csv"})
    assert not [one for step in trail(read(out)) for one in step.inputs if one.stale]
    fakes.prepare(out / "source", "gta5")
    assert not [one for step in trail(read(out)) for one in step.inputs if one.stale]
    fakes.prepare(out / "source", "synthia")
    (stale,) = [one for step in trail(read(out)) for one in step.inputs if one.stale]
    assert stale.what == "source/samples.csv"


# Warnings, numbers, names


def test_rounds_that_the_report_does_not_hold_are_told(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=2)
    fakes.write_report(out, 1, 0.0, 0, {})
    run = read(out)
    assert "report.json does not hold round 2." in warnings(run, [run])


def test_a_run_without_bounds_says_which_is_missing(tmp_path: Path) -> None:
    out = fakes.loop(tmp_path / "run", rounds=1, rows=fakes.report(1)["rows"][:-1])
    run = read(out)
    assert "No row 'oracle': the gap that could be closed is not known." in warnings(run, [run])


def test_spread_is_the_sample_standard_deviation() -> None:
    assert spread([0.5, 0.52]) == "51.0 ± 1.4"
    assert spread([0.5, None]) == spread([0.5]) == "-"


def test_numbers_are_rounded_for_people() -> None:
    assert [percent(value) for value in (None, 0.0, 0.12345, 1.0)] == ["-", "0.0", "12.3", "100.0"]
    assert [points(0.5, base) for base in (0.4, 0.52, 0.50001, None)] == ["+10.0", "-2.0", "0.0", ""]


def test_the_best_of_a_column_is_no_oracle_and_no_tie() -> None:
    content = fakes.report(rounds=1)
    for row in content["rows"]:
        row["iou"]["sky"] = 0.5
    content["rows"][1]["iou"]["road"] = 0.9  # the comparator's
    leads = {row.name: [cell.best for cell in cells[4:]] for row, cells in score_cells(read_scores(content))}
    assert not any(leads["oracle"]) and not any(leads["source only"])
    road, sky, absent = (fakes.SPACE.names.index(name) for name in ("road", "sky", fakes.ABSENT))
    assert [at for at, best in enumerate(leads["colour transfer"]) if best] == [road]
    assert [at for at, best in enumerate(leads["round 1"]) if not best] == sorted((road, sky, absent))


def test_directories_get_names_that_tell_them_apart(tmp_path: Path) -> None:
    for name in ("a/run", "b/run", "c"):
        fakes.segment(tmp_path / name)
    found = read_runs([tmp_path / "a/run", tmp_path / "b/run"])
    assert [run.name for run in found] == ["a/run", "b/run"]
    assert [run.name for run in read_runs([tmp_path / "c", tmp_path / "c"])] == ["c", "c (2)"]


def test_captions_follow_the_columns_that_are_there(tmp_path: Path) -> None:
    guide = fakes.segment(tmp_path / "guide")

    def captions(columns: int, **inputs: Path) -> tuple[str, ...]:
        run = read(fakes.translate(tmp_path / f"t{columns}{len(inputs)}", columns=columns, inputs=inputs))
        picture = grid_picture(run.stages[0])
        assert picture is not None
        return picture.captions

    assert captions(4) == ("source", "source labels", "translation", "a target image")
    assert captions(6, guide=guide)[2:5] == ("guide's prediction", "translation", "guidance of another image")
    assert captions(3) == ()


def test_large_pictures_are_scaled_and_classes_without_a_space_are_grey(tmp_path: Path) -> None:
    run = read(fakes.translate(tmp_path / "wide", columns=70))
    picture = grid_picture(run.stages[0])
    assert picture is not None and picture.image.startswith("data:image/png")
    assert (picture.width, picture.height) == (1800, 26)
    assert class_colors("cityscapes19", ["road", "moat"], tmp_path) == {"road": "#804080", "moat": GREY}
    assert class_colors("gone.yaml", ["road"], tmp_path) == class_colors(None, ["road"], tmp_path) == {"road": GREY}


def test_classes_have_the_colours_that_segmenters_keep_wherever_their_label_space_lies(tmp_path: Path) -> None:
    kept = {"config": {}, "classes": ["road", "moat"], "label_space": "mine.yaml", "colors": [[1, 2, 3], [255, 0, 16]]}
    out = fakes.loop(tmp_path / "run", rounds=1, label_space="mine.yaml", classes=["road", "moat", "sky"])
    (out / "source_only/model.json").write_text("{")  # the others have none, as older ones
    assert class_colors("mine.yaml", ["moat"], out, read(out).of("segment")) == {"moat": GREY}
    (out / "source_only/model.json").write_text(json.dumps(kept))
    found = class_colors("mine.yaml", ["road", "moat", "sky"], out, read(out).of("segment"))
    assert found == {"road": "#010203", "moat": "#ff0010", "sky": GREY}
    assert write_report([out], tmp_path / "page.html").read_text().count("background: #ff0010") > 1
