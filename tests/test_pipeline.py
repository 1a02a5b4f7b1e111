"""Planning of stage graphs. The stages are the real ones; none is run."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from uda import pipeline
from uda.core import registry, resources
from uda.core.config import settings_that_matter
from uda.core.console import Console
from uda.core.errors import ConfigError, DataError
from uda.core.manifest import MANIFEST, Manifest
from uda.core.rundir import RunDirectory
from uda.pipeline import Planned, Request, expand, plan
from uda.stages.base import Job, execute

SEGMENT = {"stage": "segment", "config": "segment.yaml"}
LOOP: dict[str, Any] = {
    "label_space": "cityscapes19",
    "rounds": 2,
    "start": {"segment": "source_only"},
    "before": {
        "city": {"stage": "minicity"},
        "source": {"stage": "prepare", "config": "source.yaml", "inputs": {"root": "city/gta5"}},
        "target": {"stage": "prepare", "config": "target.yaml", "inputs": {"root": "city/cityscapes"}},
        "val": {"stage": "prepare", "config": "target.yaml", "inputs": {"root": "city/cityscapes"}},
        "source_only": {**SEGMENT, "inputs": {"source": "source/samples.csv"}},
        "source_only_score": {
            "stage": "evaluate",
            "inputs": {"segmenter": "source_only", "target": "val/samples.csv"},
            "row": "source only",
        },
        "oracle": {**SEGMENT, "inputs": {"source": "target/samples.csv"}, "reads_target_labels": True},
        "oracle_score": {
            "stage": "evaluate",
            "inputs": {"segmenter": "oracle", "target": "val/samples.csv"},
            "row": "oracle",
        },
    },
    "each_round": {
        "translate": {
            "stage": "translate",
            "config": "translate.yaml",
            "inputs": {"source": "source/samples.csv", "target": "target/samples.csv", "guide": "previous.segment"},
        },
        "labels": {
            "stage": "pseudo-label",
            "config": "labels.yaml",
            "inputs": {"segmenter": "previous.segment", "target": "target/samples.csv"},
        },
        "segment": {**SEGMENT, "inputs": {"source": "translate/samples.csv", "pseudo": "labels/samples.csv"}},
        "evaluate": {
            "stage": "evaluate",
            "inputs": {"segmenter": "segment", "target": "val/samples.csv"},
            "row": "round {round}",
        },
    },
    "tiny": {"rounds": 1},
}


class House:
    """A folder with configs and a pipeline, and what is asked of it."""

    def __init__(self, folder: Path, method: str) -> None:
        self.folder, self.out, self.method = folder, folder / "runs", method
        self.graph: dict[str, Any] = copy.deepcopy(LOOP)
        self.config("source", {"dataset": "gta5"})
        self.config("target", {"dataset": "cityscapes", "split": "train"})
        self.config("segment", {"segmenter": method, "size": [64, 128], "tiny": {"fit": {"images": 7}}})
        self.config("labels", {"strategy": method, "size": [64, 128]})
        self.config("translate", {"translator": "identity", "size": [64, 128]})

    def config(self, name: str, settings: dict[str, Any]) -> None:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))

    def step(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {**self.graph["before"], **self.graph["each_round"]}[name]
        return found

    def request(self, *assignments: str, **fields: Any) -> Request:
        (self.folder / "loop.yaml").write_text(yaml.safe_dump(self.graph, sort_keys=False))
        return Request(pipeline="loop.yaml", out=self.out, assignments=assignments, **fields)

    def expand(self, *assignments: str, **fields: Any) -> dict[str, Planned]:
        return {one.name: one for one in expand(self.request(*assignments, **fields), Console())}

    def refused(self, *assignments: str, **fields: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            self.expand(*assignments, **fields)
        return str(caught.value)

    def manifest(self, name: str, *, labels: Sequence[str] = ("",)) -> Path:
        file = self.folder / f"own_{name}.csv"
        rows = [f"{name}_{number}.png,{label},gta5" for number, label in enumerate(labels)]
        file.write_text("\n".join(["image,label,dataset", *rows]) + "\n")
        return file


@pytest.fixture
def house(tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.chdir(tmp_path)
    return House(tmp_path, plugin)


BEFORE = list(LOOP["before"])
ROUND = list(LOOP["each_round"])


def paths(one: Planned, base: Path) -> dict[str, str]:
    return {name: source.path.relative_to(base).as_posix() for name, source in one.inputs.items()}


def test_rounds_are_written_out_in_order(house: House) -> None:
    planned = house.expand()
    assert list(planned) == [*BEFORE, *(f"{name}@1" for name in ROUND), *(f"{name}@2" for name in ROUND)]
    assert planned["oracle"].out == house.out / "oracle"
    assert planned["segment@2"].out == house.out / "round_2/segment"
    assert [one.row for one in planned.values() if one.row] == ["source only", "oracle", "round 1", "round 2"]
    assert [planned[name].round for name in ("source", "segment@1", "segment@2")] == [None, 1, 2]
    assert [one.name for one in planned.values() if one.reads_target_labels] == ["oracle"]


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_the_number_of_rounds_can_be_asked_for(house: House, rounds: int) -> None:
    assert len(house.expand(rounds=rounds)) == len(BEFORE) + rounds * len(ROUND)
    assert len(house.expand(rounds=rounds, tiny=True)) == len(BEFORE) + rounds * len(ROUND)


@pytest.mark.parametrize(("rounds", "images"), [(0, 30), (1, 37), (3, 51)])
def test_a_budget_is_that_of_the_last_round_with_its_ancestors(house: House, rounds: int, images: int) -> None:
    house.step("oracle")["budget_of"] = "segment"
    house.step("segment")["inputs"]["init"] = "previous.segment"
    house.config("segment", {"segmenter": house.method, "size": [64, 128], "fit": {"images": 7}})
    given = ("source_only.fit.images=30", "oracle.fit.batch=2")
    fit = house.expand(*given, rounds=rounds)["oracle"].config.fit  # type: ignore[attr-defined]  # of its subclass
    assert (fit.images, fit.batch) == (images, 2)
    own = house.expand(*given, "oracle.fit.images=5", rounds=rounds)["oracle"].config.fit  # type: ignore[attr-defined]
    assert own.images == 5


def test_a_budget_names_a_step_of_the_rounds_that_is_fitted(house: House) -> None:
    house.step("oracle")["budget_of"] = "segmant"
    assert house.refused() == ("step oracle: budget_of: no step 'segmant' in the rounds; did you mean 'segment'?"), (
        house.refused()
    )
    house.step("oracle")["budget_of"] = "evaluate"
    assert "step oracle: budget_of: step evaluate@2 is not fitted; name a segment step" in house.refused()


def test_inputs_are_of_the_same_round_or_from_before(house: House) -> None:
    planned = house.expand()
    assert paths(planned["segment@2"], house.out) == {
        "source": "round_2/translate/samples.csv",
        "pseudo": "round_2/labels/samples.csv",
    }
    assert paths(planned["evaluate@1"], house.out) == {"segmenter": "round_1/segment", "target": "val/samples.csv"}
    assert planned["evaluate@1"].inputs["segmenter"].step == "segment@1"
    assert planned["evaluate@1"].inputs["target"].step == "val"


def test_previous_is_the_last_round_and_in_the_first_what_start_says(house: House) -> None:
    planned = house.expand(rounds=3)
    guides = {number: planned[f"translate@{number}"].inputs["guide"] for number in (1, 2, 3)}
    assert [source.step for source in guides.values()] == ["source_only", "segment@1", "segment@2"]
    assert [source.path for source in guides.values()] == [
        house.out / "source_only",
        house.out / "round_1/segment",
        house.out / "round_2/segment",
    ]


def test_what_has_no_start_is_left_out_of_round_1(house: House) -> None:
    house.config("translate", {"translator": "munit", "size": [64, 128]})
    house.step("translate")["inputs"]["init"] = "previous.translate"
    with pytest.raises(ConfigError, match=r"'previous.translate' has no meaning in round 1.*or null to go without"):
        house.expand()
    house.graph["start"]["translate"] = None
    planned = house.expand()
    assert "init" not in planned["translate@1"].inputs
    assert planned["translate@2"].inputs["init"].step == "translate@1"


UNFITTED = [one for one in registry.names("translators") if registry.load("translators", one).needs == "nothing"]


@pytest.mark.parametrize("pipeline_name", ["camvid_day_to_dusk", "camvid_to_idd_lite"])
@pytest.mark.parametrize("method", UNFITTED)
def test_translators_that_are_not_fitted_go_on_from_none(tmp_path: Path, pipeline_name: str, method: str) -> None:
    assert {"identity", "color_transfer", "fda"} <= set(UNFITTED)
    asked = [f"translate.config=translate/{method}"]
    request = Request(pipeline=pipeline_name, out=tmp_path / "run", rounds=2, assignments=asked, tiny=True)
    planned = expand(request, Console(quiet=True))
    pipeline.plan(planned, force=False)
    second = next(one for one in planned if one.name == "translate@2")
    assert "init" not in second.inputs
    assert {"source", "target"} <= set(second.inputs)


def test_translators_that_are_fitted_go_on_where_the_pipeline_says_so(tmp_path: Path) -> None:
    request = Request(pipeline="camvid_day_to_dusk", out=tmp_path / "run", rounds=2, tiny=True)
    found = {one.name: one for one in expand(request, Console(quiet=True))}
    assert found["translate@2"].inputs["init"].step == "translate@1"


def test_a_file_of_the_previous_round_can_be_named(house: House) -> None:
    house.step("labels")["inputs"]["target"] = "previous.labels/samples.csv"
    house.graph["start"]["labels"] = "target"
    planned = house.expand()
    assert paths(planned["labels@1"], house.out)["target"] == "target/samples.csv"
    assert paths(planned["labels@2"], house.out)["target"] == "round_1/labels/samples.csv"


def test_steps_are_sorted_by_their_inputs_whatever_the_files_order(house: House) -> None:
    for part in ("before", "each_round"):
        house.graph[part] = dict(reversed(house.graph[part].items()))
    planned = house.expand()
    assert sorted(planned) == sorted([*BEFORE, *(f"{name}@{number}" for name in ROUND for number in (1, 2))])
    done: set[str | None] = {None}
    for one in planned.values():
        assert {source.step for source in one.inputs.values()} <= done
        done.add(one.name)


def test_steps_that_wait_for_each_other_are_told(house: House) -> None:
    house.step("labels")["inputs"]["segmenter"] = "segment"
    text = house.refused(rounds=1)
    assert text.startswith("labels@1, segment@1, evaluate@1: steps wait for each other")


@pytest.mark.parametrize(
    ("step", "text", "told"),
    [
        ("segment", "transalte/samples.csv", "did you mean 'translate'?"),
        ("evaluate", "vall/samples.csv", "did you mean 'val'?"),
        ("source_only", "surce/samples.csv", "did you mean 'source'?"),
        ("translate", "previous.segmnt", "say `start: {segmnt: STEP}`"),
    ],
)
def test_an_input_that_names_no_step_is_told_with_the_nearest(house: House, step: str, text: str, told: str) -> None:
    house.step(step)["inputs"]["source"] = text
    said = house.refused()
    assert said.startswith(f"step {step}: ")
    assert f"'{text}'" in said
    assert told in said


@pytest.mark.parametrize(
    ("step", "key", "text", "told"),
    [
        ("segment", "source", "translate/sample.csv", "is no manifest; did you mean 'translate/samples.csv'?"),
        ("segment", "source", "translate", "is no manifest; write translate/samples.csv"),
        ("segment", "source", "translate/images", "is no manifest; did you mean"),
        ("segment", "pseudo", "labels", "is no manifest; write labels/samples.csv"),
        ("segment", "source", "previous.segment", "is no manifest, and segment makes none; name another step"),
        ("translate", "target", "target/sample.csv", "is no manifest; write target/samples.csv"),
        ("evaluate", "segmenter", "labels", "leaves no weights (pseudo-label); name a step that is fitted"),
        ("source", "root", "city/gta", "no 'gta' is left by city; did you mean 'city/gta5'?"),
        ("oracle", "init", "source_only/weights.pth", "no 'weights.pth' is left by source_only"),
        ("segment", "pseudos", "labels/samples.csv", "segment takes no input pseudos; did you mean 'pseudo'?"),
    ],
)
def test_an_input_that_its_step_does_not_make_is_told(house: House, step: str, key: str, text: str, told: str) -> None:
    house.step(step)["inputs"][key] = text
    said = house.refused()
    assert said.startswith(f"step {step}: ") and key in said
    assert told in said


def test_files_and_folders_that_a_step_makes_can_be_named(house: House) -> None:
    house.step("segment")["inputs"] |= {"also": "translate/target_samples.csv", "init": "source_only/model.json"}
    house.step("evaluate")["inputs"] = {"predictions": "labels/labels", "target": "val/samples.csv"}
    house.step("val")["inputs"]["root"] = "city/cityscapes/leftImg8bit"
    assert paths(house.expand(rounds=1)["evaluate@1"], house.out)["predictions"] == "round_1/labels/labels"


@pytest.mark.parametrize(("row", "other"), [("fancy", "evaluate@1"), ("source only", "source_only_score")])
def test_rows_of_one_name_are_refused(house: House, row: str, other: str) -> None:
    house.step("evaluate")["row"] = row
    said = house.refused(rounds=2)
    assert f"pipeline loop.yaml: row '{row}' is both {other}'s and evaluate@" in said
    assert "write {round} in it" in said
    house.step("evaluate")["row"] = "fancy"
    assert house.expand(rounds=1)
    house.step("segment")["row"] = "fit {round}"
    assert house.refused() == "step segment@1: row: segment scores nothing; leave it out"


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


def test_rows_for_all_fits_are_none_for_what_is_not_fitted(tmp_path: Path) -> None:
    def found(*assignments: str) -> dict[str, Planned]:
        request = Request(pipeline="minicity_full", out=tmp_path / "run", rounds=1, assignments=assignments)
        return {one.name: one for one in expand(request, Console(quiet=True))}

    asked = found("translate.rows=[0, 0.95]")
    pipeline.plan(list(asked.values()), force=False)
    rows = {name: asked[name].config.model_dump()["rows"] for name in ("translate@1", "color_transfer")}
    assert rows == {"translate@1": (0, 0.95), "color_transfer": (0, 1)}
    with pytest.raises(ConfigError, match="step color_transfer: rows: color_transfer is not fitted; leave them out"):
        pipeline.plan(list(found("color_transfer.rows=[0, 0.9]").values()), force=False)


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


def test_a_device_that_is_not_there_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert house.refused(device="cuda") == "device cuda: no CUDA device is available; use --device cpu or auto"
    assert "device cuda:1: no CUDA device" in house.refused("segment.runtime.device=cuda:1")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert "device cuda:1: there are 1 CUDA devices, numbered from 0" in house.refused(device="cuda:1")
    assert house.expand(device="cuda")


def test_steps_on_the_cpu_beside_steps_on_a_gpu_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert house.refused("oracle.runtime.device=cpu", device="cuda") == (
        "runtime.device: oracle is to run on the CPU and source_only on a GPU (cuda), and a run has one of the two; "
        "leave it out, and give all steps one by --device"
    )
    assert house.expand("oracle.runtime.device=cuda:1", device="cuda")
    monkeypatch.setattr("uda.stages._asked._sees_gpu", lambda: True)
    told = house.refused("evaluate.runtime.device=cpu")
    assert "source_only_score is to run on the CPU and source_only on a GPU (auto)" in told
    assert house.expand("prepare.runtime.device=cpu")  # has no network
    monkeypatch.setattr("uda.stages._asked._sees_gpu", lambda: False)
    assert house.expand("evaluate.runtime.device=cpu")


def test_a_start_that_names_no_step_is_told(house: House) -> None:
    house.graph["start"] = {"segment": "sorce_only"}
    assert "did you mean 'source_only'?" in house.refused()


def test_a_step_before_the_rounds_cannot_use_one_of_a_round(house: House) -> None:
    house.step("oracle_score")["inputs"]["segmenter"] = "segment"
    said = house.refused()
    assert said.startswith("step oracle_score: input 'segment' names no step before the rounds")
    house.step("oracle_score")["inputs"]["segmenter"] = "previous.segment"
    assert house.refused().startswith("step oracle_score: ")


def test_unknown_stages_configs_and_keys_of_a_pipeline_are_told(house: House) -> None:
    house.step("segment")["stage"] = "segmen"
    assert "unknown stage 'segmen'; did you mean 'segment'?" in house.refused()
    house.step("segment").update(stage="segment", config="segment/deeplab")
    assert "unknown config 'segment/deeplab'; did you mean 'segment/deeplabv2'?" in house.refused()
    house.step("segment").update(config="none.yaml")
    assert "none.yaml: no such config file" in house.refused()
    house.step("segment").update(config="segment.yaml", input={})
    assert "loop.yaml: each_round.segment.input: unknown key, did you mean 'inputs'?" in house.refused()


def test_an_unknown_pipeline_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown pipeline 'minicty'; did you mean 'minicity'\?"):
        expand(Request(pipeline="minicty", out=Path("runs")), Console())


def test_a_wrong_setting_is_told_with_its_file(house: House) -> None:
    house.config("translate", {"translator": "identity", "size": [64, 128], "fti": {}})
    assert house.refused() == "translate.yaml: fti: unknown key, did you mean 'fit'?"


def test_configs_are_laid_over_each_other_in_order(house: House) -> None:
    house.config("half", {"size": [32, 64]})
    house.step("oracle")["config"] = ["segment.yaml", "half.yaml"]
    planned = house.expand()
    sizes = [planned[name].config.model_dump()["size"] for name in ("oracle", "source_only", "segment@1")]
    assert sizes == [(32, 64), (64, 128), (64, 128)]


def test_assignments_change_a_step_or_all_steps_of_a_stage_and_the_step_wins(house: House) -> None:
    planned = house.expand("oracle.fit.images=5", "segment.fit.images=9", "pseudo-label.batch=2", "labels.seed=4")
    images = {name: planned[name].config.model_dump()["fit"]["images"] for name in ("oracle", "source_only")}
    assert images == {"oracle": 5, "source_only": 9}
    # `segment` is a stage and a step: it counts once, for all steps of the stage.
    assert planned["segment@2"].config.model_dump()["fit"]["images"] == 9
    assert planned["labels@1"].config.seed == 4
    assert planned["labels@1"].config.model_dump()["batch"] == 2


def test_a_step_is_given_other_configs_by_an_assignment(house: House) -> None:
    house.config("half", {"size": [32, 64]})
    house.config("other", {"translator": "identity", "size": [96, 128], "tiny": {"size": [32, 32]}})
    asked = ("segment.config=[segment.yaml, half.yaml]", "translate.config=other.yaml", "translate.seed=3")
    planned = house.expand(*asked)
    names = ("source_only", "segment@1", "segment@2", "translate@1")
    sizes = [planned[name].config.model_dump()["size"] for name in names]
    assert sizes == [(64, 128), (32, 64), (32, 64), (96, 128)]  # `segment` is a stage too: the step alone changes
    assert planned["translate@1"].config.seed == 3
    assert house.expand(*asked, tiny=True)["translate@1"].config.model_dump()["size"] == (32, 32)
    assert "none.yaml: no such config file" in house.refused("translate.config=none.yaml")
    assert "each_round.translate.config" in house.refused("translate.config=3")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("orcle.fit.images=5", "did you mean 'oracle'?"),
        ("orcle.config=segment.yaml", "did you mean 'oracle'?"),
        ("pseudo-label.config=labels.yaml", "write STEP.key=value"),
        ("rounds=3", "write STEP.key=value"),
        ("seed", "write STEP.key=value"),
    ],
)
def test_an_assignment_to_no_step_is_told(house: House, text: str, told: str) -> None:
    said = house.refused(text)
    assert said.startswith(f"--set: '{text}' names no step")
    assert told in said


def test_a_wrong_assignment_to_a_step_is_told_as_it_was_typed(house: House) -> None:
    said = house.refused("segment.fit.imges=5")
    assert said == "--set segment.fit.imges=5: fit.imges: unknown key, did you mean 'images'?"
    assert house.refused("labels.batch=0").startswith("--set labels.batch=0: batch: Input should be greater")
    assert house.refused("labels.batch").startswith("--set: 'labels.batch' is no assignment; write it as")
    assert house.refused("labels.batch=[").startswith("--set labels.batch=[: while parsing")
    assert house.refused("translate.config=3").startswith("--set translate.config=3: each_round.translate.config")


def test_the_mistakes_in_all_steps_are_told_at_once_and_each_once(house: House) -> None:
    house.step("evaluate")["inputs"]["target"] = "vall/samples.csv"
    said = house.refused("segment.fit.imges=5", "labels.batch=0", "labels.sise=3", rounds=2)
    first, *more, last = said.split(" | ")
    assert first == "--set segment.fit.imges=5: fit.imges: unknown key, did you mean 'images'?"  # in three
    assert sorted(one.partition(": ")[0] for one in more) == ["--set labels.batch=0", "--set labels.sise=3"]
    assert last == "step evaluate: input 'vall/samples.csv' names no step; did you mean 'val'?"


def test_the_label_space_is_the_pipelines_for_every_stage(house: House) -> None:
    def spaces(*assignments: str) -> set[str]:
        dumps = [one.config.model_dump() for one in house.expand(*assignments).values()]
        return {dump["label_space"] for dump in dumps if "label_space" in dump}

    assert spaces() == {"cityscapes19"}
    assert spaces("label_space=idd7") == {"idd7"}


def test_seed_device_and_tiny_reach_the_stages_and_the_seed_leaves_the_data_alone(house: House) -> None:
    planned = house.expand(seed=7, device="cpu", tiny=True)
    assert list(planned) == [*BEFORE, *(f"{name}@1" for name in ROUND)]
    for one in planned.values():
        assert one.config.seed == (0 if one.stage.name in ("minicity", "prepare") else 7)
        assert one.config.runtime.device == "cpu"
        if one.stage.name == "segment":
            assert one.config.model_dump()["fit"]["images"] == 7


def test_the_folder_of_data_sets_is_asked_for_and_filled_in(house: House, tmp_path: Path) -> None:
    for name in ("source", "target", "val"):
        house.step(name)["inputs"]["root"] = f"{{data}}/{name}"
    assert house.refused() == "pipeline loop.yaml: needs the data sets' folder; give --data ROOT"
    planned = house.expand(data=tmp_path / "disk")
    assert planned["val"].inputs["root"] == pipeline.Source(None, tmp_path / "disk/val")


def test_own_manifests_take_the_place_of_the_data_steps(house: House) -> None:
    given = {name: house.manifest(name, labels=["x.png"]) for name in ("source", "target", "val")}
    planned = house.expand(given=given, rounds=1)
    left_out = {"city", "source", "target", "val"}
    assert list(planned) == [name for name in BEFORE if name not in left_out] + [f"{name}@1" for name in ROUND]
    assert planned["translate@1"].inputs["target"] == pipeline.Source(None, given["target"])
    assert planned["evaluate@1"].inputs["target"] == pipeline.Source(None, given["val"])


def test_own_manifests_need_no_data_folder(house: House) -> None:
    for name in ("source", "target", "val"):
        house.step(name)["inputs"]["root"] = f"{{data}}/{name}"
    given = {name: house.manifest(name) for name in ("source", "target")}
    assert "translate@1" in house.expand(given=given)


@pytest.mark.parametrize("text", ["val.split=zzz", "source.dataset=foo", "city.gta5=3", "prepare.threads=1"])
def test_settings_of_steps_that_own_manifests_replace_are_refused(house: House, text: str) -> None:
    given = {name: house.manifest(name, labels=["x.png"]) for name in ("source", "target", "val")}
    house.expand(text)
    step = text.partition(".")[0]
    assert house.refused(text, given=given) == (
        f"--set: '{text}' changes nothing: no step {step} runs beside your own manifests; leave it out"
    )
    assert house.expand("label_space=idd7", "segment.fit.images=5", "oracle.seed=1", "translate.seed=2", given=given)


def test_settings_of_steps_that_are_left_out_are_refused(house: House) -> None:
    bare = {name: house.manifest(name) for name in ("source", "target")}
    for text in ("oracle.seed=1", "evaluate.batch=2", "source_only_score.batch=2"):
        assert f"'{text}' changes nothing" in house.refused(text, given=bare)
    for text in ("labels.batch=2", "segment.config=segment.yaml"):
        assert f"'{text}' changes nothing: no step {text.partition('.')[0]} runs;" in house.refused(text, rounds=0)
    assert house.expand("segment.fit.images=5", rounds=0)  # of all steps of the stage


def test_a_folder_of_data_sets_that_no_step_reads_is_refused(house: House, tmp_path: Path) -> None:
    assert house.refused(data=tmp_path) == "--data: no step of pipeline loop.yaml reads it; leave it out"
    assert "reads it with --tiny; leave it out" in house.refused(data=tmp_path, tiny=True)
    for name in ("source", "target", "val"):
        house.step(name)["inputs"]["root"] = f"{{data}}/{name}"
    given = {name: house.manifest(name) for name in ("source", "target")}
    assert "reads it beside your own manifests; leave it out" in house.refused(data=tmp_path, given=given)


def test_without_target_labels_there_is_no_oracle(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"source": house.manifest("source"), "target": house.manifest("target"), "val": house.manifest("val")}
    planned = house.expand(given=given, rounds=1)
    assert list(planned) == ["source_only", "source_only_score", *(f"{name}@1" for name in ROUND)]
    assert capsys.readouterr().err == "no oracle: the target manifest has no labels\n"


def test_where_some_target_labels_are_missing_few_pairs_are_learnt_from_and_there_is_no_oracle(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.step("translate")["reads_target_labels"] = True
    given = {name: house.manifest(name, labels=["", "x.png"]) for name in ("source", "target", "val")}
    planned = house.expand(given=given, rounds=1)
    assert list(planned) == ["source_only", "source_only_score", *(f"{name}@1" for name in ROUND)]
    assert capsys.readouterr().err == "no oracle: 1 of the target manifest's 2 rows have no label\n"


def test_rounds_that_learn_from_target_labels_want_some(house: House) -> None:
    house.step("translate")["reads_target_labels"] = True
    given = {"source": house.manifest("source"), "target": house.manifest("target")}
    with pytest.raises(DataError, match=r"own_target\.csv: has no labels, from which the rounds of .* learn; name"):
        house.expand(given=given)
    assert list(house.expand(given=given, rounds=0)) == ["source_only"]


def test_without_val_nothing_is_scored(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"source": house.manifest("source"), "target": house.manifest("target", labels=["y.png", "x.png"])}
    planned = house.expand(given=given, rounds=1)
    # Source only guides the first translator; the oracle is there for its score alone.
    assert list(planned) == ["source_only", "translate@1", "labels@1", "segment@1"]
    assert capsys.readouterr().err.splitlines() == [
        "no --val: nothing is scored, so the report has no IoU table",
        "no --val: left out, as nothing would score them: oracle",
    ]
    assert {"source_only", "oracle"} <= set(house.expand(given=given, rounds=0))


def test_images_that_are_learnt_from_and_scored_are_told(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    (house.folder / "linked").symlink_to(house.folder)
    given = {name: house.manifest(name, labels=["x.png", "y.png"]) for name in ("source", "target", "val")}
    given["val"].write_text("image,label,dataset\nval_0.png,x.png,gta5\nlinked/target_1.png,x.png,gta5\n")
    house.expand(given=given)
    told = f"val and target share 1 images, first {house.folder / 'target_1.png'}: "
    assert capsys.readouterr().err == f"{told}they teach oracle, labels, and are scored\n"
    del house.graph["each_round"]["segment"]["inputs"]["pseudo"], house.graph["each_round"]["labels"]
    given["target"] = house.manifest("target", labels=["", ""])
    house.expand(given=given)
    assert "share" not in capsys.readouterr().err  # the images alone are no secret of the score


@pytest.mark.parametrize(("given", "missing"), [("source", "target"), ("target", "source"), ("val", "source")])
def test_own_data_need_source_and_target(house: House, given: str, missing: str) -> None:
    assert f"--{missing} is missing" in house.refused(given={given: house.manifest(given)})


def test_random_weights_under_a_recipe_for_pretrained_ones_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "resnet.pth").touch()

    def said(name: str, *assignments: str, tiny: bool = False) -> str:
        data = None if tiny or name == "minicity" else tmp_path
        expand(Request(name, tmp_path / "run", data=data, assignments=assignments, tiny=tiny), Console())
        return capsys.readouterr().err

    assert said("gta5_to_cityscapes") == (
        "source_only, oracle, segment: all weights start at random, in a recipe for pretrained ones; "
        "--set segment.segmenter.pretrained=FILE gives them an encoder's\n"
    )
    assert said("synthia_to_cityscapes_fcn8s").startswith("source_only, oracle, segment: all weights start at random")
    assert not said("gta5_to_cityscapes", f"segment.segmenter.pretrained={tmp_path / 'resnet.pth'}")
    assert not said("gta5_to_cityscapes", tiny=True)
    assert not said("minicity")  # from random weights on purpose: its BatchNorm learns


def test_own_manifests_are_checked(house: House) -> None:
    given = {"source": house.manifest("source"), "target": house.folder / "none.csv"}
    with pytest.raises(DataError, match=r"none\.csv"):
        house.expand(given=given)


@pytest.mark.parametrize("name", resources.names("pipelines"))
def test_every_shipped_pipeline_is_planned_on_mini_city_by_its_tiny_overlay(name: str, tmp_path: Path) -> None:
    planned = expand(Request(pipeline=name, out=tmp_path / "runs", tiny=True), Console(quiet=True))
    assert planned[0].stage.name == "minicity"
    rows = [one.row for one in planned if one.row and not one.comparator]
    assert rows == ["source only", "oracle", "round 1"]
    for one in planned:
        if one.stage.name in ("segment", "translate"):
            dump = one.config.model_dump()
            fitted = dump.get("translator", {}).get("name") not in ("color_transfer", "identity")
            assert dump["fit"]["images"] <= 24 or not fitted  # of a budget: the start and both halves of a round
            assert max(dump["size"]) <= 128
    assert {decision.action for _, decision in plan(planned, force=False)} == {"run"}


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
        translator = getattr(job.config, "translator", None)
        job.run.write("model.json", json.dumps({"translator": {"name": getattr(translator, "name", None)}}).encode())
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
