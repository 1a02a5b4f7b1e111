from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.data import fakes
from uda.core.errors import ConfigError, DataError
from uda.core.resources import find_yaml, folder
from uda.data.index import Report, check_index, index_dataset, pairs_with
from uda.data.label_space import LabelSpace, load_space
from uda.data.pairs import natural_key
from uda.data.samples import read_samples, write_samples
from uda.data.spec import DatasetSpec, load_spec

SPACES = {"gta5": "cityscapes19", "synthia": "cityscapes19", "cityscapes": "cityscapes19", "camvid": "camvid11",
          "idd_lite": "idd7", "coco_stuff": "coco_animals"}  # fmt: skip


def kinds(report: Report) -> list[tuple[str, str]]:
    return sorted((defect.kind, defect.file.name) for defect in report.defects)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_fake_data_set_is_found_whole(name: str, tmp_path: Path) -> None:
    root = getattr(fakes, name)(tmp_path)
    spec = load_spec(name)
    seen: list[int] = []
    report = check_index(index_dataset(root, spec), spec, load_space(SPACES[name]), workers=2, progress=seen.append)
    assert not report.defects
    assert report.images == len(report.pairs) == {"gta5": 3, "synthia": 2}.get(name, 4)
    assert seen == list(range(1, report.images + 1))
    assert sum(report.pixels.values()) == report.images * fakes.SIZE[0] * fakes.SIZE[1]
    rows = report.samples(name, tmp_path)
    assert all(row.label is not None and row.label.is_file() for row in rows)
    if name == "cityscapes":
        assert [(row.split, row.group) for row in rows] == [("train", "aachen")] * 2 + [("val", "aachen")] * 2
    if name == "camvid":
        assert [row.group for row in rows] == ["0001TP", "0016E5"] * 2
    write_samples(tmp_path / "out.csv", rows)
    assert read_samples(tmp_path / "out.csv", check_files=True) == rows


def test_counts_are_those_of_the_pixels(tmp_path: Path) -> None:
    fakes.camvid(tmp_path, count=1, splits=["train"])
    ids = np.zeros(fakes.SIZE, np.uint8)
    ids[0, :7], ids[1, :5] = 3, 11
    fakes.save(tmp_path / "trainannot/0001TP_000000.png", ids)
    spec = load_spec("camvid")
    for space in (None, load_space("camvid11")):
        report = check_index(index_dataset(tmp_path, spec, "train"), spec, space)
        assert {name: n for name, n in report.pixels.items() if n} == {"sky": 228, "road": 7, "ignored": 5}
        assert report.occurrences["sky"] == 1 and report.occurrences["tree"] == 0
    data = json.loads(json.dumps(report.to_dict()))
    assert data["classes"][3] == {"class": "road", "pixels": 7, "share": 7 / 240, "images": 1}
    assert data["sizes"] == [{"height": 12, "width": 20, "images": 1}]
    assert data["usable"] == data["labelled"] == data["images"] == 1


def test_the_content_is_told_apart_where_the_counts_are_not(tmp_path: Path) -> None:
    def content(root: Path) -> str:
        spec = load_spec("camvid")
        return check_index(index_dataset(root, spec, "train"), spec, load_space("camvid11")).content

    for name in ("here", "there"):
        fakes.camvid(tmp_path / name, count=2, splits=["train"])
    before = content(tmp_path / "here")
    assert before == content(tmp_path / "there")
    label = tmp_path / "there/trainannot/0001TP_000000.png"
    with Image.open(label) as image:
        values = np.asarray(image)
    fakes.save(label, values[::-1])  # as many pixels of each class, and the file as large
    assert content(tmp_path / "there") != before


