"""What a plan decides before anything runs: which steps run, go on or are skipped and why, and what cannot start."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.loop_house import ROUND, House
from uda import pipeline
from uda.core.config import settings_that_matter
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError
from uda.core.manifest import MANIFEST, Manifest
from uda.core.rundir import RunDirectory
from uda.data.label_space import load_space
from uda.pipeline import Planned, Request, expand, plan
from uda.stages.base import Job, execute


def unchecked(house: House, *assignments: str, **fields: Any) -> list[Planned]:
    """Steps whose settings are not looked at: the house's methods are none."""
    planned = house.expand(*assignments, **fields).values()
    return [dataclasses.replace(one, stage=dataclasses.replace(one.stage, check=None)) for one in planned]


def reasons(house: House, *assignments: str, force: bool = False, **fields: Any) -> dict[str, tuple[str, str]]:
    planned = unchecked(house, *assignments, **fields)
    return {one.name: (decision.action, decision.reason) for one, decision in plan(planned, force=force)}


def fake(job: Job) -> dict[str, Any]:
    """Makes what later steps look for, out of the settings."""
    for name in ("samples.csv", "gta5/x.png", "cityscapes/x.png"):
        job.run.write(name, repr(settings_that_matter(job.config)).encode())
    return {}


def run_fake(house: House, *assignments: str, stop_before: str | None = None) -> None:
    for one in house.expand(*assignments).values():
        if one.name == stop_before:
            return
        stage = dataclasses.replace(one.stage, run=fake, check=None)
        inputs = {name: source.path for name, source in one.inputs.items()}
        execute(stage, one.config, inputs, one.out, Console(quiet=True))


def test_a_plan_says_why_and_makes_nothing(house: House) -> None:
    found = reasons(house)
    assert found["city"] == ("run", "not made yet")
    assert found["source"] == ("run", "its input city is made first")
    assert found["translate@1"] == ("run", "its input source is made first")
    assert found["evaluate@2"] == ("run", "its input segment@2 is made first")
    assert {action for action, _ in found.values()} == {"run"}
    assert not house.out.exists()


def test_what_is_complete_is_skipped(house: House) -> None:
    run_fake(house)
    assert set(reasons(house).values()) == {("skip", "complete, same settings and inputs")}
    more = reasons(house, rounds=3)
    assert {name for name, (action, _) in more.items() if action == "run"} == {f"{name}@3" for name in ROUND}
    assert more["translate@3"] == ("run", "not made yet")
    assert {action for action, _ in reasons(house, force=True).values()} == {"run"}


@pytest.mark.parametrize(("step", "place"), [("city", "city"), ("translate@1", "round_1/translate")])
def test_a_step_whose_manifest_cannot_be_read_is_made_anew_by_force_alone(house: House, step: str, place: str) -> None:
    run_fake(house)
    (house.out / place / MANIFEST).write_text("{")
    with pytest.raises(
        DataError, match=rf"step {step}: .*no manifest of this program .*run the stage again with --force"
    ):
        reasons(house)
    found = reasons(house, force=True)
    assert found["city"] == ("run", "--force")
    assert found["source"] == ("run", "its input city is made first")


def test_a_changed_setting_makes_its_step_stale_and_what_follows_from_it(house: House) -> None:
    run_fake(house)
    found = reasons(house, "labels.size=[32, 64]")
    stale = {name: reason for name, (action, reason) in found.items() if action != "skip"}
    assert stale == {
        "labels@1": "stale: config size [64, 128] -> [32, 64]",
        "segment@1": "its input labels@1 is made first",
        "evaluate@1": "its input segment@1 is made first",
        "translate@2": "its input segment@1 is made first",
        "labels@2": "its input segment@1 is made first",
        "segment@2": "its input translate@2 is made first",
        "evaluate@2": "its input segment@2 is made first",
    }


