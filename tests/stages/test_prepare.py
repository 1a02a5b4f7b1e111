"""`uda prepare` on one's own data set: what it never writes over, what it asks for, how long its word counts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.data import fakes
from tests.e2e.conftest import Answer, call, must
from uda.core.console import Console
from uda.data.label_space import load_space
from uda.data.samples import read_samples
from uda.stages import prepare
from uda.stages._labels import check_labels, is_checked

SPEC = """\
name: own
images: images/{id}.png
labels: labels/{id}.png
values: {road: [0], car: [1]}
group: ^([^/]+)/
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A data set of two groups, and its spec."""
    for name in ("a/1", "a/2", "b/1"):
        fakes.save(tmp_path / f"data/images/{name}.png", fakes.picture((4, 6), 0))
        fakes.save(tmp_path / f"data/labels/{name}.png", np.zeros((4, 6), np.uint8))
    (tmp_path / "own.yaml").write_text(SPEC)
    return tmp_path


def ask(own: Path, out: Path, *more: str) -> Answer:
    return call("prepare", own / "own.yaml", own / "data", "--out", out, *more)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_prepare_did_not_make_is_not_written_over(own: Path, dry: tuple[str, ...]) -> None:
    mine = {
        "coco.json": '{"images": []}',
        "list.json": "[1, 2]",
        "words.json": "not JSON",
        "table.csv": "name,age\nx,1\n",
    }
    for name, text in mine.items():
        (own / name).write_text(text)
    for name, text in mine.items():
        answer = ask(own, (own / name).with_suffix(".csv"), *dry)
        assert answer.code == 2 and f"{own / name}: " in answer.err and "would be written over" in answer.err
        assert (own / name).read_text() == text
    (own / "folder.csv").mkdir()
    answer = ask(own, own / "folder.csv", *dry)
    assert answer.code == 2 and "folder.csv: is a folder; choose another --out" in answer.err
    assert {file.name for file in own.iterdir()} == {*mine, "folder.csv", "data", "own.yaml"}


def test_its_own_files_are_written_anew(own: Path) -> None:
    for _ in range(2):
        assert ask(own, own / "own.csv").code == 0
    (own / "empty.csv").touch()
    assert ask(own, own / "empty.csv").code == 0


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_every_defect_is_named_in_a_file_or_on_the_screen(own: Path, dry: tuple[str, ...]) -> None:
    for number in range(7):
        fakes.save(own / f"data/images/c/{number}.png", fakes.picture((4, 6), 0))
    answer = ask(own, own / "own.csv", *dry)
    assert answer.code == 3
    said = [number for number in range(7) if f"images/c/{number}.png: " in answer.err.rpartition("\n")[0]]
    if dry:
        assert said == list(range(7)) and "see above; mend them" in answer.err and "own.json" not in answer.err
        assert not (own / "own.json").exists()
    else:
        assert said == list(range(5)) and f"and 2 more, all in {own / 'own.json'}" in answer.err
        assert len(json.loads((own / "own.json").read_text())["defects"]) == 7


def test_an_out_that_cannot_be_written_is_told_before_the_data_set_is_read(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shut(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(prepare, "TemporaryFile", shut)
    monkeypatch.setattr(prepare, "_report", lambda *_: pytest.fail("reads the data set"))
    answer = ask(own, own / "own.csv")
    assert answer.code == 2 and "own.csv: cannot be written (Permission denied); choose another --out" in answer.err


def test_without_labels_none_is_asked_for(own: Path) -> None:
    (own / "data/labels/a/1.png").unlink()
    (own / "data/labels/a/2.png").write_bytes(b"no picture")
    fakes.save(own / "data/labels/c/9.png", np.full((4, 6), 77, np.uint8))
    assert ask(own, own / "own.csv").code == 3
    assert ask(own, own / "own.csv", "--set", "labels=false").code == 0
    assert [sample.label for sample in read_samples(own / "own.csv")] == [None] * 3


def test_labels_beside_their_images_are_no_images_without_labels_either(own: Path) -> None:
    (own / "own.yaml").write_text("name: own\nimages: '{id}.png'\nlabels: '{id}_mask.png'\nvalues: {road: [0]}\n")
    fakes.save(own / "data/1_mask.png", np.zeros((4, 6), np.uint8))
    fakes.save(own / "data/1.png", fakes.picture((4, 6), 0))
    for folder in ("images", "labels"):
        (own / "data" / folder).rename(own / folder)
    must("prepare", own / "own.yaml", own / "data", "--out", own / "own.csv", "--set", "labels=false")
    assert [sample.image.name for sample in read_samples(own / "own.csv")] == ["1.png"]


def test_without_labels_images_are_still_chosen_by_class(own: Path) -> None:
    fakes.save(own / "data/labels/a/2.png", np.ones((4, 6), np.uint8))
    must(
        "prepare", own / "own.yaml", own / "data", "--out", own / "own.csv", "--set", "labels=false",
        "--set", "select.classes=[car]",
    )  # fmt: skip
    assert [(sample.image.stem, sample.label) for sample in read_samples(own / "own.csv")] == [("2", None)]


def test_a_misspelt_class_is_told_before_anything_learns(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "own.yaml").write_text(SPEC.replace("car", "roads").replace("road:", "sky:"))
    fakes.save(own / "data/labels/a/2.png", np.ones((4, 6), np.uint8))
    told = "own.yaml: roads is no class of cityscapes19 and is ignored (33 % of the pixels); did you mean 'road'?"
    assert f"prepare: {told}" in ask(own, own / "own.csv", "--set", "label_space=cityscapes19").err.splitlines()
    assert told in json.loads((own / "own.json").read_text())["notes"]

    def said() -> list[str]:
        capsys.readouterr()
        check_labels("segment", own / "own.csv", read_samples(own / "own.csv"), load_space("cityscapes19"), Console())
        return capsys.readouterr().err.splitlines()

    assert said() == [f"segment: {told.replace(' (33 % of the pixels)', '')}"]  # counted as classes of another space
    assert ask(own, own / "own.csv").err.count("no class") == 0  # counts the data set's own
    assert said() == [f"segment: {told}"]
    (own / "own.json").unlink()
    assert said()[0] == f"segment: {told.replace(' (33 % of the pixels)', '')}"
    fakes.save(own / "data/labels/a/1.png", np.full((4, 6), 7, np.uint8))
    (own / "own.csv").write_text((own / "own.csv").read_text().replace("own.yaml", "cityscapes"))
    assert not any("ignored" in line for line in said())  # it has classes beyond the task's on purpose


def test_each_group_that_is_not_there_is_told(own: Path) -> None:
    answer = ask(own, own / "own.csv", "--set", "select.groups=[a, c, d]")
    assert answer.code == 3 and "has no group c, d; its groups: a, b" in answer.err
    assert ask(own, own / "own.csv", "--set", "select.groups=[a]").code == 0


def test_its_word_counts_as_long_as_labels_and_spec_are_the_same(own: Path) -> None:
    manifest, label = own / "own.csv", own / "data/labels/a/1.png"
    assert ask(own, manifest).code == 0 and is_checked(manifest)
    os.utime(label, ns=(0, 0))
    assert not is_checked(manifest)
    assert ask(own, manifest).code == 0 and is_checked(manifest)
    label.write_bytes(b"no picture")
    assert not is_checked(manifest)
    label.unlink()
    assert not is_checked(manifest)
    fakes.save(label, np.zeros((4, 6), np.uint8))
    assert ask(own, manifest).code == 0 and is_checked(manifest)
    (own / "own.yaml").write_text(SPEC.replace("[1]", "[2]"))
    assert not is_checked(manifest)
    (own / "own.yaml").unlink()
    assert not is_checked(manifest)


def test_findings_from_before_labels_were_vouched_for_vouch_for_nothing(own: Path) -> None:
    assert ask(own, own / "own.csv").code == 0
    found = json.loads((own / "own.json").read_text())
    del found["labels_sha256"]
    (own / "own.json").write_text(json.dumps(found))
    assert not is_checked(own / "own.csv")


def test_a_foreign_manifest_json_is_nobodys(own: Path) -> None:
    """Data sets come with a `manifest.json` of their own."""
    (own / "manifest.json").write_text('{"name": "a web page"}')
    (own / "data/manifest.json").write_text('{"name": "a web page"}')
    (own / "space.yaml").write_text(
        "name: s\nclasses: [{name: road, color: [0, 0, 0]}, {name: car, color: [9, 0, 0]}]\n"
    )
    assert ask(own, own / "own.csv").code == 0 and is_checked(own / "own.csv")
    for name in ("a__1", "2", "b__1"):
        fakes.save(own / f"made/{name}.png", np.zeros((4, 6), np.uint8))
    (own / "made/manifest.json").write_text("[]")
    must(
        "evaluate", "--predictions", own / "made", "--target", own / "own.csv", "--set",
        f"label_space={own / 'space.yaml'}", "--out", own / "score",
    )  # fmt: skip


def test_a_comma_without_quotes_is_told_as_such(own: Path) -> None:
    (own / "own.csv").write_text("image,label,dataset\ndata/images/a,1.png,data/labels/a/1.png,own.yaml\n")
    (own / "made").mkdir()
    answer = call("evaluate", "--predictions", own / "made", "--target", own / "own.csv", "--out", own / "score")
    assert answer.code == 3
    assert "own.csv: has rows with more fields than columns; put paths that hold a comma in quotes" in answer.err
