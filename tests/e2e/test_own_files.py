"""A user's own files through the command line: what lies elsewhere, is incomplete, or must not be lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import uda
from tests.e2e.conftest import SEGMENT, Trail, call, must
from uda.core.errors import DataError
from uda.core.resources import find_yaml
from uda.core.rundir import claim
from uda.data.label_space import load_space
from uda.data.samples import read_samples

SPACE = "name: pets\nclasses: [{name: cat, color: [255, 0, 0]}, {name: dog, color: [0, 255, 0]}]\n"
SPEC = """\
name: pets
images: "{split}/{id}.png"
labels: "{split}_labels/{id}.png"
splits: ["01"]
values: {cat: [0], dog: [1]}
void: [2]
"""


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder with one's own data set, its spec and its label space."""
    folder = tmp_path / "pets"
    rng = np.random.default_rng(0)
    for name, shape, high in (("01", (64, 96, 3), 256), ("01_labels", (64, 96), 2)):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(rng.integers(0, high, shape, dtype=np.uint8)).save(folder / name / f"{number}.png")
    (folder / "space.yaml").write_text(SPACE)
    (folder / "spec.yaml").write_text(SPEC)
    return folder


def test_a_split_may_be_called_by_a_number(pets: Path) -> None:
    must("prepare", pets / "spec.yaml", pets, "--split", "01", "--out", pets / "pets.csv")
    assert len(read_samples(pets / "pets.csv", check_files=True)) == 2


def test_a_segmenter_predicts_wherever_one_stands(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets)
    must("prepare", "spec.yaml", ".", "--split", "01", "--out", "pets.csv")
    own = (
        "--set",
        "label_space=space.yaml",
        "--set",
        "adversary=null",
        "--set",
        "target_statistics=0",
        "--source",
        "pets.csv",
    )
    must("segment", *SEGMENT, *own, "--out", "segmenter")
    for verb in ("evaluate", "pseudo-label"):
        answer = must(verb, "--segmenter", "segmenter", "--target", "pets.csv", "--out", verb)
        told = f"{verb}: no label space is named: the classes are those of space.yaml, as the segmenter was trained"
        assert told in answer.err.splitlines()
    monkeypatch.chdir(tmp_path)
    (pets / "space.yaml").unlink()
    for verb in ("evaluate", "pseudo-label"):
        answer = call(verb, "--segmenter", "pets/segmenter", "--target", "pets/pets.csv", "--out", f"{verb}_again")
        assert answer.code == 2 and answer.err.endswith("use the label space it has: --set label_space=space.yaml\n")
    must("predict", "--segmenter", "pets/segmenter", "pets/01/0.png", "--set", "opacity=1", "--out", "out")
    with Image.open("out/0.png") as labels, Image.open("out/0_overlay.png") as overlay:
        assert np.array_equal(np.array([[255, 0, 0], [0, 255, 0]])[np.asarray(labels)], np.asarray(overlay))


