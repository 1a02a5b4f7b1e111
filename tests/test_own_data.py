"""Pipelines on one's own data: manifests in the place of data steps, missing labels, and the data sets' folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loop_house import BEFORE, ROUND, House
from uda import pipeline
from uda.core.errors import DataError


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


def test_own_manifests_are_checked(house: House) -> None:
    given = {"source": house.manifest("source"), "target": house.folder / "none.csv"}
    with pytest.raises(DataError, match=r"none\.csv"):
        house.expand(given=given)
