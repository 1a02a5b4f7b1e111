from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from uda.core.config import file_digest
from uda.core.errors import DataError
from uda.core.inputs import input_digest
from uda.core.manifest import (
    MANIFEST,
    RECEIPTS,
    Manifest,
    Receipt,
    complete_manifest,
    owning_manifest,
    read_manifest,
    read_receipts,
    receipts_digest,
    unread_stage,
    verify,
    write_atomically,
    write_receipts,
)
from uda.core.rundir import RunDirectory


def manifest(outputs: str = "o", **keys: object) -> Manifest:
    fields = {"stage": "s", "version": 1, "fingerprint": "f", "reason": "r", "settings": {}, "config": {}, "inputs": {}}
    return Manifest(**{**fields, "outputs": outputs, **keys})  # type: ignore[arg-type]  # of several types


def stage_directory(out: Path, files: dict[str, bytes]) -> Path:
    run = RunDirectory(out)
    run.begin("f", {})
    for name, data in files.items():
        run.write(name, data)
    run.complete(manifest(run.outputs_digest()))
    return out


FILES = {"samples.csv": b"image,label\n", "images/a.png": b"aaaa", "images/b.png": b"bbbb"}


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = manifest(metrics={"miou": 0.5}, recorded={"seconds": 1.0}, config={"size": [1, 2]})
    one.write(tmp_path / MANIFEST)
    assert read_manifest(tmp_path) == one == read_manifest(tmp_path / MANIFEST)
    assert json.loads((tmp_path / MANIFEST).read_text())["schema"] == 1
    assert read_manifest(tmp_path / "none") is None


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"stage": "s"}', '{"surprise": 1}'])
def test_a_broken_manifest_says_how_to_mend_it(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"no manifest of this program.*; remove its folder if it is not wanted"):
        read_manifest(tmp_path)
    assert unread_stage(tmp_path) is None
    (tmp_path / RECEIPTS).write_text("path,size,sha256\n")
    if (maker := {"{": "", '{"stage": "s"}': "s"}.get(text)) is not None:
        with pytest.raises(DataError, match=r"no manifest of this program.*; run the stage again with --force"):
            read_manifest(tmp_path)
    assert unread_stage(tmp_path) == maker


def test_a_manifest_of_another_schema_is_not_read_as_if_it_were_this_ones(tmp_path: Path) -> None:
    manifest(schema=2).write(tmp_path / MANIFEST)
    with pytest.raises(DataError, match=r"its schema is 2, this program's 1.*--force"):
        read_manifest(tmp_path)