def test_each_defect_is_named_and_left_out(tmp_path: Path) -> None:
    root = fakes.gta5(tmp_path, count=8)
    (root / "labels/00001.png").unlink()
    (root / "images/00002.png").unlink()
    (root / "images/00003.png").write_bytes(b"no picture")
    (root / "labels/00004.png").write_bytes((root / "labels/00004.png").read_bytes()[:60])
    fakes.save_palette(root / "labels/00005.png", np.zeros((10, 20), np.uint8))
    fakes.save_palette(root / "labels/00006.png", np.full(fakes.SIZE, 99, np.uint8))
    fakes.save(root / "labels/00007.png", fakes.picture(fakes.SIZE, 0))
    spec = load_spec("gta5")
    report = check_index(index_dataset(root, spec), spec, load_space("cityscapes19"), workers=2)
    assert kinds(report) == [
        ("label without image", "00002.png"),
        ("missing label", "00001.png"),
        ("size mismatch", "00005.png"),
        ("undeclared label values", "00006.png"),
        ("undecodable image", "00003.png"),
        ("unreadable label", "00004.png"),
        ("unreadable label", "00007.png"),
    ]
    assert [pair.id for pair in report.pairs] == ["00008"]
    assert report.images == 6
    details = {defect.kind: defect.detail for defect in report.defects}
    assert details["size mismatch"] == "label 10x20, image 12x20 (height x width)"
    assert "99 (240 pixels); add them to `values` or `void` of" in details["undeclared label values"]
    assert "gta5.yaml" in details["undeclared label values"]
    assert report.to_dict()["defect_counts"]["unreadable label"] == 2


def test_images_are_chosen_by_the_classes_that_their_labels_show(tmp_path: Path) -> None:
    spec, animals = load_spec("coco_stuff"), load_space("coco_animals")
    seen: list[int] = []
    for name, value, count in (("1", 18, 60), ("2", 23, 24), ("3", 18, 1), ("4", 0, 9)):
        ids = np.full(fakes.SIZE, 123, np.uint8)  # 12 x 20 pixels of grass
        ids.flat[:count] = value
        fakes.save(tmp_path / f"train2017/{name}.jpg", fakes.picture(fakes.SIZE, 0))
        fakes.save(tmp_path / f"stuffthingmaps/train2017/{name}.png", ids)
    pairs = index_dataset(tmp_path, spec, "train2017").pairs

    def chosen(*classes: str, space: LabelSpace | None = None, **options: Any) -> list[str]:
        return [pair.id for pair in pairs_with(pairs, spec, space, classes, **options)]

    assert chosen("horse", progress=seen.append, workers=2) == ["1", "3"]
    assert seen == [4]
    assert chosen("horse", share=0.25) == ["1"] and chosen("horse", share=0.26) == []
    assert chosen("zebra", "horse", share=0.1) == ["1", "2"]
    assert chosen("person") == chosen("other", space=animals) == ["4"]
    assert chosen("grass", share=0.9, space=animals) == ["2", "3", "4"]
    with pytest.raises(ConfigError, match="dataset coco_stuff: no class 'hors'; did you mean 'horse'"):
        chosen("hors")
    with pytest.raises(ConfigError, match="label space coco_animals: no class 'giraff'; did you mean 'giraffe'"):
        chosen("giraff", space=animals)
    # What cannot be read stays in, for the check to name; a pair without a label shows nothing.
    (tmp_path / "stuffthingmaps/train2017/2.png").write_bytes(b"no picture")
    assert chosen("horse") == ["1", "2", "3"]
    bare = [replace(pair, label=None) for pair in pairs]
    assert pairs_with(bare, spec, None, ["horse"]) == ()


def test_a_split_without_any_labels_is_no_defect_but_one_gap_is(tmp_path: Path) -> None:
    spec = load_spec("cityscapes")
    fakes.cityscapes(tmp_path, splits=["train"])
    fakes.cityscapes(tmp_path, splits=["test"], labels=False)
    index = index_dataset(tmp_path, spec)
    assert index.unlabelled == ("test",)
    report = check_index(index, spec)
    assert not report.defects and "split 'test' has no labels" in report.notes
    assert [row.label is None for row in report.samples("cityscapes", tmp_path)] == [False, False, True, True]
    next(tmp_path.rglob("train/**/*_labelIds.png")).unlink()
    assert kinds(check_index(index_dataset(tmp_path, spec, "train"), spec))[0][0] == "missing label"


