"""What every stage shares: when results are kept, why they are stale, what is recorded, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.stages.paint import PAINT, PaintConfig, go, snapshot, what
from uda.core import provenance
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError
from uda.core.manifest import MANIFEST, complete_manifest, verify
from uda.stages import catalog
from uda.stages.base import Decision, check_divisible, check_shared, decide, execute


def test_what_the_processes_cannot_share_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_shared(3) == 3
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert check_shared(8, least=2) == 2
    with pytest.raises(
        ConfigError, match=r"fit.batch: 1 images cannot be shared equally by 4 processes; use a multiple"
    ):
        check_shared(1)
    with pytest.raises(ConfigError, match=r"fit.batch: BatchNorm .* needs 2 images .* gets 1; use 8 or more"):
        check_shared(4, least=2)


def test_what_was_never_made_is_run(canvas: Path) -> None:
    decision = what(canvas)
    assert (decision.action, decision.reason) == ("run", "not made yet")
    assert not (canvas.parent / "out").exists()
    assert not (canvas.parent / "out.partial").exists()


def test_what_is_complete_is_skipped_and_its_files_are_left(canvas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = go(canvas)
    before = snapshot(canvas.parent / "out")
    assert what(canvas).action == "skip"
    assert go(canvas) == first
    assert snapshot(canvas.parent / "out") == before
    assert not (canvas.parent / "out.partial").exists()
    assert "skipped (complete, same settings and inputs)" in capsys.readouterr().err


def test_the_manifest_tells_what_was_done(canvas: Path) -> None:
    manifest = go(canvas, PaintConfig(colour="blue", batch=9))
    assert manifest == complete_manifest(canvas.parent / "out")
    assert (manifest.stage, manifest.version, manifest.reason) == ("paint", 1, "not made yet")
    assert manifest.settings == {"colour": "blue"}
    assert manifest.config["batch"] == 9
    assert manifest.config["size"] == [2, 4]
    assert manifest.inputs["canvas"]["path"] == str(canvas)
    assert manifest.metrics == {"written": ["a.txt", "b.txt"], "inputs": ["canvas"]}
    assert manifest.recorded["seconds"] >= 0
    assert manifest.recorded["versions"]["torch"]
    assert manifest.recorded["code"] == provenance.code()
    assert "interrupted" not in manifest.recorded
    assert verify(canvas.parent / "out", deep=True) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"colour": "blue"}, "stale: config colour default -> blue"),
        ({"seed": 3}, "stale: config seed default -> 3"),
        ({"size": (8, 8)}, "stale: config size default -> [8, 8]"),
        ({"optimizer": {"name": "sgd", "lr": 0.2}}, "stale: config optimizer default -> {'name': 'sgd', 'lr': 0.2}"),
        ({"runtime": {"precision": "bfloat16"}}, "stale: config runtime default -> {'precision': 'bfloat16'}"),
    ],
)
def test_stale_results_are_told_with_the_setting_that_differs(
    canvas: Path, changes: dict[str, Any], reason: str
) -> None:
    go(canvas)
    decision = what(canvas, PaintConfig.model_validate(changes))
    assert (decision.action, decision.reason) == ("run", reason)


def test_old_and_new_value_are_told_down_to_the_inner_key(canvas: Path) -> None:
    old, new = ({"optimizer": {"name": "adam", "lr": rate}, "colour": "blue"} for rate in (0.3, 0.5))
    go(canvas, PaintConfig.model_validate(old))
    assert what(canvas, PaintConfig.model_validate(new)).reason == "stale: config optimizer.lr 0.3 -> 0.5"
    assert what(canvas).reason == (
        "stale: config colour blue -> default, config optimizer {'name': 'adam', 'lr': 0.3} -> default"
    )


@pytest.mark.parametrize("changes", [{"batch": 99}, {"runtime": {"device": "cpu", "workers": 3}}])
def test_how_it_runs_makes_nothing_stale(canvas: Path, changes: dict[str, Any]) -> None:
    go(canvas)
    assert what(canvas, PaintConfig.model_validate(changes)).action == "skip"


def test_a_weights_file_counts_by_its_content(canvas: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"1")
    go(canvas, PaintConfig(weights=weights))
    moved = weights.rename(tmp_path / "moved.pth")
    assert what(canvas, PaintConfig(weights=moved)).action == "skip"
    moved.write_bytes(b"2")
    assert what(canvas, PaintConfig(weights=moved)).reason.startswith("stale: config weights.sha256 ")


def test_a_raised_version_makes_stale(canvas: Path) -> None:
    go(canvas)
    assert what(canvas, stage=dataclasses.replace(PAINT, version=2)).reason == "stale: version 1 -> 2"


def test_changed_added_and_removed_inputs_are_told_by_name(canvas: Path, tmp_path: Path) -> None:
    frame = tmp_path / "frame.csv"
    frame.write_text("x")
    go(canvas)
    assert what(canvas, frame=frame).reason == "stale: input frame added"
    go(canvas, frame=frame)
    assert what(canvas).reason == "stale: input frame taken away"
    canvas.write_text("image\nother.png\n")
    frame.write_text("y")
    assert what(canvas, frame=frame).reason == "stale: input canvas changed, input frame changed"


def test_inputs_that_moved_or_were_only_touched_stay_valid(canvas: Path, tmp_path: Path) -> None:
    go(canvas)
    os.utime(canvas, ns=(1, 1))
    assert what(canvas).action == "skip"
    moved = canvas.rename(tmp_path / "moved.csv")
    assert decide(PAINT, PaintConfig(), {"canvas": moved}, tmp_path / "out", force=False).action == "skip"


def test_images_and_labels_that_are_overwritten_make_stale_what_came_of_a_manifest_of_ones_own(canvas: Path) -> None:
    label = canvas.parent / "a.png"
    label.write_bytes(b"old")
    canvas.write_text("image,label,dataset\na.png,a.png,\n")
    go(canvas)
    assert what(canvas).action == "skip"
    label.write_bytes(b"newer")
    assert what(canvas).reason == "stale: input canvas changed"
    go(canvas)
    label.unlink()  # which is the stage's to tell
    assert what(canvas).reason == "stale: input canvas changed"


def test_a_dataset_spec_of_ones_own_counts_by_what_it_says(canvas: Path, tmp_path: Path) -> None:
    def write(name: str, values: str = "{sky: [0]}") -> None:
        (tmp_path / name).write_text(f"name: s\nimages: i/{{id}}.png\nlabels: l/{{id}}.png\nvalues: {values}\n")
        canvas.write_text(f"image,label,dataset\na.png,,{name}\nb.png,,gta5\n")

    write("spec.yaml")
    go(canvas)
    write("renamed.yaml")
    (tmp_path / "spec.yaml").unlink()
    canvas.write_text(canvas.read_text().replace("renamed.yaml", str(tmp_path / "renamed.yaml")))
    assert what(canvas).action == "skip"
    write("renamed.yaml", "{sky: [1]}")
    assert what(canvas).reason == "stale: input canvas changed, input canvas's dataset changed"


def test_an_output_that_was_edited_makes_stale_what_came_of_it(canvas: Path, tmp_path: Path) -> None:
    go(canvas)
    later, made = tmp_path / "later", tmp_path / "out/a.txt"

    def ask() -> Decision:
        return decide(PAINT, PaintConfig(), {"canvas": made}, later, force=False)

    execute(PAINT, PaintConfig(), {"canvas": made}, later, Console())
    assert ask().action == "skip"
    made.write_text("RED")
    assert ask().reason == "stale: input canvas changed"


def test_a_stage_directory_as_input_counts_by_its_outputs(canvas: Path, tmp_path: Path) -> None:
    go(canvas)
    later = tmp_path / "later"

    def ask() -> Decision:
        return decide(PAINT, PaintConfig(), {"canvas": tmp_path / "out"}, later, force=False)

    execute(PAINT, PaintConfig(), {"canvas": tmp_path / "out"}, later, Console())
    go(canvas, force=True)  # the same bytes again
    assert ask().action == "skip"
    go(canvas, PaintConfig(colour="blue"))
    assert ask().reason == "stale: input canvas changed"


def test_a_foreign_folder_is_taken_only_where_the_stage_says_so(canvas: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert what(canvas, pins=folder).action == "run"
    with pytest.raises(DataError, match="no complete stage directory"):
        what(canvas, frame=folder)


def test_many_differences_are_told_shortly(canvas: Path) -> None:
    go(canvas)
    changed = PaintConfig.model_validate(
        {"colour": "b", "seed": 1, "size": (1, 1), "optimizer": {"lr": 1}, "runtime": {"precision": "float32"}}
    )
    reason = what(canvas, changed).reason
    assert reason.endswith(" and 1 more")
    assert reason.count("config ") == 4


def test_force_runs_what_is_complete_again(canvas: Path) -> None:
    go(canvas)
    decision = what(canvas, force=True)
    assert (decision.action, decision.reason) == ("run", "--force")
    assert go(canvas, force=True).reason == "--force"


def test_checks_come_before_anything_is_said_or_touched(canvas: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(config: Any, inputs: Mapping[str, Path]) -> None:
        raise ConfigError(f"{config.colour} does not go on {inputs['canvas'].name}")

    with pytest.raises(ConfigError, match=r"red does not go on canvas\.csv"):
        go(canvas, stage=dataclasses.replace(PAINT, check=refuse))
    assert [path.name for path in canvas.parent.iterdir()] == ["canvas.csv"]
    assert capsys.readouterr() == ("", "")


def test_a_check_looks_once_at_what_is_run_and_not_at_what_is_complete(
    canvas: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looked = []
    checked = dataclasses.replace(PAINT, check=lambda config, inputs: looked.append(dict(inputs)))
    go(canvas, stage=checked)
    assert looked == [{"canvas": canvas}]
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(" ")[0] for line in told] == ["running", "done"]
    go(canvas, stage=checked)
    assert len(looked) == 1


def test_missing_and_unknown_inputs_are_told(canvas: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="uda paint: needs --canvas"):
        decide(PAINT, PaintConfig(), {}, tmp_path / "out", force=False)
    with pytest.raises(ConfigError, match="uda paint: takes no input easel, stool"):
        what(canvas, stool=canvas, easel=canvas)
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        what(tmp_path / "none.csv")


@pytest.mark.parametrize("kind", ["folder", "file", "other stage"])
def test_a_place_that_holds_something_else_is_refused(canvas: Path, kind: str) -> None:
    out = canvas.parent / "out"
    if kind == "folder":
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
    elif kind == "file":
        out.write_text("mine")
    else:
        go(canvas, stage=dataclasses.replace(PAINT, name="draw"))
    before = snapshot(canvas.parent)
    for force in (False, True):
        with pytest.raises(ConfigError, match="choose another --out"):
            go(canvas, force=force)
    assert snapshot(canvas.parent) == before


def test_an_empty_folder_is_a_place(canvas: Path) -> None:
    (canvas.parent / "out").mkdir()
    assert go(canvas).metrics["written"] == ["a.txt", "b.txt"]


def test_results_stay_valid_where_they_are_moved(canvas: Path, tmp_path: Path) -> None:
    go(canvas)
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    assert decide(PAINT, PaintConfig(), {"canvas": canvas}, tmp_path / "elsewhere", force=False).action == "skip"


def _later(old: dict[str, Any]) -> str:
    """A manifest as a later version of this program might write it."""
    return json.dumps({**old, "schema": 2, "novelty": {}})


UNREADABLE: dict[str, Callable[[dict[str, Any]], str]] = {
    "broken": lambda old: "{",
    "cut": lambda old: json.dumps({"stage": old["stage"]}),
    "no text": lambda old: "",
    "later": _later,
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_manifest_that_cannot_be_read_is_told_and_replaced_by_force_alone(canvas: Path, kind: str) -> None:
    first, file = go(canvas), canvas.parent / "out" / MANIFEST
    file.write_text(UNREADABLE[kind](json.loads(file.read_text())))
    before = snapshot(canvas.parent)
    for ask in (what, go):
        with pytest.raises(DataError, match=r"no manifest of this program.*; run the stage again with --force"):
            ask(canvas)
    assert snapshot(canvas.parent) == before
    decision = what(canvas, force=True)
    assert (decision.action, decision.reason) == ("run", "--force")
    assert go(canvas, force=True).outputs == first.outputs
    assert verify(canvas.parent / "out", deep=True) == []
    assert sorted(path.name for path in canvas.parent.iterdir()) == ["canvas.csv", "out"]


def test_results_of_another_stage_are_not_replaced_though_their_manifest_cannot_be_read(canvas: Path) -> None:
    go(canvas, stage=dataclasses.replace(PAINT, name="draw"))
    file = canvas.parent / "out" / MANIFEST
    file.write_text(_later(json.loads(file.read_text())))
    before = snapshot(canvas.parent)
    for force in (False, True):
        with pytest.raises(ConfigError, match="out: holds the results of 'draw'; choose another --out"):
            go(canvas, force=force)
    assert snapshot(canvas.parent) == before


def test_a_file_like_a_manifest_that_no_receipts_lie_beside_is_never_replaced(canvas: Path) -> None:
    out = canvas.parent / "out"
    out.mkdir()
    (out / MANIFEST).write_text(json.dumps({"stage": "paint", "actors": 3}))
    before = snapshot(canvas.parent)
    for force in (False, True):
        with pytest.raises(DataError, match=r"no manifest of this program.*; remove its folder if it is not wanted"):
            go(canvas, force=force)
    assert snapshot(canvas.parent) == before


def test_the_fingerprint_is_a_function_of_stage_settings_and_inputs_alone(canvas: Path) -> None:
    first = what(canvas).fingerprint
    assert first == what(canvas, PaintConfig(batch=8)).fingerprint == what(canvas, force=True).fingerprint
    others = {
        what(canvas, PaintConfig(colour="blue")).fingerprint,
        what(canvas, stage=dataclasses.replace(PAINT, version=2)).fingerprint,
        what(canvas, stage=dataclasses.replace(PAINT, name="draw")).fingerprint,
        what(canvas, frame=canvas).fingerprint,
    }
    assert len(others | {first}) == 5


def test_a_new_setting_at_its_default_keeps_old_results(canvas: Path) -> None:
    class Later(PaintConfig):
        gloss: float = 0.0

    go(canvas)
    newer = dataclasses.replace(PAINT, config=Later)
    assert what(canvas, Later(), stage=newer).action == "skip"
    assert what(canvas, Later(gloss=1), stage=newer).reason == "stale: config gloss default -> 1.0"


def test_the_manifest_is_plain_json(canvas: Path) -> None:
    go(canvas, PaintConfig(weights=canvas))
    assert json.loads((canvas.parent / "out" / MANIFEST).read_text())["config"]["weights"] == str(canvas)


@pytest.mark.parametrize(
    ("size", "multiple", "fitting"), [((33, 64), 32, "[32, 64]"), ((10, 50), 32, "[32, 64]"), ((6, 7), 4, "[8, 8]")]
)
def test_a_size_that_strides_do_not_divide_is_told_with_one_that_fits(
    size: tuple[int, int], multiple: int, fitting: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_divisible("size", size, multiple, "segmenter x")
    assert str(caught.value).endswith(f"use {fitting}")
    check_divisible("size", (64, 96), 32, "segmenter x")


@pytest.mark.parametrize("name", catalog.stage_names())
def test_every_stage_can_be_sent_to_another_process(name: str) -> None:
    """As `--jobs` does with the steps of a plan."""
    assert pickle.loads(pickle.dumps(catalog.get_stage(name))) == catalog.get_stage(name)  # made here
