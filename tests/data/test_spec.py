from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from uda.core.errors import ConfigError, DataError
from uda.core.resources import folder
from uda.data.label_space import IGNORE, UNDECLARED, Color, LabelSpace, load_space
from uda.data.spec import (
    DatasetSpec,
    index_spec,
    load_spec,
    mapping_table,
    own_table,
    pack_color,
    require_common_class,
    say_ignored,
    unmapped,
    write_index_spec,
)

SHIPPED = ["camvid", "cityscapes", "cityscapes_trainids", "coco_stuff", "gta5", "idd_lite", "synthia"]
GTA5 = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
        28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip
SYNTHIA = {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15,
           20: 16, 12: 17, 11: 18}  # fmt: skip


def table_of(mapping: Mapping[int, int], ignored: Iterable[int]) -> NDArray[np.uint8]:
    table = np.full(256, UNDECLARED, np.uint8)
    table[list(ignored)] = IGNORE
    table[list(mapping)] = list(mapping.values())
    return table


def spec_of(**changes: object) -> DatasetSpec:
    base = {"name": "mine", "images": "images/{id}.png", "labels": "labels/{id}.png", "values": {"road": [1]}}
    return DatasetSpec.model_validate({**base, **changes})


def test_every_shipped_spec_loads_and_has_a_header() -> None:
    files = sorted((folder("configs") / "datasets").rglob("*.yaml"))
    assert [file.stem for file in files] == SHIPPED
    for file in files:
        spec = load_spec(file.stem)
        assert (spec.name, spec.file) == (file.stem, file)
        text = file.read_text()
        assert text.startswith("# What:")
        assert f"# Run: uda prepare {file.stem} " in text
        assert "# Layout:" in text


def test_the_tables_onto_cityscapes19_are_the_published_ones() -> None:
    space = load_space("cityscapes19")
    cityscapes = {label.id: label.trainId for label in official if 0 <= label.trainId < 255}
    assert cityscapes == GTA5
    wanted = {
        "gta5": table_of(GTA5, range(35)),
        "cityscapes": table_of(GTA5, range(34)),
        "cityscapes_trainids": table_of({i: i for i in range(19)}, [255]),
        "synthia": table_of(SYNTHIA, range(23)),
    }
    for name, table in wanted.items():
        np.testing.assert_array_equal(mapping_table(load_spec(name), space), table, err_msg=name)


def test_cityscapes_names_are_the_official_ones() -> None:
    names = {label.id: label.name for label in official}
    for name, values in load_spec("cityscapes").values.items():
        assert [names[value] for value in values] == [name]


def test_camvid_and_idd_lite_keep_their_ids() -> None:
    camvid, idd = load_spec("camvid"), load_spec("idd_lite")
    np.testing.assert_array_equal(
        mapping_table(camvid, load_space("camvid11")), table_of({i: i for i in range(11)}, [11])
    )
    np.testing.assert_array_equal(mapping_table(idd, load_space("idd7")), table_of({i: i for i in range(7)}, [255]))
    onto_idd = {0: 6, 1: 5, 2: 4, 3: 0, 4: 1, 5: 5, 6: 4, 7: 4, 8: 3, 9: 2, 10: 2}
    np.testing.assert_array_equal(mapping_table(camvid, load_space("idd7")), table_of(onto_idd, [11]))


def test_coco_stuff_has_the_numbers_of_its_label_list_minus_one() -> None:
    # The label list (github.com/nightrome/cocostuff, labels.txt): 0 unlabeled, 1 to 91 things, 92 to 182 stuff.
    listed = {"person": 1, "street sign": 12, "horse": 19, "sheep": 20, "zebra": 24, "giraffe": 25, "toothbrush": 90,
              "hair brush": 91, "banner": 92, "clouds": 106, "grass": 124, "sky-other": 157, "tree": 169,
              "window-other": 181, "wood": 182}  # fmt: skip
    spec = load_spec("coco_stuff")
    assert {name: spec.values[name] for name in listed} == {name: (label - 1,) for name, label in listed.items()}
    assert [value for values in spec.values.values() for value in values] == list(range(182))
    assert spec.void == (255,)
    stuff = list(spec.values)[91:]
    assert stuff == sorted(stuff)  # the list's order, which a line left out or put in twice would break