def test_a_spec_without_labels_leaves_the_column_empty(tmp_path: Path) -> None:
    fakes.save(tmp_path / "frames/day/1.png", fakes.picture((5, 6), 0))
    spec = DatasetSpec(name="drive", images=("frames/{id}.png",))
    report = check_index(index_dataset(tmp_path, spec), spec)
    assert [(pair.id, pair.label) for pair in report.pairs] == [("day/1", None)]
    assert report.sizes == {(5, 6): 1}


def test_labels_that_also_fit_the_image_pattern_are_no_images(tmp_path: Path) -> None:
    fakes.save(tmp_path / "a.png", fakes.picture((5, 6), 0))
    fakes.save(tmp_path / "a_mask.png", np.ones((5, 6), np.uint8))
    spec = DatasetSpec.model_validate(
        {"name": "flat", "images": "{id}.png", "labels": "{id}_mask.png", "values": {"road": [1]}}
    )
    index = index_dataset(tmp_path, spec)
    assert [pair.id for pair in index.pairs] == ["a"] and not index.defects


def test_both_endings_are_found_and_an_id_counts_once(tmp_path: Path) -> None:
    fakes.camvid(tmp_path, count=2, splits=["train"], ending=".jpg")
    spec = load_spec("camvid")
    assert len(index_dataset(tmp_path, spec, "train").pairs) == 2
    fakes.save(tmp_path / "train/0001TP_000000.png", fakes.picture(fakes.SIZE, 0))
    index = index_dataset(tmp_path, spec, "train")
    assert [pair.image.suffix for pair in index.pairs] == [".png", ".jpg"]
    assert [(d.kind, d.file.name) for d in index.defects] == [("second image for one id", "0001TP_000000.jpg")]


def test_order_is_natural_and_links_are_followed_without_circling(tmp_path: Path) -> None:
    for name in ("frame10", "frame9", "frame1"):
        fakes.save(tmp_path / f"elsewhere/{name}.png", fakes.picture((5, 6), 0))
    (tmp_path / "root/images").mkdir(parents=True)
    (tmp_path / "root/images/seq").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "elsewhere")
    spec = DatasetSpec(name="drive", images=("images/{id}.png",))
    index = index_dataset(tmp_path / "root", spec)
    assert [pair.id for pair in index.pairs] == ["seq/frame1", "seq/frame9", "seq/frame10"]
    assert index.pairs[0].image == tmp_path / "root/images/seq/frame1.png"
    assert sorted(["b2", "10", "b10", "9", "a"], key=natural_key) == ["9", "10", "a", "b2", "b10"]
    assert sorted(["5²", "5"], key=natural_key) == ["5", "5²"]  # a digit to Python, and no number


def test_wrong_roots_and_splits_are_told(tmp_path: Path) -> None:
    fakes.cityscapes(tmp_path / "data")
    spec = load_spec("cityscapes")
    with pytest.raises(DataError, match=r"no image is called leftImg8bit/val/\{id\}_leftImg8bit.png \(it holds data\)"):
        index_dataset(tmp_path, spec, "val")
    with pytest.raises(DataError, match="no such folder"):
        index_dataset(tmp_path / "none", spec)
    with pytest.raises(ConfigError, match=r"no split 'vla'.*did you mean 'val'"):
        index_dataset(tmp_path / "data", spec, "vla")
    with pytest.raises(ConfigError, match="one piece"):
        index_dataset(tmp_path / "data", load_spec("gta5"), "train")


def test_notes_tell_of_mixed_and_unknown_sizes_and_missing_images(tmp_path: Path) -> None:
    fakes.gta5(tmp_path, count=1)
    fakes.save(tmp_path / "images/00002.png", fakes.picture((8, 20), 0))
    fakes.save_palette(tmp_path / "labels/00002.png", np.zeros((8, 20), np.uint8))
    spec = load_spec("gta5")
    report = check_index(index_dataset(tmp_path, spec), spec, load_space("idd7"))
    assert report.notes == [
        "2 image sizes are mixed",
        "sizes that gta5 is not known to have: 8x20, 12x20",
        "2 of the 24966 official images of gta5; `uda show gta5` tells known defects",
    ]
    assert report.ignored_classes == () and report.empty_classes == ()