def test_how_a_label_spaces_path_is_written_makes_nothing_stale_and_what_it_says_does(house: House) -> None:
    space = house.folder / "space.yaml"
    space.write_text("name: own\nclasses: [{name: road, color: [0, 0, 0]}, {name: car, color: [9, 0, 0]}]\n")
    run_fake(house, "label_space=space.yaml")
    for text in ("./space.yaml", str(space), "plugin_path/../space.yaml"):
        assert set(reasons(house, f"label_space={text}").values()) == {("skip", "complete, same settings and inputs")}
    space.write_text(space.read_text().replace("car", "sky"))
    assert reasons(house, "label_space=space.yaml")["source"] == ("run", "stale: input label_space changed")
    shipped = reasons(house)["source"][1]
    assert shipped == "stale: config label_space default -> cityscapes19, input label_space changed"


def test_code_outside_the_package_makes_stale_what_came_of_it(house: House) -> None:
    run_fake(house)
    code = house.folder / "plugin_path/uda_plugin.py"
    code.write_text(code.read_text() + "# edited\n")
    found = reasons(house)
    assert re.fullmatch(
        r"stale: config segmenter\.code\.uda_plugin\.py [0-9a-f]{8} -> [0-9a-f]{8}", found["source_only"][1]
    )
    assert found["source_only"][0] == found["labels@1"][0] == "run" and found["source"][0] == "skip"


def test_another_seed_shares_the_data(house: House) -> None:
    run_fake(house)
    found = reasons(house, seed=1)
    assert {name for name, (action, _) in found.items() if action == "skip"} == {"city", "source", "target", "val"}
    assert found["source_only"] == ("run", "stale: config seed default -> 1")


def test_an_interrupted_step_is_resumed_and_the_rest_runs(house: House) -> None:
    run_fake(house, stop_before="translate@1")
    one = house.expand()["translate@1"]
    decision = {step.name: made for step, made in plan(unchecked(house), force=False)}["translate@1"]
    RunDirectory(one.out).begin(decision.fingerprint, {})
    found = reasons(house)
    assert found["oracle_score"][0] == "skip"
    assert found["translate@1"] == ("resume", "interrupted run of the same settings found")
    assert found["labels@1"] == ("run", "not made yet")
    assert found["segment@1"] == ("run", "its input translate@1 is made first")


def test_an_out_that_cannot_hold_a_loop_is_refused(house: House) -> None:
    (house.folder / "notes.txt").write_text("mine")
    for out in (house.folder / "notes.txt", house.folder / "notes.txt/run"):
        house.out = out
        assert house.refused() == f"{house.folder / 'notes.txt'}: is a file, not a folder; choose another --out"
    house.out = house.folder / "runs"
    run_fake(house, stop_before="oracle")
    for out in (house.folder / "runs/source_only", house.folder / "runs/source_only/seed_0"):
        house.out = out
        step = house.folder / "runs/source_only"
        assert house.refused() == f"{step}: holds the results of 'segment'; choose another --out"


@pytest.mark.parametrize("kind", ["folder", "other stage", "file above"])
def test_a_place_of_anothers_is_told_before_the_first_step_runs(house: House, kind: str) -> None:
    place = house.out / "round_2/evaluate"
    if kind == "file above":
        place.parent.parent.mkdir()
        place.parent.write_text("mine")
        told = f"{place.parent}: is a file, not a folder"
    else:
        place.mkdir(parents=True)
        (place / "thesis.tex").write_text("mine")
        told = f"{place}: exists and was not made by this program"
    if kind == "other stage":
        Manifest("segment", 1, "f", "not made yet", {}, {}, {}, "o").write(place / MANIFEST)
        told = f"{place}: holds the results of 'segment'"
    step = "translate@2" if kind == "file above" else "evaluate@2"
    for force in (False, True):
        with pytest.raises(ConfigError) as caught:
            reasons(house, force=force)
        assert str(caught.value) == f"step {step}: {told}; choose another --out"
    assert reasons(house, rounds=1)["evaluate@1"] == ("run", "its input segment@1 is made first")


