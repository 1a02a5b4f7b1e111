from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from tests.data import fakes
from uda.core.errors import DataError
from uda.data import read
from uda.data.label_space import UNDECLARED, LabelSpace, load_space
from uda.data.samples import Sample
from uda.data.spec import DatasetSpec, load_spec, mapping_table

COLORS = {"road": [[128, 64, 128], [0, 0, 1]], "sky": [[70, 130, 180]]}


def spec_of(**changes: object) -> DatasetSpec:
    base = {"name": "mine", "images": "images/{id}.png", "labels": "labels/{id}.png", "values": {"road": [1]}}
    return DatasetSpec.model_validate({**base, **changes})


def road_and_sky() -> LabelSpace:
    classes = [{"name": name, "color": [0, 0, 0]} for name in ("road", "sky")]
    return LabelSpace.model_validate({"name": "s", "classes": classes})


def test_images_of_every_kind_become_rgb(tmp_path: Path) -> None:
    rgb = fakes.picture((6, 9), 1)
    assert np.array_equal(read.read_image(fakes.save(tmp_path / "rgb.png", rgb)), rgb)
    grey = read.read_image(fakes.save(tmp_path / "grey.png", rgb[..., 0]))
    assert np.array_equal(grey, np.stack([rgb[..., 0]] * 3, axis=-1))
    alpha = np.concatenate([rgb, rgb[..., :1]], axis=-1)
    assert np.array_equal(read.read_image(fakes.save(tmp_path / "alpha.png", alpha)), rgb)
    assert read.read_image(tmp_path / "rgb.png").flags.writeable
    assert read.read_size(tmp_path / "rgb.png") == (6, 9)


def test_grey_of_16_bits_keeps_its_shades(tmp_path: Path) -> None:
    grey = np.arange(0, 65536, 1000, dtype=np.uint16).reshape(6, 11)
    assert cv2.imwrite(str(tmp_path / "deep.png"), grey)
    assert np.array_equal(read.read_image(tmp_path / "deep.png"), np.stack([grey >> 8] * 3, axis=-1))
    assert cv2.imwrite(str(tmp_path / "deep.pgm"), grey)  # PIL calls it 32 bits
    assert np.array_equal(read.read_image(tmp_path / "deep.pgm"), np.stack([grey >> 8] * 3, axis=-1))


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (np.linspace(0, 1, 12, dtype=np.float32), "floating point"),
        (np.array([0, 70000] * 6, np.int32), "more than 16 bits"),
        (np.array([0, -1] * 6, np.int32), "more than 16 bits"),
    ],
)
def test_grey_whose_white_nobody_knows_is_refused(tmp_path: Path, pixels: Any, kind: str) -> None:
    Image.fromarray(pixels.reshape(3, 4)).save(tmp_path / "odd.tif")
    with pytest.raises(DataError, match=rf"odd\.tif: is grey in {kind}; write it with 8 or 16 bits"):
        read.read_image(tmp_path / "odd.tif")