def test_a_selection_is_told_as_one_and_not_as_missing_images(tmp_path: Path) -> None:
    fakes.gta5(tmp_path, count=3)
    spec = load_spec("gta5")
    whole = index_dataset(tmp_path, spec)
    some = replace(whole, pairs=whole.pairs[:1], left_out=2)
    assert check_index(some, spec, load_space("idd7")).notes[-1] == "1 of its 3 images are selected"


def test_every_spec_with_known_defects_tells_them_where_the_note_sends_people() -> None:
    table = pd.read_csv(folder("data_manifests") / "known_defects.csv", dtype=str)
    for row in table.itertuples():
        assert str(row.first_id) in find_yaml("configs", f"datasets/{row.dataset}").read_text()


def test_real_camvid_is_whole_and_counts_as_by_hand() -> None:
    root = fakes.shared_data("camvid")
    spec = load_spec("camvid")
    index = index_dataset(root, spec, "val")
    report = check_index(index, spec, load_space("idd7"), workers=2)
    assert not report.defects and not report.notes and report.images == 101
    assert report.pixels == {"drivable": 5053176, "non-drivable": 1521751, "living things": 113531 + 387010,
                             "vehicles": 304716, "roadside objects": 98499 + 155724 + 537197,
                             "far objects": 4531180 + 2851125, "sky": 1601620, "ignored": 297271}  # fmt: skip
    assert len(index_dataset(root, spec).pairs) == 468


def test_real_cityscapes_and_idd_lite_have_no_defects() -> None:
    for name, split, images, pixels in [
        ("cityscapes", "train", 8, {"road": 6303541, "building": 3920413, "parking": 12933, "bicycle": 3983}),
        ("idd_lite", "val", 204, {"drivable": 4709943, "sky": 2974262, "ignored": 3051}),
    ]:
        spec = load_spec(name)
        report = check_index(index_dataset(fakes.shared_data(name), spec, split), spec, workers=2)
        assert not report.defects and report.images == images
        assert {key: report.pixels[key] for key in pixels} == pixels


def test_the_frozen_tables_speak_of_shipped_data_sets() -> None:
    tables = {
        name: pd.read_csv(folder("data_manifests") / f"{name}.csv", dtype=str) for name in ("counts", "known_defects")
    }
    for table in tables.values():
        assert set(table["dataset"]) <= {file.stem for file in (folder("configs") / "datasets").glob("*.yaml")}
    for row in tables["counts"].fillna("").to_dict("records"):
        assert row["split"] in (*load_spec(row["dataset"]).splits, "") and int(row["images"]) > 0
    gone = tables["known_defects"].query("defect == 'missing from some copies'")
    assert (gone["last_id"].astype(int) - gone["first_id"].astype(int) + 1).sum() == 24966 - 24941


def test_files_beside_the_labels_are_ignored_by_name(tmp_path: Path) -> None:
    root, spec = fakes.idd_lite(tmp_path), load_spec("idd_lite")
    for label in sorted(root.glob("gtFine/*/*/*_label.png")):
        fakes.save(label.with_name(label.name.replace("_label", "_inst_label")), np.zeros(fakes.SIZE, np.uint8))
    index = index_dataset(root, spec)
    assert len(index.pairs) == 4 and not index.defects


def pair(root: Path, image: str, label: str | None = None) -> None:
    fakes.save(root / image, fakes.picture((5, 6), 0))
    if label is not None:
        fakes.save(root / label, np.ones((5, 6), np.uint8))


def spec_of(**changes: object) -> DatasetSpec:
    base = {"name": "mine", "images": "images/{id}.png", "labels": "labels/{id}.png", "values": {"road": 1}}
    return DatasetSpec.model_validate({**base, **changes})