def test_what_a_step_cannot_do_is_told_with_its_name(tmp_path: Path) -> None:
    def refused(name: str, *assignments: str) -> str:
        request = Request(pipeline=name, out=tmp_path / "run", assignments=assignments)
        with pytest.raises(ConfigError) as caught:
            pipeline.plan(expand(request, Console(quiet=True)), force=False)
        return str(caught.value)

    assert refused("minicity_full", "oracle.size=[100, 200]") == (
        "step oracle: size: [100, 200] is not divisible by 32, as segmenter smp needs; use [96, 192]"
    )
    told = refused("minicity_full", "translate.config=translate/minicity_pix2pix")
    assert told.startswith("step translate@1: pix2pix needs pairs of target images and labels; give the input pairs")
    assert "--p" not in told
    gone = refused("minicity_full", "start.segmenter.pretrained=gone.pth")
    assert gone == "step start: segmenter.pretrained: gone.pth: no such file; mend the path"
    crop = refused("minicity", "translate.rows=[0, 0.8]")
    assert "step translate@1: rows: 102 rows of 128 are fewer than a crop's 116; set augment.crop to 100 rows" in crop


def few_pairs(out: Path, *assignments: str) -> list[Planned]:
    request = Request("minicity_few_pairs", out, rounds=2, tiny=True, assignments=assignments)
    return expand(request, Console(quiet=True))


def make(planned: Sequence[Planned]) -> None:
    """Leave what the checks of later steps ask for: a manifest, and which translator was fitted."""

    def run(job: Job) -> dict[str, Any]:
        label = "x.png" if getattr(job.config, "labels", True) else ""
        job.run.write("samples.csv", f"image,label,dataset\nx.png,{label},cityscapes\n".encode())
        for name in ("x.png", "gta5/x.png", "cityscapes/x.png"):
            job.run.write(name, b"")
        translator, space = getattr(job.config, "translator", None), getattr(job.config, "label_space", None)
        model: dict[str, Any] = {"translator": {"name": getattr(translator, "name", None)}, "config": {}}
        classes = [] if space is None else list(load_space(space).names)
        job.run.write("model.json", json.dumps({**model, "label_space": space, "classes": classes}).encode())
        job.run.write("segmenter.safetensors", b"")
        return {}

    for one in planned:
        stage = dataclasses.replace(one.stage, run=run, check=None)
        inputs = {name: source.path for name, source in one.inputs.items()}
        execute(stage, one.config, inputs, one.out, Console(quiet=True))


def actions(planned: Sequence[Planned], *, force: bool = False) -> dict[str, str]:
    return {one.name: decision.action for one, decision in plan(planned, force=force)}


def test_a_translator_that_is_fitted_anew_is_not_held_against_the_one_that_is_there(tmp_path: Path) -> None:
    out, other = tmp_path / "run", "translate.config=[translate/minicity_tcr, overlays/few_pairs]"
    make(few_pairs(out))
    assert set(actions(few_pairs(out)).values()) == {"skip"}
    found = actions(few_pairs(out, other))
    assert {found[name] for name in ("translate@1", "translate@2", "segment@2")} == {"run"}
    assert {found[name] for name in ("start", "oracle")} == {"skip"}
    pipeline.plan(few_pairs(out, other), force=False)
    model = out / "round_1/translate/model.json"
    model.write_text(model.read_text().replace("semi_paired", "tcr"))  # what stays is looked at
    with pytest.raises(ConfigError, match=r"^step translate@2: .*round_1/translate: holds a fitted 'tcr'"):
        plan(few_pairs(out), force=False)
    assert set(actions(few_pairs(out), force=True).values()) == {"run"}


def test_labels_that_are_read_anew_are_not_missed_before(tmp_path: Path) -> None:
    bare = "val.labels=false"
    make(few_pairs(tmp_path, bare))
    with pytest.raises(DataError, match=r"^step source_only_score: .*has no label to score against"):
        plan(few_pairs(tmp_path, bare), force=False)
    found = actions(few_pairs(tmp_path))
    assert {name for name, action in found.items() if action == "run"} == {
        "val", "source_only_score", "oracle_score", "evaluate@1", "evaluate@2"
    }  # fmt: skip
