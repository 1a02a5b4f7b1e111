"""What each step of a pipeline is set to: configs, assignments, budgets, devices, and what all steps share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.loop_house import BEFORE, ROUND, House
from uda import pipeline
from uda.core import resources
from uda.core.console import Console
from uda.core.errors import ConfigError
from uda.iterate import common_seed
from uda.pipeline import Planned, Request, expand


@pytest.mark.parametrize(("rounds", "images"), [(0, 30), (1, 37), (3, 51)])
def test_a_budget_is_that_of_the_last_round_with_its_ancestors(house: House, rounds: int, images: int) -> None:
    house.step("oracle")["budget_of"] = "segment"
    house.step("segment")["inputs"]["init"] = "previous.segment"
    house.config("segment", {"segmenter": house.method, "size": [64, 128], "fit": {"images": 7}})
    given = ("source_only.fit.images=30", "oracle.fit.batch=2")
    fit = house.expand(*given, rounds=rounds)["oracle"].config.fit  # type: ignore[attr-defined]  # of its subclass
    assert (fit.images, fit.batch) == (images, 2)
    own = house.expand(*given, "oracle.fit.images=5", rounds=rounds)["oracle"].config
    assert own.fit.images == 5  # type: ignore[attr-defined]  # of its subclass


def test_a_budget_names_a_step_of_the_rounds_that_is_fitted(house: House) -> None:
    house.step("oracle")["budget_of"] = "segmant"
    assert house.refused() == ("step oracle: budget_of: no step 'segmant' in the rounds; did you mean 'segment'?"), (
        house.refused()
    )
    house.step("oracle")["budget_of"] = "evaluate"
    assert "step oracle: budget_of: step evaluate@2 is not fitted; name a segment step" in house.refused()


def test_what_all_fits_are_told_is_not_told_to_what_is_not_fitted(tmp_path: Path) -> None:
    def found(*assignments: str) -> dict[str, dict[str, Any]]:
        request = Request(pipeline="minicity_full", out=tmp_path / "run", rounds=2, assignments=assignments)
        planned = expand(request, Console(quiet=True))
        pipeline.plan(planned, force=False)
        return {one.name: one.config.model_dump() for one in planned}

    told = ("rows=[0, 0.95]", "fit.images=100", "augment={flip: 0.25}", "guide_statistics=40", "size=[128, 192]")
    alone, asked = found(), found(*(f"translate.{text}" for text in told))
    for name in ("translate@1", "translate@2"):
        fit = {key: asked[name][key] for key in ("rows", "guide_statistics", "size")}
        assert fit == {"rows": (0, 0.95), "guide_statistics": 40, "size": (128, 192)}
        assert (asked[name]["fit"]["images"], asked[name]["augment"]["flip"]) == (100, 0.25)
    assert asked["color_transfer"] == alone["color_transfer"] | {"size": (128, 192)}
    # What only those are told that are not fitted changes nothing.
    for text in ("color_transfer.rows=[0, 0.9]", "translate.fit.images=100"):
        with pytest.raises(ConfigError) as caught:
            found(text, "translate.config=[translate/color_transfer, overlays/minicity_size]")
        said = f"--set: '{text}' changes nothing: color_transfer is not fitted; leave it out"
        assert str(caught.value) == said
    assert found("color_transfer.rows=[0, 1]")  # as it is anyway


def test_a_recipe_of_a_fit_is_none_for_what_is_not_fitted(tmp_path: Path) -> None:
    asked = ("translate.translator.name=fda",)
    request = Request(pipeline="gta5_to_cityscapes", out=tmp_path / "run", rounds=1, assignments=asked, tiny=True)
    with pytest.raises(ConfigError) as caught:
        pipeline.plan(expand(request, Console(quiet=True)), force=False)
    keys = "fit.images, fit.batch, augment.flip, augment.crop"
    recipe = "--config translate/fda, size=[HEIGHT,WIDTH] (of a pipeline's step: "
    recipe += "STEP.config=translate/fda, STEP.size=[HEIGHT,WIDTH])"
    mend = f"leave them out, or take its own recipe at your images' size: {recipe}"
    assert str(caught.value) == f"step translate@1: {keys}: fda is not fitted; {mend}"


@pytest.mark.parametrize("name", ["identity", "fda", "minicity_usis", "minicity_cyclegan"])
@pytest.mark.parametrize("kind", ["few_pairs", "pseudo_pairs", "unpaired_labels"])
def test_a_translator_that_learns_from_no_maps_takes_the_place_of_one_that_does(
    tmp_path: Path, kind: str, name: str
) -> None:
    asked = (f"translate.config=translate/{name}", *(["translate.size=[64, 128]"] if name == "fda" else []))
    request = Request(pipeline=f"minicity_{kind}", out=tmp_path / "run", rounds=2, assignments=asked, tiny=True)
    planned = expand(request, Console(quiet=True))
    pipeline.plan(planned, force=False)
    for one in (step for step in planned if step.stage.name == "translate"):
        assert not {"pairs", "pseudo"} & one.inputs.keys() and not one.reads_target_labels
        assert ("init" in one.inputs) == (name.startswith("minicity") and one.round == 2)
    assert not any(one.name.startswith("target_maps") for one in planned)  # nothing reads them then


def test_steps_for_what_a_method_does_not_take_are_left_out(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.graph["start"]["translate"] = None
    house.step("translate")["inputs"] |= {"pseudo": "labels/samples.csv", "init": "previous.translate"}
    house.step("segment")["inputs"] = {"source": "source/samples.csv"}
    steps = house.expand(rounds=2)
    assert {"translate@1", "translate@2"} < steps.keys()  # results by themselves, though nothing goes on from the first
    assert not {"labels@1", "labels@2"} & steps.keys()
    assert "no labels: the methods of the steps that would read it have no use for it" in capsys.readouterr().err
    house.step("labels")["on_demand"] = True
    assert not {"labels@1", "labels@2"} & house.expand(rounds=2).keys()
    assert "no use for it" not in capsys.readouterr().err
    house.step("segment")["inputs"] |= {"pseudo": "labels/samples.csv"}
    assert {"labels@1", "labels@2"} < house.expand(rounds=2).keys()


@pytest.mark.parametrize("name", ["minicity", "minicity_full"])
def test_small_recipes_that_move_classes_get_a_segmenter_that_tells_tones(tmp_path: Path, name: str) -> None:
    def steps(*texts: str) -> dict[str, Planned]:
        request = Request(pipeline=name, out=tmp_path / "run", rounds=2, assignments=texts)
        return {one.name: one for one in expand(request, Console(quiet=True))}

    own = steps()
    assert "tones" not in own and "tones" not in own["translate@1"].inputs  # sait's recipe moves none
    for moved in ("translate.config=translate/minicity_munit", "translate.class_tones=200"):
        made = steps(moved)
        start, tones = (made[step].config.model_dump() for step in ("start", "tones"))
        start["augment"]["class_colors"]["probability"] = 0.5
        assert tones == start
        assert all(made[f"translate@{number}"].inputs["tones"].step == "tones" for number in (1, 2))


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
    monkeypatch.setattr("uda.stages._graph_checks._sees_gpu", lambda: True)
    told = house.refused("evaluate.runtime.device=cpu")
    assert "source_only_score is to run on the CPU and source_only on a GPU (auto)" in told
    assert house.expand("prepare.runtime.device=cpu")  # has no network
    monkeypatch.setattr("uda.stages._graph_checks._sees_gpu", lambda: False)
    assert house.expand("evaluate.runtime.device=cpu")


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


def test_an_assignment_reaches_a_step_of_the_rounds_alone_or_that_of_one_round(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    def images(*assignments: str) -> dict[str, int]:
        planned = house.expand(
            *(f"{text.partition('=')[0]}.fit.images={text.partition('=')[2]}" for text in assignments)
        )
        return {
            name: planned[name].config.model_dump()["fit"]["images"] for name in ("oracle", "segment@1", "segment@2")
        }

    asked = ("segment@2=3", "segment@each=5", "segment=9")  # the narrower wins, in whatever order they are given
    assert images(*asked) == {"oracle": 9, "segment@1": 5, "segment@2": 3}
    told = capsys.readouterr().err
    assert told == (
        "--set segment.fit.images=9 reaches all segment steps (source_only, oracle, segment); "
        "write segment@each.KEY=VALUE for the rounds' own segment\n"
    )
    assert images("segment@each=5", "oracle=4") == {"oracle": 4, "segment@1": 5, "segment@2": 5}
    house.expand("labels.batch=2", "evaluate@each.batch=2")
    assert not capsys.readouterr().err


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
        ("oracle@1.fit.images=5", "write STEP.key=value"),  # is not of the rounds
        ("segment@1.config=segment.yaml", "write STEP.key=value"),  # a recipe is that of all rounds
    ],
)
def test_an_assignment_to_no_step_is_told(house: House, text: str, told: str) -> None:
    said = house.refused(text)
    assert said.startswith(f"--set: '{text}' names no step")
    assert told in said


def test_an_assignment_to_no_round_is_told(house: House) -> None:
    for place in ("3", "0", "", "all"):
        assert house.refused(f"segment@{place}.fit.images=5", rounds=2) == (
            f"--set: 'segment@{place}.fit.images=5' names no round; "
            "write segment@each, or segment@ROUND with one of the 2 rounds"
        )
    assert "names no round" in house.refused("segment@1.fit.images=5", rounds=0)


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


def test_a_label_space_of_one_step_is_refused(house: House) -> None:
    told = (
        "is not the label space of the other steps, cityscapes19; write --set label_space=idd7, which all steps share"
    )
    for head in ("segment", "oracle", "evaluate@each", "translate", "pseudo-label", "labels@1"):
        assert house.refused(f"{head}.label_space=idd7") == f"--set: '{head}.label_space=idd7' {told}"
    assert house.refused("label_space=idd7", "oracle.label_space=camvid11").startswith(
        "--set: 'oracle.label_space=camvid11' is not the label space of the other steps, idd7; "
    )
    assert house.expand("label_space=idd7", "segment.label_space=idd7")
    (house.folder / "own.yaml").write_text(resources.find_yaml("configs/label_spaces", "idd7").read_text())
    assert house.expand("label_space=idd7", "segment.label_space=own.yaml")  # says the same
    counted = house.expand("prepare.label_space=idd7", "val.label_space=null")
    assert counted["source"].config.model_dump()["label_space"] == "idd7"
    inputs = {"images": "translate/samples.csv", "real": "target/samples.csv"}
    house.config("quality", {"size": [64, 128]})
    house.graph["each_round"]["quality"] = {"stage": "quality", "config": "quality.yaml", "inputs": inputs}
    assert house.expand("quality.label_space=idd7")  # no network of others is asked
    inputs["segmenter"] = "segment"
    assert f"'quality.label_space=idd7' {told}" in house.refused("quality.label_space=idd7")


def test_seed_device_and_tiny_reach_the_stages_and_the_seed_leaves_the_data_alone(house: House) -> None:
    planned = house.expand(seed=7, device="cpu", tiny=True)
    assert list(planned) == [*BEFORE, *(f"{name}@1" for name in ROUND)]
    for one in planned.values():
        assert one.config.seed == (0 if one.stage.name in ("minicity", "prepare") else 7)
        assert one.config.runtime.device == "cpu"
        if one.stage.name == "segment":
            assert one.config.model_dump()["fit"]["images"] == 7


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
    assert "at random" not in said("gta5_to_cityscapes", f"segment.segmenter.pretrained={tmp_path / 'resnet.pth'}")
    assert not said("gta5_to_cityscapes", tiny=True)
    assert not said("minicity")  # from random weights on purpose: its BatchNorm learns


def test_a_report_tells_the_seed_of_the_steps_where_they_have_one(house: House) -> None:
    def told(*assignments: str, **fields: Any) -> int | None:
        return common_seed(list(house.expand(*assignments, **fields).values()))

    assert (told(), told(seed=3), told("segment.seed=3"), told("minicity.seed=3")) == (0, 3, None, 0)