def test_predicting_never_writes_over_its_images(trail: Trail, tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    shutil.copy(read_samples(trail.csv("val"))[0].image, image)
    before = image.read_bytes()
    answer = call("predict", "--segmenter", trail.first, tmp_path, "--out", tmp_path)
    assert (answer.code, answer.err) == (2, f"error: {image}: would be written over; choose another --out\n")
    assert image.read_bytes() == before


def test_predictions_never_write_over_one_another(trail: Trail, tmp_path: Path) -> None:
    source, folder = read_samples(trail.csv("val"))[0].image, tmp_path / "photos"
    for name in ("a.png", "a_overlay.png", "b.png"):
        folder.mkdir(exist_ok=True)
        shutil.copy(source, folder / name)
    answer = call("predict", "--segmenter", trail.first, folder, "--out", tmp_path / "out")
    made = (
        f"{tmp_path / 'out' / 'a_overlay.png'}: would be made of {folder / 'a.png'} and of {folder / 'a_overlay.png'}"
    )
    assert (answer.code, answer.err) == (2, f"error: {made}; rename one, or predict them into two folders\n")
    assert not (tmp_path / "out").exists()
    must("predict", "--segmenter", trail.first, folder / "a.png", folder / "b.png", "--out", tmp_path / "out")


def test_predict_takes_the_images_of_folders_below_but_not_its_own_results(trail: Trail, tmp_path: Path) -> None:
    image, out = read_samples(trail.csv("val"))[0].image, tmp_path / "photos" / "out"
    for name in ("a.png", "left/0001.png", "right/0001.PNG"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, tmp_path / "photos" / name)
    for _ in range(2):  # the second time the first one's results lie there
        must("predict", "--segmenter", trail.first, tmp_path / "photos", "--out", out)
        made = {path.name for path in out.iterdir()}
        assert made == {f"{name}{end}.png" for name in ("a", "left__0001", "right__0001") for end in ("", "_overlay")}
    must("predict", "--segmenter", trail.first, tmp_path / "photos" / "left", "--out", tmp_path / "photos")
    assert (tmp_path / "photos" / "0001_overlay.png").is_file()  # above the folder that is given


def test_predict_follows_links_and_leaves_hidden_folders_alone(trail: Trail, tmp_path: Path) -> None:
    image = read_samples(trail.csv("val"))[0].image
    for name in ("elsewhere/a.png", "photos/.trash/b.png", "photos/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, tmp_path / name)
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    must("predict", "--segmenter", trail.first, tmp_path / "photos", "--out", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.png", "a_overlay.png", "c.png", "c_overlay.png"
    }  # fmt: skip


def test_a_segmenter_in_ones_own_code_says_what_predict_writes(trail: Trail, tmp_path: Path) -> None:
    image = read_samples(trail.csv("val"))[0].image
    must("predict", "--segmenter", trail.first, image, "--out", tmp_path / "out")
    segmenter = uda.load_segmenter(str(trail.first), device="cpu")
    with Image.open(image) as photo, Image.open(tmp_path / "out" / f"{image.stem}.png") as written:
        labels_HW = segmenter(np.asarray(photo.convert("RGB")))
        assert labels_HW.dtype == np.uint8 and np.array_equal(labels_HW, np.asarray(written))
    assert tuple(segmenter.classes) == load_space("cityscapes19").names
    assert segmenter.size == (64, 128) and not segmenter.network.training
    assert segmenter.network(torch.zeros(2, 3, 64, 128)).shape == (2, 19, 64, 128)
    assert uda.load_segmenter(trail.first, size=(32, 64)).size == (32, 64)
    wrong: Any
    for wrong in (np.zeros((64, 128), np.uint8), np.zeros((3, 64, 128), np.uint8), np.zeros((64, 128, 3))):
        with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\) RGB"):
            segmenter(wrong)
    with pytest.raises(DataError, match="holds no segmenter"):
        uda.load_segmenter(tmp_path)


def test_predict_takes_no_option_that_it_would_ignore(trail: Trail, tmp_path: Path) -> None:
    for option in ("--tiny", "--dry-run", "--json", "--force"):
        assert "No such option" in call("predict", "--segmenter", trail.first, tmp_path, option, "--out", "x").err


@pytest.mark.parametrize("option", [("--force",), ("--seed", "3"), ("--device", "cpu"), ("--tiny",)])
def test_prepare_takes_no_option_that_it_would_ignore(pets: Path, option: tuple[str, ...]) -> None:
    given = ("prepare", pets / "spec.yaml", pets, "--split", "01", "--out", pets / "pets.csv")
    assert f"error: uda prepare: No such option '{option[0]}'" in call(*given, *option).err
    assert not (pets / "pets.csv").exists()
    counts = json.loads(must(*given, "--set", "threads=1", "--dry-run", "--json").out)
    assert counts["images"] == 2
    assert must(*given, "--dry-run").out == f"{pets / 'pets.csv'}: would be written\n"
    assert not (pets / "pets.csv").exists()
    assert must(*given).out == f"{pets / 'pets.csv'}\n"


def test_prepare_says_what_a_dry_run_of_it_does() -> None:
    told = must("prepare", "--help").out
    assert "Check everything; write nothing." in told and "run nothing" not in told


def test_an_out_that_is_a_file_is_told(trail: Trail, tmp_path: Path) -> None:
    image = read_samples(trail.csv("val"))[0].image
    (tmp_path / "notes.txt").write_text("mine")
    answer = call("predict", "--segmenter", trail.first, image, "--out", tmp_path / "notes.txt")
    assert answer.code == 2
    assert "notes.txt: is a file, not a folder; choose another --out" in answer.err.splitlines()[-1]


def test_pairs_without_a_label_are_refused(city: Trail, tmp_path: Path) -> None:
    table = pd.read_csv(city.csv("train"))
    table["image"], table["label"] = [str(city.root / name) for name in table["image"]], ""
    table.to_csv(tmp_path / "bare.csv", index=False)
    given = ("--source", city.csv("source"), "--target", city.csv("train"), "--pairs", tmp_path / "bare.csv")
    answer = call("translate", "--config", "translate/pix2pix", "--tiny", *given, "--out", tmp_path / "out")
    assert answer.code == 3
    assert f"error: {tmp_path / 'bare.csv'}: has no label; write labels with `uda pseudo-label`" in answer.err
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize(("given", "said"), [("source", "1 images have no label"), ("pseudo", "has no label")])
def test_learning_from_images_without_labels_is_refused(city: Trail, tmp_path: Path, given: str, said: str) -> None:
    table = pd.read_csv(city.csv("source"))
    table["image"] = [str(city.root / name) for name in table["image"]]
    table["label"] = [str(city.root / name) for name in table["label"]]
    table.loc[[2] if given == "source" else list(table.index), "label"] = ""
    table.to_csv(tmp_path / "bare.csv", index=False)
    inputs = {"source": city.csv("source"), "pseudo": city.csv("train"), given: tmp_path / "bare.csv"}
    options = [part for name, path in inputs.items() for part in (f"--{name}", path)]
    answer = call("segment", *SEGMENT, *options, "--out", tmp_path / "out")
    assert answer.code == 3
    assert f"error: {tmp_path / 'bare.csv'}: {said}" in answer.err
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize(
    ("column", "said"),
    [("image", "1 of 10 images are missing, first "), ("label", "1 images have no label to learn from")],
)
def test_a_file_that_is_gone_is_told_before_hours_of_training(
    city: Trail, tmp_path: Path, column: str, said: str
) -> None:
    table = pd.read_csv(city.csv("source"))
    for name in ("image", "label"):
        table[name] = [str(city.root / one) for one in table[name]]
    table.loc[7, column] = str(tmp_path / "gone.png")
    table.to_csv(tmp_path / "source.csv", index=False)
    answer = call(
        "segment", *SEGMENT, "--set", "adversary=null", "--set", "target_statistics=0",
        "--set", "fit={images: 1, batch: 1}", "--source",
        tmp_path / "source.csv", "--out", tmp_path / "out",
    )  # fmt: skip
    assert answer.code == 3
    assert said in answer.err and "gone.png" in answer.err


def test_labels_without_a_class_score_nothing(trail: Trail, tmp_path: Path) -> None:
    image = read_samples(trail.csv("val"))[0].image
    with Image.open(image) as opened:
        Image.fromarray(np.zeros((opened.height, opened.width), np.uint8)).save(tmp_path / "void.png")
    (tmp_path / "void.csv").write_text(f"image,label,dataset\n{image},void.png,cityscapes\n")
    answer = call(
        "evaluate", "--config", "evaluate/minicity", "--tiny", "--segmenter", trail.first, "--target",
        tmp_path / "void.csv", "--out", tmp_path / "score",
    )  # fmt: skip
    assert answer.code == 3
    assert "void.csv: no pixel of its labels is a class of cityscapes19" in answer.err


def test_a_subset_that_does_not_occur_has_no_mean(trail: Trail, tmp_path: Path) -> None:
    image = read_samples(trail.csv("val"))[0].image
    with Image.open(image) as opened:
        sky = np.zeros((opened.height, opened.width), np.uint8)
    Image.fromarray(sky).save(tmp_path / "sky.png")
    Image.fromarray(sky).save(tmp_path / f"{image.stem}.png")
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.replace("pets", "two").replace("cat", "sky").replace("dog", "car") + "subsets: {1: [car]}\n")
    (tmp_path / "spec.yaml").write_text("name: s\nimages: i/{id}.png\nlabels: l/{id}.png\nvalues: {sky: [0]}\n")
    (tmp_path / "sky.csv").write_text(f"image,label,dataset\n{image},sky.png,spec.yaml\n")
    must(
        "evaluate", "--set", f"label_space={space}", "--predictions", tmp_path, "--target", tmp_path / "sky.csv",
        "--out", tmp_path / "score",
    )  # fmt: skip

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    report = json.loads((tmp_path / "score/report.json").read_text(), parse_constant=refuse)
    assert (report["miou"], report["subsets"]) == (1.0, {"1": None})


