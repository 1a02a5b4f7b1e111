from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.core.test_manifest import FILES, stage_directory
from uda.core import inputs
from uda.core.config import digest, file_digest
from uda.core.errors import DataError
from uda.core.inputs import column_values, input_digest
from uda.core.manifest import MANIFEST, RECEIPTS, complete_manifest


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A manifest that no stage made, beside its images and labels."""
    folder = tmp_path / "data"
    for name in ("images/a.png", "images/b, c.png", "labels/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    rows = ("image, label, dataset", "images/a.png, labels/a.png, x.yaml", '"images/b, c.png",, x.yaml')
    (folder / "own.csv").write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder / "own.csv"


def later(file: Path) -> None:
    now = file.stat().st_mtime_ns
    os.utime(file, ns=(now, now + 10**9))


@pytest.mark.parametrize("name", ["images/a.png", "images/b, c.png", "labels/a.png"])
def test_a_manifest_of_ones_own_changes_with_the_files_it_names(own: Path, name: str) -> None:
    before = input_digest(own)
    assert input_digest(own) == before
    file = own.parent / name
    later(file)
    touched = input_digest(own)
    file.write_bytes(b"another size")
    resized = input_digest(own)
    file.unlink()
    missing = input_digest(own)
    assert len({before, touched, resized, missing}) == 4


def test_a_manifest_of_ones_own_changes_with_its_bytes_and_not_with_other_files(own: Path) -> None:
    before = input_digest(own)
    (own.parent / "images/z.png").write_bytes(b"named by nobody")
    assert input_digest(own) == before
    own.write_text(own.read_text() + "\n")
    assert input_digest(own) != before


def test_a_manifest_of_ones_own_is_the_same_moved_with_its_images(own: Path, tmp_path: Path) -> None:
    before = input_digest(own)
    shutil.move(own.parent, tmp_path / "elsewhere")
    assert input_digest(tmp_path / "elsewhere" / own.name) == before


def test_paths_start_where_they_do_for_the_stages(own: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    link = tmp_path / "lists/linked.csv"
    there = own.parent / "images/a.png"
    rows = f"image,label\n../data/images/a.png,\n{there},\nnone/../../data/labels/a.png,\n"
    link.write_text(rows)
    for file in ("images/a.png", "labels/a.png"):
        before = input_digest(link)
        later(own.parent / file)
        assert input_digest(link) != before
    (tmp_path / "short").symlink_to(tmp_path / "lists", target_is_directory=True)
    assert input_digest(tmp_path / "short/linked.csv") == input_digest(link)


@pytest.mark.parametrize("data", [b"", b"\n", b"name\nx\n", b"image\n\n", b"\x00\xff,\n", b'image\n"' + b"x" * 200_000])
def test_what_names_no_file_counts_by_its_bytes(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(data)
    assert input_digest(file) == file_digest(file)


def test_names_that_cannot_be_files_count_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(b"image\na\xffb.png\n" + b"x" * 5000 + b"\n")
    assert input_digest(file) != file_digest(file)


def test_columns_are_read_without_blanks_and_from_short_rows(own: Path) -> None:
    assert column_values(own, "image", "label") == {"images/a.png", "images/b, c.png", "labels/a.png"}
    assert column_values(own, "dataset") == {"x.yaml"}
    own.write_text("label,image\nonly\n")
    assert column_values(own, "image", "label") == {"only"}


def test_a_file_that_is_no_output_of_its_directorys_stage_counts_by_itself(tmp_path: Path) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    mine = out / "mine.csv"
    mine.write_text("image,label\nimages/a.png,\n")
    before = input_digest(mine)
    assert before != digest([complete_manifest(out).outputs, "mine.csv"])
    later(out / "images/a.png")
    touched = input_digest(mine)
    mine.write_text("image,label\nimages/b.png,\n")
    assert len({before, touched, input_digest(mine)}) == 3


@pytest.mark.parametrize("text", [b"image,label\nimages/a.png,\n", b"image,LABEL\n"])
def test_an_output_that_was_changed_since_counts_by_itself(tmp_path: Path, text: bytes) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    made = input_digest(out / "samples.csv")
    assert made == digest([complete_manifest(out).outputs, "samples.csv"])
    before = (out / "samples.csv").stat().st_mtime_ns
    (out / "samples.csv").write_bytes(text)  # longer, or of the same size
    os.utime(out / "samples.csv", ns=(before, before))
    assert input_digest(out / "samples.csv") != made
    (out / "samples.csv").write_bytes(FILES["samples.csv"])
    assert input_digest(out / "samples.csv") == made


def test_large_outputs_are_read_again_only_if_they_were_written_after_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_SMALL", 3)
    out = stage_directory(tmp_path / "one", {"weights.pth": b"1234"})
    long_ago = (out / MANIFEST).stat().st_mtime_ns - 10**9
    os.utime(out / "weights.pth", ns=(long_ago, long_ago))
    made = input_digest(out / "weights.pth")
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "file_digest", lambda path: pytest.fail("was read"))
        assert input_digest(out / "weights.pth") == made
    (out / "weights.pth").write_bytes(b"4321")
    later(out / "weights.pth")
    assert input_digest(out / "weights.pth") == file_digest(out / "weights.pth") != made
    (out / "weights.pth").write_bytes(b"1234")
    later(out / "weights.pth")
    assert input_digest(out / "weights.pth") == made  # copied: written later, the same


def test_moved_and_copied_results_stay_valid(tmp_path: Path) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    before = input_digest(out / "samples.csv"), input_digest(out / "images", foreign=True)
    shutil.copytree(out, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.move(out, tmp_path / "moved")
    for name in ("copy", "moved"):
        place = tmp_path / name
        assert (input_digest(place / "samples.csv"), input_digest(place / "images", foreign=True)) == before


@pytest.mark.parametrize("change", ["added", "removed", "resized"])
def test_a_folder_that_a_stage_made_counts_by_itself_once_it_was_changed(tmp_path: Path, change: str) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    made = input_digest(out / "images", foreign=True)
    assert made == digest([complete_manifest(out).outputs, "images"])
    if change == "added":
        (out / "images/c.png").write_bytes(b"c")
    elif change == "removed":
        (out / "images/a.png").unlink()
    else:
        (out / "images/a.png").write_bytes(b"longer")
    assert input_digest(out / "images", foreign=True) != made
    (out / "others").mkdir()
    before = input_digest(out / "others", foreign=True)
    (out / "others/x.png").write_bytes(b"x")
    assert input_digest(out / "others", foreign=True) != before


@pytest.mark.parametrize("text", ["path,size,sha256\nsamples.csv,12\n", "path,size,sha256\nsamples.csv,many,00\n"])
def test_broken_receipts_are_told(tmp_path: Path, text: str) -> None:
    out = stage_directory(tmp_path / "one", FILES)
    (out / RECEIPTS).write_text(text)
    with pytest.raises(DataError, match=r"files\.csv: is no table of receipts .*--force"):
        input_digest(out / "samples.csv")


def test_the_digest_of_many_files_is_quick(tmp_path: Path) -> None:
    names = [f"images/{number:05d}.png" for number in range(5_000)]
    (tmp_path / "images").mkdir()
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "own.csv").write_text("image,label\n" + "".join(f"{name},{name}\n" for name in names))
    start = time.process_time()
    input_digest(tmp_path / "own.csv")
    assert time.process_time() - start < 1  # measured: 0.02 s


@pytest.mark.parametrize("name", ["OWN.CSV", "own.txt"])
def test_what_is_given_as_a_manifest_is_one_whatever_its_name(own: Path, name: str) -> None:
    called = own.rename(own.with_name(name))
    before = input_digest(called, manifest=True)
    later(own.parent / "images/a.png")
    assert input_digest(called, manifest=True) != before
    assert input_digest(called, manifest=False) == file_digest(called)  # weights, say


def test_a_link_that_leads_nowhere_or_back_ends_no_listing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/a.png").write_bytes(b"a")
    whole = input_digest(folder, foreign=True)
    (folder / "inner/back").symlink_to(folder)
    back = input_digest(folder, foreign=True)
    (folder / "latest").symlink_to(tmp_path / "nowhere")
    nowhere = input_digest(folder, foreign=True)
    assert input_digest(folder, foreign=True) == nowhere != whole
    assert back == whole  # the same files