def test_an_orientation_tag_turns_nothing(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(fakes.picture((6, 9), 1)).save(tmp_path / "turned.jpg", exif=tags)
    assert read.read_image(tmp_path / "turned.jpg").shape == (6, 9, 3)
    assert read.read_size(tmp_path / "turned.jpg") == (6, 9)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_truncated_and_foreign_files_are_named(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole.{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(whole)
    (tmp_path / f"half.{ending}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / f"empty.{ending}").touch()
    (tmp_path / f"text.{ending}").write_text("no picture")
    for name in ("half", "empty", "text"):
        with pytest.raises(DataError, match=rf"{name}\.{ending}: cannot be decoded"):
            read.read_image(tmp_path / f"{name}.{ending}")
    with pytest.raises(DataError, match="no such file"):
        read.read_image(tmp_path / f"none.{ending}")
    with pytest.raises(DataError, match="cannot be decoded"):
        read.read_size(tmp_path / f"text.{ending}")


def test_each_coding_gives_the_values_that_were_written(tmp_path: Path) -> None:
    ids = fakes.blocks((12, 20), range(23), 3)
    files = {
        "cityscapes": fakes.save(tmp_path / "id.png", ids),
        "gta5": fakes.save_palette(tmp_path / "palette.png", ids),
        "synthia": fakes.save_synthia_label(tmp_path / "deep.png", ids),
    }
    for name, file in files.items():
        assert np.array_equal(read.read_label_values(file, load_spec(name)), ids), name
    green = read.read_label_values(files["synthia"], spec_of(coding="multichannel16", channel="green"))
    blue = read.read_label_values(files["synthia"], spec_of(coding="multichannel16", channel="blue"))
    assert np.array_equal(green[::-1], blue) and green.max() > 255


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_keeps_its_values(tmp_path: Path, bits: int) -> None:
    values = np.arange(32, dtype=np.uint8).reshape(4, 8) % 2**bits
    shifts = range(8 - bits, -1, -bits)  # the first pixel in the highest bits, as PNG has it
    packed = sum((values[:, place :: len(shifts)] << shift) for place, shift in enumerate(shifts)).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 8, 4, bits, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    (tmp_path / "label.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert np.array_equal(read.read_label_values(tmp_path / "label.png", spec_of(coding="id")), values)


def test_the_same_scene_in_four_codings_gives_the_same_label_map(tmp_path: Path) -> None:
    space, shown = load_space("cityscapes19"), load_spec("cityscapes")
    trained = fakes.blocks((12, 20), (*range(19), 255), 5)
    colored = {c.name: [list(c.color)] for c in space.classes}
    by_name = {name: shown.values[name][0] for name in space.names}
    ids = np.array([*(by_name[name] for name in space.names), *[0] * 237], np.uint8)[trained]
    deep = {name: load_spec("synthia").values[name][0] for name in space.names}
    synthia = np.array([*(deep[name] for name in space.names), *[0] * 237], np.uint8)[trained]
    own = spec_of(coding="color", values=colored, void=[[0, 0, 0]])
    cases = [
        (fakes.save(tmp_path / "a.png", ids), shown),
        (fakes.save_palette(tmp_path / "b.png", ids), load_spec("gta5")),
        (fakes.save_synthia_label(tmp_path / "c.png", synthia), load_spec("synthia")),
        (fakes.save(tmp_path / "d.png", space.palette()[trained]), own),
        (fakes.save(tmp_path / "e.png", trained), load_spec("cityscapes_trainids")),
    ]
    for file, spec in cases:
        assert np.array_equal(read.read_label(file, spec, mapping_table(spec, space)), trained), spec.name


@given(
    arrays(np.uint8, (3, 5, 3), elements=st.sampled_from([0, 1, 64, 70, 128, 130, 180])),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from(range(3)))),
)
def test_colours_are_told_apart_pixel_by_pixel(image: NDArray[np.uint8], painted: list[tuple[int, int, int]]) -> None:
    declared = [tuple(color) for colors in COLORS.values() for color in colors]
    for row, column, which in painted:
        image[row, column] = declared[which]
    spec = spec_of(coding="color", values=COLORS)
    labels = read.apply_table(image, spec, mapping_table(spec, road_and_sky()))
    by_color = {tuple(color): i for i, colors in enumerate(COLORS.values()) for color in colors}
    for row, column in np.ndindex(3, 5):
        assert labels[row, column] == by_color.get(tuple(image[row, column].tolist()), UNDECLARED)


@given(arrays(np.uint16, (4, 4), elements=st.sampled_from([0, 1, 2, 255, 256, 257, 65535])))
def test_deep_values_beyond_the_table_are_never_wrapped_into_it(values: NDArray[np.uint16]) -> None:
    spec = spec_of(values={"road": [0, 1], "sky": [255]})
    labels = read.apply_table(values, spec, mapping_table(spec, road_and_sky()))
    wanted = np.select([values <= 1, values == 255], [0, 1], UNDECLARED)
    assert np.array_equal(labels, wanted) and labels.dtype == np.uint8


def test_values_outside_the_table_are_named_with_file_and_mend(tmp_path: Path) -> None:
    spec_file = tmp_path / "own.yaml"
    spec_file.write_text("name: own\nimages: i/{id}.png\nlabels: l/{id}.png\nvalues: {road: [1]}\n")
    spec = load_spec(str(spec_file))
    file = fakes.save(tmp_path / "l.png", np.array([[1, 1, 7], [9, 7, 1]], np.uint8))
    with pytest.raises(DataError) as error:
        read.read_label(file, spec, mapping_table(spec, road_and_sky()))
    assert str(error.value) == (
        f"{file}: label values outside the table: 7 (2 pixels), 9 (1 pixels); "
        f"add them to `values` or `void` of {spec_file}"
    )


def test_colours_outside_the_table_are_named_and_many_are_cut_short(tmp_path: Path) -> None:
    spec = spec_of(coding="color", values=COLORS)
    file = fakes.save(tmp_path / "l.png", np.array([[[128, 64, 128], [9, 8, 7]]], np.uint8))
    with pytest.raises(DataError, match=r"\(9, 8, 7\) \(1 pixels\)"):
        read.read_label(file, spec, mapping_table(spec, road_and_sky()))
    many = fakes.save(tmp_path / "m.png", np.arange(2, 100, dtype=np.uint8)[None])
    with pytest.raises(DataError, match=r"9 \(1 pixels\), \.\.\.; add"):
        read.read_label(many, spec_of(), mapping_table(spec_of(), road_and_sky()))


def test_values_beyond_a_byte_are_not_mended_in_the_spec(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "deep.png"), np.array([[1, 300]], np.uint16))
    with pytest.raises(DataError, match=r"300 \(1 pixels\); write the label anew with values from 0 to 255"):
        read.read_label(tmp_path / "deep.png", spec_of(), mapping_table(spec_of(), road_and_sky()))


def test_colours_are_named_in_order_and_eight_of_them(tmp_path: Path) -> None:
    values = np.zeros((1, 300, 3), np.uint8)
    values[0, :, 2] = np.arange(300) % 256
    values[0, :2] = 9, 8, 7
    said = read.say_undeclared(values, np.full((1, 300), UNDECLARED, np.uint8))
    first = ", ".join(f"(0, 0, {i}) ({1 if i < 2 else 2} pixels)" for i in range(8))
    assert said == f"label values outside the table: {first}, ..."
    alone = read.say_undeclared(values[:, :2], np.array([[UNDECLARED, 0]], np.uint8))
    assert alone == "label values outside the table: (9, 8, 7) (1 pixels)"


def test_a_picture_beyond_all_measure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = fakes.save(tmp_path / "huge.png", fakes.picture((8, 9), 0))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    readings: list[Callable[[Path], object]] = [
        read.read_image,
        read.read_size,
        lambda path: read.read_label_values(path, spec_of()),
    ]
    for reading in readings:
        with pytest.raises(DataError, match=r"huge\.png: cannot be decoded \(Image size \(72 pixels\)"):
            reading(file)


def test_a_wrong_coding_is_told_with_the_likely_right_one(tmp_path: Path) -> None:
    ids = fakes.blocks((8, 8), range(3), 0)
    palette = fakes.save_palette(tmp_path / "p.png", ids)
    rgb = fakes.save(tmp_path / "c.png", fakes.picture((8, 8), 0))
    plain = fakes.save(tmp_path / "i.png", ids)
    Image.fromarray(ids).save(tmp_path / "lossy.jpg")
    for file, coding, hint in [
        (palette, "id", "set `coding: palette` in the spec of mine"),
        (rgb, "id", "set `coding: color` and each class's colours in"),
        (rgb, "palette", "set `coding: color` and each class's colours in"),
        (plain, "multichannel16", "coding: id"),
        (tmp_path / "lossy.jpg", "id", "labels must be PNG"),
    ]:
        with pytest.raises(DataError, match=hint):
            read.read_label_values(file, spec_of(coding=coding))
    for name in ("empty", "none"):
        (tmp_path / "empty.png").touch()
        with pytest.raises(DataError, match=name):
            read.read_label_values(tmp_path / f"{name}.png", spec_of(coding="multichannel16"))


@pytest.mark.parametrize("kind", ["red alone", "alpha", "blue alone", "alike", "instances"])
def test_ids_in_a_channel_of_a_colour_file_are_told_with_the_coding_that_reads_them(tmp_path: Path, kind: str) -> None:
    spec = spec_of(values={"road": [1], "sky": [2]}, void=[0])
    ids = fakes.blocks((8, 8), range(3), 0)
    other = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    none = np.zeros_like(ids)
    planes = {
        "red alone": (ids, none, none),
        "alpha": (ids, none, none, none + np.uint8(255)),  # as CARLA writes them
        "blue alone": (none, none, ids),
        "alike": (ids, ids, ids),
        "instances": (ids, *other),
    }[kind]
    file = fakes.save(tmp_path / "l.png", np.stack(planes, -1))
    channel = "blue" if kind == "blue alone" else "red"
    with pytest.raises(
        DataError, match=rf"; set `coding: multichannel16` and `channel: {channel}` in the spec of mine$"
    ):
        read.read_label_values(file, spec)
    told = spec_of(values={"road": [1], "sky": [2]}, void=[0], coding="multichannel16", channel=channel)
    assert np.array_equal(read.read_label_values(file, told), ids)


def test_a_shipped_spec_is_not_to_be_edited_for_files_that_are_none_of_its_data_set(tmp_path: Path) -> None:
    spec = load_spec("gta5")
    table = mapping_table(spec, load_space("cityscapes19"))
    copy = r"(of|in) a copy of gta5\.yaml \(`uda show gta5 > mine\.yaml`\), as it is no true label of gta5$"
    rgb = fakes.save(tmp_path / "c.png", fakes.picture((8, 8), 0))
    with pytest.raises(DataError, match=f"; set `coding: color` and each class's colours {copy}"):
        read.read_label(rgb, spec, table)
    odd = fakes.save_palette(tmp_path / "p.png", np.full((8, 8), 99, np.uint8))
    with pytest.raises(DataError, match=f"; add them to `values` or `void` {copy}"):
        read.read_label(odd, spec, table)
    plain = fakes.save(tmp_path / "i.png", fakes.blocks((8, 8), range(3), 0))
    with pytest.raises(DataError, match=r"; set `coding: id` in a copy of synthia\.yaml"):
        read.read_label_values(plain, load_spec("synthia"))


def test_shrinking_is_antialiased_and_equals_pil() -> None:
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    methods: tuple[read.Interpolation, ...] = ("bicubic", "bilinear", "area")
    for method in methods:
        small = read.resize_image(stripes, (2, 8), method)
        assert small.shape == (2, 8, 3) and np.ptp(small.astype(int)) < 40 and abs(small.mean() - 127.5) < 3
    image = fakes.picture((33, 47), 2)
    pil = np.asarray(Image.fromarray(image).resize((20, 10), Image.Resampling.BICUBIC))
    assert np.array_equal(read.resize_image(image, (10, 20)), pil)
    assert read.resize_image(image, (33, 47)) is image


def test_labels_are_resized_by_the_nearest_centre_and_stay_classes() -> None:
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert read.resize_label(labels, (2, 2)).tolist() == [[5, 7], [13, 15]]
    assert read.resize_label(labels, (8, 8))[::2, ::2].tolist() == labels.tolist()
    odd = fakes.blocks((37, 53), (0, 7, 255), 1)
    assert set(np.unique(read.resize_label(odd, (11, 23)))) <= {0, 7, 255}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    image, labels = fakes.picture((60, 84), 4), fakes.blocks((60, 84), (0, 3, 255), 4)
    read.write_image(tmp_path / "deep/i.png", image)
    read.write_image(tmp_path / "deep/i.jpg", image)
    read.write_label(tmp_path / "deep/l.png", labels)
    assert np.array_equal(read.read_image(tmp_path / "deep/i.png"), image)
    assert np.abs(read.read_image(tmp_path / "deep/i.jpg").astype(int) - image).mean() < 6
    written = cv2.imread(str(tmp_path / "deep/l.png"), cv2.IMREAD_UNCHANGED)
    assert written is not None and np.array_equal(written, labels)
    assert read.encode_png(labels) == (tmp_path / "deep/l.png").read_bytes()
    with pytest.raises(ValueError, match="PNG only"):
        read.write_label(tmp_path / "l.jpg", labels)


def test_a_label_reader_takes_each_samples_own_spec(tmp_path: Path) -> None:
    ids = fakes.blocks((8, 8), (7, 11), 0)
    here, there = tmp_path / "a", tmp_path / "b"
    for folder, value in ((here, 7), (there, 11)):
        fakes.save(folder / "l.png", ids)
        text = f"values: {{road: [{value}]}}\nvoid: [{18 - value}]\n"
        (folder / "own.yaml").write_text("name: own\nimages: i/{id}.png\nlabels: l/{id}.png\n" + text)
    samples = [Sample(folder / "i.png", folder / "l.png", "own.yaml", folder) for folder in (here, there)]
    (here / "bare.yaml").write_text("name: bare\nimages: i/{id}.png\n")
    nothing = Sample(here / "i.png", None, "bare.yaml", here)  # names no classes, and needs none
    reader = read.LabelReader([*samples, nothing], road_and_sky())
    for sample, value in zip(samples, (7, 11), strict=True):
        labels = reader.read(sample)
        assert labels is not None and np.array_equal(labels, np.where(ids == value, 0, 255))
    assert reader.read(nothing) is None


def test_a_true_gta5_label_has_the_values_that_were_counted_by_hand() -> None:
    file = fakes.shared_data("gta5") / "labels/00005.png"
    spec = load_spec("gta5")
    counted = {0: 26732, 1: 182040, 4: 10564, 5: 54944, 7: 850357, 8: 55270, 11: 292128, 12: 7592, 13: 2279, 15: 872,
               17: 42514, 19: 976, 20: 1973, 21: 22543, 22: 27498, 23: 419595, 24: 1145, 26: 7693,
               27: 6813}  # fmt: skip
    values, counts = np.unique(read.read_label_values(file, spec), return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == counted
    labels = read.read_label(file, spec, mapping_table(spec, load_space("cityscapes19")))
    assert (labels == 0).sum() == 850357 and (labels == 10).sum() == 419595
    assert (labels == 255).sum() == 26732 + 182040 + 10564 + 54944 + 872
    with pytest.raises(DataError, match=r"set `coding: palette` in a copy of cityscapes\.yaml"):
        read.read_label_values(file, load_spec("cityscapes"))