def test_every_labelled_pixel_of_coco_stuff_is_of_a_class_of_coco_animals() -> None:
    spec, space = load_spec("coco_stuff"), load_space("coco_animals")
    assert unmapped(spec, space) == ((), ())
    table = mapping_table(spec, space)
    assert (table[:182] < space.num_classes).all() and table[255] == IGNORE and (table[182:255] == UNDECLARED).all()
    found = {name: space.names[table[spec.values[name][0]]] for name in ("horse", "zebra", "tree", "clouds", "person")}
    assert found == {"horse": "horse", "zebra": "zebra", "tree": "plants", "clouds": "sky", "person": "other"}


def test_what_does_not_meet_is_told() -> None:
    space = load_space("cityscapes19")
    assert unmapped(load_spec("cityscapes_trainids"), space) == ((), ())
    assert unmapped(load_spec("synthia"), space) == (("parking slot", "road work", "lane marking"), ())
    gone = unmapped(load_spec("idd_lite"), load_space("camvid11"))
    assert "drivable" in gone.ignored and "sky" not in gone.ignored
    assert gone.empty == load_space("camvid11").names[1:]
    assert unmapped(load_spec("camvid"), load_space("idd7")) == ((), ())


names = st.lists(st.text("abcdefgh", min_size=1, max_size=4), min_size=1, max_size=8, unique=True)


@st.composite
def specs_and_spaces(draw: st.DrawFn, color: bool = False) -> tuple[DatasetSpec, LabelSpace]:
    classes = draw(names)
    byte = st.integers(0, 255)
    value: st.SearchStrategy[int | Color] = st.tuples(byte, byte, byte) if color else byte
    pool = draw(st.lists(value, min_size=len(classes), max_size=40, unique=True))
    where = [draw(st.integers(0, len(classes))) for _ in pool]
    values = {name: [v for v, at in zip(pool, where, strict=True) if at == i] for i, name in enumerate(classes)}
    void = [v for v, at in zip(pool, where, strict=True) if at == len(classes)]
    spec = spec_of(values=values, void=void, coding="color" if color else "id")
    kept = draw(st.lists(st.sampled_from(classes), min_size=1, unique=True))
    space = LabelSpace.model_validate({"name": "s", "classes": [{"name": n, "color": [0, 0, 0]} for n in kept]})
    return spec, space


@given(specs_and_spaces())
def test_the_table_says_for_every_value_its_class_or_why_not(pair: tuple[DatasetSpec, LabelSpace]) -> None:
    spec, space = pair
    table = mapping_table(spec, space)
    for value in range(256):
        owners = [name for name, values in spec.values.items() if value in values]
        if owners and owners[0] in space.names:
            assert table[value] == space.names.index(owners[0])
        else:
            assert table[value] == (IGNORE if owners or value in spec.void else UNDECLARED)


def packed(color: int | Color) -> int:
    assert isinstance(color, tuple)
    return pack_color(color)


@given(specs_and_spaces(color=True))
def test_the_table_of_colours_is_in_the_order_of_their_ordinals(pair: tuple[DatasetSpec, LabelSpace]) -> None:
    spec, space = pair
    table, colors = mapping_table(spec, space), spec.colors().tolist()
    assert colors == sorted({packed(color) for color in spec.declared()})
    for name, values in spec.values.items():
        wanted = space.names.index(name) if name in space.names else IGNORE
        assert all(table[colors.index(packed(color))] == wanted for color in values)
    assert (table[len(colors) :] == UNDECLARED).all()


def test_own_table_counts_the_data_sets_own_classes() -> None:
    table = own_table(load_spec("synthia"))
    assert (table[1], table[22], table[0], table[23]) == (0, 21, IGNORE, UNDECLARED)