def test_folders_may_share_labels_by_links(tmp_path: Path) -> None:
    for name in ("images/day/1.png", "images/night/1.png", "shared/1.png"):
        pair(tmp_path, name, "shared/1.png")
    (tmp_path / "labels").mkdir()
    for name in ("day", "night"):
        (tmp_path / "labels" / name).symlink_to(tmp_path / "shared")
    index = index_dataset(tmp_path, spec_of())
    assert [pair.id for pair in index.pairs] == ["day/1", "night/1"] and not index.defects


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair(tmp_path, "images/a.png", "labels/a.png")
    pair(tmp_path, "images/shut/b.png", "labels/shut/b.png")
    scan = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("labels/shut"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"labels/shut: cannot be read \(Permission denied\)"):
        index_dataset(tmp_path, spec_of())


def test_splits_may_have_their_labels_in_one_place(tmp_path: Path) -> None:
    for split, id_ in (("train", "1"), ("train", "2"), ("val", "3"), ("test", "4")):
        pair(tmp_path, f"images/{split}/{id_}.png", None if split == "test" else f"labels/{id_}.png")
    spec = spec_of(images="images/{split}/{id}.png", splits=["train", "val", "test"])
    index = index_dataset(tmp_path, spec)
    assert [(pair.split, pair.id, pair.label is None) for pair in index.pairs] == [
        ("train", "1", False), ("train", "2", False), ("val", "3", False), ("test", "4", True)]  # fmt: skip
    assert not index.defects and index.unlabelled == ("test",)
    assert not index_dataset(tmp_path, spec, "val").defects
    pair(tmp_path, "images/train/5.png", "labels/6.png")
    for asked in (None, "train"):
        defects = index_dataset(tmp_path, spec, asked).defects
        assert [(one.kind, one.file.name) for one in defects] == [
            ("missing label", "5.png"), ("label without image", "6.png")]  # fmt: skip


def test_endings_are_alike_in_upper_and_lower_case_and_others_are_noted(tmp_path: Path) -> None:
    pair(tmp_path, "images/a.png", "labels/a.png")
    pair(tmp_path, "images/C.PNG", "labels/C.PNG")
    pair(tmp_path, "images/deep/d.jpeg")
    (tmp_path / "images/read.txt").touch()
    spec = spec_of()
    report = check_index(index_dataset(tmp_path, spec), spec)
    assert [pair.id for pair in report.pairs] == ["C", "a"] and not report.defects
    assert report.notes == ["1 image files below images/ fit no pattern, first deep/d.jpeg"]
    pair(tmp_path, "images/a.PNG", "labels/c.png")
    pair(tmp_path, "images/C.png", "labels/C.png")
    index = index_dataset(tmp_path, spec)
    assert [(one.kind, one.file.name) for one in index.defects] == [
        ("second label for one id", "C.PNG"), ("second image for one id", "C.PNG"),
        ("second image for one id", "a.PNG"), ("label without image", "c.png")]  # fmt: skip
    assert [pair.image.name for pair in index.pairs] == ["C.png", "a.png"]


def test_a_name_of_two_lines_is_found(tmp_path: Path) -> None:
    pair(tmp_path, "images/a\nb.png", "labels/a\nb.png")
    assert [pair.id for pair in index_dataset(tmp_path, spec_of()).pairs] == ["a\nb"]


def test_ids_of_one_number_have_an_order(tmp_path: Path) -> None:
    for name in ("001", "1", "01"):
        pair(tmp_path, f"images/{name}.png", f"labels/{name}.png")
    assert [pair.id for pair in index_dataset(tmp_path, spec_of()).pairs] == ["001", "01", "1"]


def test_a_root_behind_a_link_and_back_is_where_the_system_finds_it(tmp_path: Path) -> None:
    pair(tmp_path / "real/data", "images/a.png", "labels/a.png")
    (tmp_path / "real/deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real/deep")
    (image,) = [pair.image for pair in index_dataset(tmp_path / "link/../data", spec_of()).pairs]
    assert image == tmp_path / "real/data/images/a.png"
