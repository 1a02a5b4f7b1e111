"""Stage graphs written out: rounds, their steps in order, what feeds what. The stages are real ones; none is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loop_house import BEFORE, ROUND, House
from uda import pipeline
from uda.core import registry, resources
from uda.core.console import Console
from uda.core.errors import ConfigError
from uda.pipeline import Planned, Request, expand, plan


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