def test_the_index_spec_survives_its_file_and_maps_every_class_to_itself(tmp_path: Path) -> None:
    for name in ("cityscapes19", "camvid11", "idd7"):
        space = load_space(name)
        write_index_spec(space, tmp_path / "labels.yaml")
        spec = load_spec("labels.yaml", tmp_path)
        assert spec.model_dump() == index_spec(space).model_dump()
        wanted = table_of({i: i for i in range(space.num_classes)}, [255])
        np.testing.assert_array_equal(mapping_table(spec, space), wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": "images/all.png"}, "must have one {id}"),
        ({"images": "{id}/{id}.png"}, "must have one {id}"),
        ({"images": "{city}/{id}.png"}, "must have one {id}"),
        ({"images": "{split}/{id}.png"}, "list the splits"),
        ({"images": "../{id}.png"}, "below the data set's root"),
        ({"labels": "images/{id}.png"}, "elsewhere"),
        ({"values": {}}, "must name the classes"),
        ({"values": {"road": [1], "sky": [1]}}, "1 is declared twice"),
        ({"void": [1]}, "1 is declared twice"),
        ({"values": {"road": [256]}}, "values.road"),
        (
            {"values": {"road": [[1, 2, 3]]}},
            r"values.road: coding id takes numbers from 0 to 255, not \[1, 2, 3\]; write its label values, or",
        ),
        (
            {"coding": "color"},
            r"values.road: coding color takes colours \[r, g, b\], not 1; write `road: \[\[r, g, b\]\]`",
        ),
        (
            {"coding": "color", "values": {"road": [[1, 2, 3]]}, "void": [0, 9, 0]},
            r"void: coding color takes colours \[r, g, b\], not 0; write `void: \[\[0, 9, 0\]\]`",
        ),
        ({"coding": "colour"}, "coding"),
        ({"group": "a(b"}, "no regular expression"),
        ({"group": "ab"}, "group in brackets"),
        ({"lables": None}, "did you mean 'labels'"),
        ({"coding": "color", "values": {"x": [[i, 0, 0] for i in range(256)]}}, "at most 255"),
        ({"values": {f"class {i}": i for i in range(255)}}, "255 classes, at most 254"),
        ({"splits": ["train", "val"]}, "every split would have all images"),
        ({"images": "./images/{id}.png"}, "must be written as 'images/{id}.png'"),
        ({"labels": "labels//{id}.png"}, "must be written as 'labels/{id}.png'"),
        ({"ignored": "labels/{name}.png"}, "must have one {id}"),
    ],
)
def test_a_mistaken_spec_says_what_is_wrong(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec_of(**changes)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cityscapes'"):
        load_spec("cityscape")
    with pytest.raises(ConfigError, match=r"no such dataset file"):
        load_spec("own.yaml", tmp_path)
    (tmp_path / "own.yaml").write_text("name: own\nimages: x.png\n")
    with pytest.raises(ConfigError, match=r"own\.yaml: .*must have one \{id\}"):
        load_spec("own.yaml", tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "coding: color\nvalues: {road: [128, 64, 128]}",
            "values.road: coding color takes colours [r, g, b], not 128; write `road: [[128, 64, 128]]`",
        ),
        (
            "values: {road: [1, 2, 300]}",
            "values.road.2: 300 is no number from 0 to 255, nor a colour [r, g, b] of three of them",
        ),
        (
            "coding: color\nvalues: {road: [[1, 2]]}",
            "values.road.0: [1, 2] is no number from 0 to 255, nor a colour [r, g, b] of three of them",
        ),
        ("values: {road: [1], sky: [1]}", "1 is declared twice in values and void"),
    ],
)
def test_a_mistaken_value_is_told_once_with_its_class_and_the_cure(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"name: own\nimages: i/{{id}}.png\nlabels: l/{{id}}.png\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_spec(str(file))
    assert str(caught.value) == f"{file}: {told}"


def test_one_value_needs_no_list() -> None:
    spec = spec_of(values={"road": 0, "sky": [1, 2]}, void=255)
    assert spec.values == {"road": (0,), "sky": (1, 2)} and spec.void == (255,)


def test_without_labels_no_values_are_needed() -> None:
    assert spec_of(labels=None, values={}).declared() == []


def test_labels_of_a_spec_without_classes_cannot_be_read() -> None:
    bare = DatasetSpec.model_validate({"name": "bare", "images": "images/{id}.png"})
    with pytest.raises(DataError, match=r"dataset bare: names no classes, so its labels cannot be read; write labels:"):
        require_common_class(bare, load_space("cityscapes19"))


@pytest.mark.parametrize(
    ("spec", "space", "told"),
    [
        ("camvid", "cityscapes19", "camvid: pavement, tree, sign, "),
        ("idd_lite", "cityscapes19", "idd_lite: drivable, non-drivable, living things, "),
        ("gta5", "cityscapes19", None),
        ("synthia", "cityscapes19", None),
        ("cityscapes", "cityscapes19", None),
        ("camvid", "camvid11", None),
    ],
)
def test_a_shipped_data_set_of_another_task_is_told(spec: str, space: str, told: str | None) -> None:
    line = say_ignored(load_spec(spec), load_space(space), {})
    if told is None:
        assert line is None
    else:
        assert line is not None and line.startswith(told)
        assert f"are no classes of {space} and are ignored" in line