def test_a_directory_without_manifest_is_not_complete(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no complete stage directory"):
        complete_manifest(tmp_path)


@pytest.mark.parametrize("text", ['{"name": "my data"}', "[1]", '"words"'])
def test_a_json_of_somebody_elses_is_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    assert owning_manifest(tmp_path) is None and owning_manifest(tmp_path / "none") is None
    with pytest.raises(DataError, match="no complete stage directory"):
        complete_manifest(tmp_path)


def test_a_manifest_of_ones_own_owns_its_folder_and_a_broken_one_is_told(tmp_path: Path) -> None:
    one = manifest()
    one.write(tmp_path / MANIFEST)
    assert owning_manifest(tmp_path) == one
    (tmp_path / RECEIPTS).write_text("path,size,sha256\n")
    for text in ("{", '{"stage": "s"}'):
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(DataError, match="no manifest of this program"):
            owning_manifest(tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.json"
    write_atomically(file, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"


def test_receipts_are_sorted_and_survive_odd_names(tmp_path: Path) -> None:
    receipts = [Receipt("b.png", 2, "22"), Receipt('a, "odd" näme.png', 1, "11")]
    write_receipts(tmp_path / RECEIPTS, receipts)
    assert read_receipts(tmp_path / RECEIPTS) == sorted(receipts, key=lambda one: one.path)
    assert read_receipts(tmp_path / "none.csv") == []


def test_the_digest_of_outputs_is_of_names_and_contents_in_any_order() -> None:
    one, two = Receipt("a", 1, "11"), Receipt("b", 2, "22")
    assert receipts_digest([one, two]) == receipts_digest([two, one])
    assert receipts_digest([one, two]) != receipts_digest([one])
    assert receipts_digest([one]) != receipts_digest([dataclasses.replace(one, path="c")])
    assert receipts_digest([one]) != receipts_digest([dataclasses.replace(one, sha256="33")])


def test_a_stage_directory_counts_by_its_outputs_wherever_it_lies(tmp_path: Path) -> None:
    one, two = (stage_directory(tmp_path / name, FILES) for name in ("one", "two"))
    other = stage_directory(tmp_path / "other", {**FILES, "images/b.png": b"BBBB"})
    assert input_digest(one) == input_digest(two) == complete_manifest(one).outputs
    assert input_digest(one) != input_digest(other)


def test_what_is_recorded_changes_nothing_downstream(tmp_path: Path) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    before = input_digest(out), input_digest(out / "samples.csv")
    changed = dataclasses.replace(complete_manifest(out), recorded={"seconds": 99}, reason="other", metrics={"m": 1})
    changed.write(out / MANIFEST)
    assert (input_digest(out), input_digest(out / "samples.csv")) == before


def test_a_file_in_a_stage_directory_stands_for_all_of_its_outputs(tmp_path: Path) -> None:
    one = stage_directory(tmp_path / "one", FILES)
    other = stage_directory(tmp_path / "other", {**FILES, "images/b.png": b"BBBB"})
    # The CSV's own bytes are the same; the images that it lists are not.
    assert input_digest(one / "samples.csv") != input_digest(other / "samples.csv")
    assert input_digest(one / "samples.csv") != input_digest(one)
    # The images are not read again.
    (one / "images/a.png").unlink()
    assert input_digest(one / "samples.csv") == input_digest(stage_directory(tmp_path / "again", FILES) / "samples.csv")


def test_a_plain_file_counts_by_its_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_bytes(b"x")
    two.write_bytes(b"x")
    assert input_digest(one) == input_digest(two) == file_digest(one)
    two.write_bytes(b"y")
    assert input_digest(one) != input_digest(two)


def test_a_foreign_folder_counts_by_names_sizes_and_times(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    file = folder / "images/a.png"
    file.write_bytes(b"aaaa")
    os.utime(file, ns=(1, 1))
    with pytest.raises(DataError, match="no complete stage directory"):
        input_digest(folder)
    first = input_digest(folder, foreign=True)
    assert input_digest(folder, foreign=True) == first
    os.utime(file, ns=(2, 2))
    touched = input_digest(folder, foreign=True)
    (folder / "images/b.png").write_bytes(b"")
    assert len({first, touched, input_digest(folder, foreign=True)}) == 3


def test_a_foreign_folder_is_followed_through_links(tmp_path: Path) -> None:
    real = tmp_path / "disk"
    real.mkdir()
    (real / "a.png").write_bytes(b"a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(real, target_is_directory=True)
    before = input_digest(tmp_path / "data", foreign=True)
    (real / "b.png").write_bytes(b"b")
    assert input_digest(tmp_path / "data", foreign=True) != before


def test_a_stage_directory_given_for_a_foreign_folder_counts_by_its_manifest(tmp_path: Path) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    assert input_digest(out, foreign=True) == input_digest(out)


def test_a_missing_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        input_digest(tmp_path / "none.csv")


def test_a_whole_directory_agrees_with_its_receipts(tmp_path: Path) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    assert verify(out, deep=False) == verify(out, deep=True) == []


def test_missing_and_resized_files_are_found_without_reading_and_changed_ones_by_reading(tmp_path: Path) -> None:
    out = stage_directory(tmp_path / "one", {**FILES, "c.png": b"cccc"})
    (out / "images/a.png").unlink()
    (out / "images/b.png").write_bytes(b"longer")
    (out / "c.png").write_bytes(b"CCCC")
    shallow = verify(out, deep=False)
    assert shallow == [f"{out / 'images/a.png'}: missing", f"{out / 'images/b.png'}: 6 bytes instead of 4"]
    deep = verify(out, deep=True)
    assert deep == [f"{out / 'c.png'}: content changed (SHA-256 differs)", *shallow]


@pytest.mark.parametrize("lines", [1, 3])
def test_receipts_that_do_not_belong_to_the_manifest_are_found(tmp_path: Path, lines: int) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    text = (out / RECEIPTS).read_text().splitlines(keepends=True)
    (out / RECEIPTS).write_text("".join(text[:lines]))
    assert verify(out, deep=True) == [f"{out / RECEIPTS}: does not belong to {MANIFEST}"]


@pytest.mark.parametrize("text", ['{"file": "a"}\n{"file": "b"}\n', "\ufeff{}", "no JSON at all"])
def test_a_file_of_that_name_that_is_no_json_is_somebody_elses_unless_receipts_lie_beside_it(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / MANIFEST).write_text(text)
    assert owning_manifest(tmp_path) is None
    (tmp_path / "own.csv").write_text("image,label\n")
    assert input_digest(tmp_path / "own.csv") == file_digest(tmp_path / "own.csv")
    (tmp_path / RECEIPTS).write_text("path,size,sha256\n")
    with pytest.raises(DataError, match="no manifest of this program"):
        owning_manifest(tmp_path)