def test_what_a_late_step_cannot_use_is_told_before_the_first_one_runs(city: Trail, tmp_path: Path) -> None:
    bare = pd.read_csv(city.csv("val"))
    bare["image"], bare["label"] = [str(city.root / name) for name in bare["image"]], ""
    bare.to_csv(tmp_path / "bare.csv", index=False)
    own = ("--source", city.csv("source"), "--target", city.csv("train"))
    answer = call("iterate", "--tiny", *own, "--val", tmp_path / "bare.csv", "--out", tmp_path / "run")
    assert answer.code == 3
    assert "has no label to score against; give a manifest with labels" in answer.err
    levels = ("--set", "adversary.levels=[main, aux]")
    answer = call("segment", *SEGMENT, *own, *levels, "--dry-run", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "adversary.levels: the segmenter has no head 'aux' (it has main)" in answer.err
    assert not (tmp_path / "run").exists()


def own_copy(manifest: Path, folder: Path) -> pd.DataFrame:
    """The rows of a manifest with whole paths; its labels are copied to a folder, to be changed."""
    table, folder = pd.read_csv(manifest, dtype=str), folder.absolute()
    folder.mkdir()
    table["image"] = [str(manifest.parent / one) for one in table["image"]]
    copies = [shutil.copy(manifest.parent / one, folder / f"{at}.png") for at, one in enumerate(table["label"])]
    table["label"] = [str(one) for one in copies]
    return table


def test_a_folder_in_the_place_of_what_it_holds_is_told_with_what_to_give(trail: Trail, tmp_path: Path) -> None:
    run, target = tmp_path / "run", ("--target", trail.csv("val"), "--out", tmp_path / "out")
    for made, name in (("first", "source_only"), ("first", "round_9/segment"), ("second", "round_10/segment")):
        shutil.copytree(trail.root / made, run / name)
    shutil.copytree(trail.second, run / "round_10/tune")
    shutil.copytree(trail.translated, run / "round_10/translate")
    for command, given in (
        (("evaluate", "--segmenter", run), "round_10/segment"),
        (("pseudo-label", "--segmenter", run), "round_10/segment"),
        (("segment", *SEGMENT, "--source", trail.csv("source"), "--init", run), "round_10/segment"),
        (("translate", "--source", trail.csv("source"), "--translator", run), "round_10/translate"),
        (("evaluate", "--segmenter", run / "round_9"), "round_9/segment"),
    ):
        answer = call(*command, *target)
        assert answer.code == 3
        assert answer.err == f"error: {command[-1]}: is a run's directory, not a step's; give {run / given}\n"
    answer = call("predict", "--segmenter", run, read_samples(trail.csv("val"))[0].image, "--out", tmp_path / "out")
    assert f"holds no segmenter (model.json is missing); give {run / 'round_10/segment'}" in answer.err

    own = ("--target", trail.csv("train"), "--val", trail.csv("val"), "--tiny", "--out", tmp_path / "out")
    for folder, mend in (
        (run, "give a manifest; `uda prepare` writes one"),
        (trail.translated, f"give {trail.translated / 'samples.csv'}"),
    ):
        for verb in (("segment", *SEGMENT, "--source", folder, *target), ("plan", "--source", folder, *own)):
            assert call(*verb).err.splitlines()[-1] == f"error: {folder}: is a folder, not a manifest; {mend}"


def test_a_segmenter_that_is_not_there_is_told_as_such(city: Trail, tmp_path: Path) -> None:
    for verb in ("evaluate", "pseudo-label"):
        answer = call(verb, "--segmenter", tmp_path / "none", "--target", city.csv("val"), "--out", tmp_path / "out")
        assert (answer.code, answer.err) == (3, f"error: {tmp_path / 'none'}: no such file; check the path\n")


@pytest.mark.parametrize("name", ["source", "target", "val"])
def test_what_is_wrong_with_any_manifest_is_told_before_the_first_step_runs(
    city: Trail, tmp_path: Path, name: str
) -> None:
    given = {"source": city.csv("source"), "target": city.csv("train"), "val": city.csv("val")}
    table, own = own_copy(given[name], tmp_path / "labels"), tmp_path / f"{name}.csv"
    given[name] = own
    options = [part for key, path in given.items() for part in (f"--{key}", path)]
    command = ("--tiny", *options, "--out", tmp_path / "run")

    Image.fromarray(np.full((64, 128), 77, np.uint8)).save(table["label"][1])
    table.to_csv(own, index=False)
    answer = call("iterate", *command)
    assert answer.code == 3
    assert "1.png: label values outside the table: 77" in answer.err

    (tmp_path / "none.yaml").write_text("name: n\nimages: i/{id}.png\nlabels: l/{id}.png\nvalues: {Auto: [0]}\n")
    table.assign(dataset="none.yaml").to_csv(own, index=False)
    table.loc[1, "image"] = str(tmp_path / "gone.png")
    for verb in ("plan", "iterate"):
        answer = call(verb, *command)
        assert answer.code == 3
        assert "none.yaml: none of its classes (Auto) is one of cityscapes19" in answer.err
    table.to_csv(own, index=False)
    for verb in ("plan", "iterate"):
        answer = call(verb, *command)
        assert answer.code == 3
        assert f"{own}: 1 of {len(table)} images are missing, first {tmp_path / 'gone.png'}" in answer.err
    assert not (tmp_path / "run").exists()


def test_two_commands_do_not_run_in_one_place(city: Trail, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lock = claim(tmp_path / "run")
    assert lock is not None
    answer = call("iterate", "--tiny", "--rounds", "0", "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == (
        f"error: {tmp_path / 'run'}: another command is writing there; wait for it or stop it, or choose another --out"
    )
    assert not list((tmp_path / "run").iterdir())
    os.close(lock)


@pytest.mark.parametrize("name", ["report.json", "iou.csv", "report.html"])
def test_files_of_ones_own_are_not_taken_for_a_runs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    (tmp_path / "seed_1").mkdir()
    for verb in (("iterate",), ("iterate", "--dry-run"), ("iterate", "--seeds", "1,2"), ("plan",)):
        answer = call(*verb, "--tiny", "--out", tmp_path)
        assert answer.code == 2
        assert answer.err.splitlines()[-1] == (
            f"error: {tmp_path}: holds {name}, and no step of a run; choose another --out"
        )
    assert (tmp_path / name).read_text() == "mine"


def test_a_manifest_of_any_name_makes_stale_what_came_of_it(trail: Trail, tmp_path: Path) -> None:
    table = pd.read_csv(trail.csv("val"), dtype=str)
    for column in ("image", "label"):
        table[column] = [str((trail.csv("val").parent / one).resolve()) for one in table[column]]
    shutil.copy(find_yaml("configs/datasets", "cityscapes", "dataset"), tmp_path / "own.yaml")
    table.assign(dataset="own.yaml").to_csv(tmp_path / "VAL.CSV", index=False)
    command = ("evaluate", "--segmenter", trail.first, "--target", tmp_path / "VAL.CSV", "--out", tmp_path / "score")
    must(*command)
    assert "skipped" in must(*command).err
    text = (tmp_path / "own.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text.replace("road: [7]", "road: [8]").replace("sidewalk: [8]", "sidewalk: [7]"))
    assert "stale" in must(*command).err
