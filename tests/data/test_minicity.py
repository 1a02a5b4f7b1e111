"""Mini-city on disk: the same bytes for a seed, the true layouts and codings, and wrong arguments."""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from uda.cli import main
from uda.core.errors import ConfigError
from uda.data.dataset import SegmentationDataset
from uda.data.index import check_index
from uda.data.label_space import load_space
from uda.data.minicity import write_looks, write_minicity
from uda.data.minicity.classes import CITYSCAPES_IDS, EGO_ID, SYNTHIA_IDS, Cls, train_id_colours
from uda.data.minicity.write import draw, gta5_numbers
from uda.data.pairs import index_dataset
from uda.data.read import apply_table, read_image, read_label_values
from uda.data.spec import load_spec, mapping_table

SIZE = (32, 64)
COUNTS = {"gta5": 7, "synthia": 2, "cityscapes_train": 5, "cityscapes_val": 2}
PARTS = tuple(COUNTS)
THINGS = (Cls.PERSON, Cls.RIDER, Cls.CAR, Cls.TRUCK, Cls.BUS, Cls.TRAIN, Cls.MOTORCYCLE, Cls.BICYCLE)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small mini-city on disk, seed 0."""
    out = tmp_path_factory.mktemp("city")
    assert write_minicity(out, counts=COUNTS, height=SIZE[0], width=SIZE[1]) == COUNTS
    return out


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# The same bytes


def test_a_seed_says_every_byte_and_another_seed_changes_every_file(city: Path, tmp_path: Path) -> None:
    for seed, processes in ((0, 2), (1, 0)):
        out = tmp_path / str(seed)
        write_minicity(out, seed=seed, counts=COUNTS, height=SIZE[0], width=SIZE[1], processes=processes)
    assert digests(tmp_path / "0") == digests(city)
    other = digests(tmp_path / "1")
    assert other.keys() == digests(city).keys()
    assert not [name for name, digest in digests(city).items() if other[name] == digest]


def test_an_image_depends_on_nothing_that_was_drawn_before_it(city: Path, tmp_path: Path) -> None:
    fewer = {"gta5": 3, "synthia": 0, "cityscapes_train": 0, "cityscapes_val": 1}
    write_minicity(tmp_path, counts=fewer, height=SIZE[0], width=SIZE[1])
    part = digests(tmp_path)
    assert len(part) == 2 * 3 + 3 * 1 and part.items() <= digests(city).items()


def test_bytes_do_not_depend_on_how_many_threads_draw() -> None:
    jobs = [(part, index) for part in PARTS for index in range(3)]
    before = cv2.getNumThreads()
    drawn = []
    try:
        for workers, inner in ((1, 1), (3, 4)):
            cv2.setNumThreads(inner)
            with ThreadPoolExecutor(workers) as pool:
                drawn.append(list(pool.map(lambda job: draw(job[0], 5, job[1], (48, 96)), reversed(jobs))))
    finally:
        cv2.setNumThreads(before)
    for one, other in zip(*drawn, strict=True):
        assert np.array_equal(one.image_HWC, other.image_HWC)
        assert np.array_equal(one.labels_HW, other.labels_HW) and np.array_equal(one.instances_HW, other.instances_HW)


def test_progress_is_told_image_by_image(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    counts = {"gta5": 2, "synthia": 0, "cityscapes_train": 1, "cityscapes_val": 0}
    write_minicity(tmp_path, counts=counts, height=16, width=16, progress=lambda *state: told.append(state))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_command_writes_the_same_files_with_their_receipts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"gta5": 2, "synthia": 1, "cityscapes_train": 2, "cityscapes_val": 1}
    write_minicity(tmp_path / "plain", seed=3, counts=counts, height=64, width=128)
    changes = [
        part for key, value in {**counts, "height": 64, "width": 128}.items() for part in ("--set", f"{key}={value}")
    ]
    monkeypatch.setattr(sys, "argv", ["uda", "minicity", "--out", str(tmp_path / "out"), "--seed", "3", *changes])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    plain, made = digests(tmp_path / "plain"), digests(tmp_path / "out")
    assert {name: digest for name, digest in made.items() if name.endswith(".png")} == plain
    receipts = pd.read_csv(tmp_path / "out/files.csv")
    assert dict(zip(receipts["path"], receipts["sha256"], strict=True)) == plain


# The true layouts, through the project's own readers


@pytest.mark.parametrize("name", ["gta5", "synthia", "cityscapes", "cityscapes_trainids"])
def test_each_layout_is_read_without_a_defect_and_pixel_by_pixel_as_drawn(name: str, city: Path) -> None:
    spec, space = load_spec(name), load_space("cityscapes19")
    root = city / name.partition("_")[0]
    report = check_index(index_dataset(root, spec), spec, space, workers=2)
    parts = [part for part in PARTS if part.startswith(root.name)]
    assert not report.defects and report.images == sum(COUNTS[part] for part in parts)
    drawn = []
    for part in parts:
        cities = 3 if part == "cityscapes_train" else 1  # images go to the cities in turn, the reader goes city by city
        order = [index for first in range(cities) for index in range(first, COUNTS[part], cities)]
        drawn += [draw(part, 0, index, _size_on_disk(part, index)) for index in order]
    table = mapping_table(spec, space)
    for pair, rendering in zip(report.pairs, drawn, strict=True):
        assert pair.label is not None
        labels = apply_table(read_label_values(pair.label, spec), spec, table)
        assert np.array_equal(read_image(pair.image), rendering.image_HWC)
        assert np.array_equal(labels, rendering.labels_HW)
    item = SegmentationDataset(report.samples(name, city), space, size=None)[0]
    assert np.array_equal(item["label"].numpy(), drawn[0].labels_HW)


def _size_on_disk(part: str, index: int) -> tuple[int, int]:
    return (SIZE[0] - 2, SIZE[1]) if part == "gta5" and index == 5 else SIZE


def test_gta5_has_palette_labels_gaps_in_its_numbers_and_mixed_sizes(city: Path) -> None:
    labels = sorted((city / "gta5/labels").iterdir())
    assert [path.name for path in labels] == [f"{number:05d}.png" for number in range(1, 8)]
    assert [path.name for path in sorted((city / "gta5/images").iterdir())] == [path.name for path in labels]
    assert gta5_numbers(15) == [*range(1, 13), 14, 15, 16] and gta5_numbers(60)[-2:] == [61, 62]
    seen = set()
    for path in labels:
        with Image.open(path) as image:
            assert image.mode == "P"
            colours = np.array(image.convert("RGB"))
            ids = np.array(image)
        known = np.isin(ids, CITYSCAPES_IDS)
        train_ids = np.full(256, 255, np.uint8)
        train_ids[list(CITYSCAPES_IDS)] = range(19)
        assert np.array_equal(colours[known], train_id_colours()[train_ids[ids[known]]])
        seen |= set(np.unique(ids).tolist())
    assert {7, 8, 11, 23, 26} <= seen <= {*CITYSCAPES_IDS, 4}
    spec = load_spec("gta5")
    notes = check_index(index_dataset(city / "gta5", spec), spec).notes
    assert "2 image sizes are mixed" in notes


def test_synthia_has_the_class_in_red_and_the_instance_in_green_of_16_bits(city: Path) -> None:
    for index in range(COUNTS["synthia"]):
        bgr = cv2.imread(str(city / f"synthia/GT/LABELS/{index:07d}.png"), cv2.IMREAD_UNCHANGED)
        rendering = draw("synthia", 0, index, SIZE)
        assert bgr is not None and bgr.dtype == np.uint16 and bgr.shape == (*SIZE, 3) and not bgr[..., 0].any()
        assert np.array_equal(bgr[..., 1], rendering.instances_HW)
        assert set(np.unique(bgr[..., 2])) <= {0, *SYNTHIA_IDS}
        things = np.isin(rendering.labels_HW, THINGS)
        assert things.any() and (bgr[..., 1][things] > 0).all() and not bgr[..., 1][~things].any()


def test_cityscapes_has_its_names_its_cities_and_the_vehicle_that_carries_the_camera(city: Path) -> None:
    stems = {path.name.removesuffix("_leftImg8bit.png"): path for path in city.rglob("*_leftImg8bit.png")}
    assert len(stems) == COUNTS["cityscapes_train"] + COUNTS["cityscapes_val"]
    for stem, path in stems.items():
        folder = city / "cityscapes/gtFine" / path.parent.relative_to(city / "cityscapes/leftImg8bit")
        assert stem.startswith(f"{folder.name}_0000")
        with Image.open(folder / f"{stem}_gtFine_labelIds.png") as ids:
            assert ids.mode == "L" and EGO_ID in np.unique(np.array(ids))
        assert (folder / f"{stem}_gtFine_labelTrainIds.png").is_file()
    splits = {
        split: {p.name for p in (city / f"cityscapes/leftImg8bit/{split}").iterdir()} for split in ("train", "val")
    }
    assert len(splits["train"]) == 3 and len(splits["val"]) == 1 and not splits["train"] & splits["val"]


def test_looks_draw_the_same_streets_in_other_colours(city: Path, tmp_path: Path) -> None:
    assert write_looks(tmp_path, count=7, height=SIZE[0], width=SIZE[1]) == 7
    made, source = digests(tmp_path), digests(city / "gta5")
    assert made.keys() == source.keys()
    assert {name for name in made if made[name] == source[name]} == {name for name in made if "labels" in name}
    write_looks(tmp_path / "game", count=7, height=SIZE[0], width=SIZE[1], look="gta5")
    assert digests(tmp_path / "game") == source


# Wrong arguments


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"counts": {"gta": 3}}, "mini-city: no part 'gta'; did you mean 'gta5'?"),
        ({"counts": {"synthia": -1}}, "mini-city: -1 images of synthia; count from 0 on"),
        ({"height": 15}, "mini-city: images of 15x256 pixels; take 16 or more each way"),
        ({"width": 0}, "mini-city: images of 128x0 pixels; take 16 or more each way"),
        ({"seed": -2}, "mini-city: seed -2; take 0 or more"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_written(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        write_minicity(tmp_path, **wrong)
    assert str(error.value) == said
    with pytest.raises(ConfigError, match=r"no look 'cityscape'; did you mean 'cityscapes'\?"):
        write_looks(tmp_path, look="cityscape")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        (("seed=-1",), "seed: Input should be greater than or equal to 0"),
        (("gta5=-1",), "gta5: Input should be greater than or equal to 0"),
        (("height=65",), "height: Input should be a multiple of 2"),
        (("width=64",), "width: Input should be greater than or equal to 128"),
        (("gta5=0", "synthia=0", "cityscapes_train=0", "cityscapes_val=0"), "there is nothing to draw"),
    ],
)
def test_the_command_tells_wrong_settings_in_one_line(
    settings_: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changes = [part for change in settings_ for part in ("--set", change)]
    monkeypatch.setattr(sys, "argv", ["uda", "minicity", "--out", str(tmp_path / "out"), *changes])
    with pytest.raises(SystemExit) as left:
        main()
    told = capsys.readouterr().err
    assert left.value.code == 2 and said in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())
