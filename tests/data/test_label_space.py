from __future__ import annotations

from pathlib import Path

import pytest
from cityscapesscripts.helpers.labels import labels as official

from uda.core.errors import ConfigError
from uda.core.resources import folder
from uda.data.label_space import LabelSpace, load_space


def test_every_shipped_space_loads_and_has_a_header() -> None:
    files = sorted((folder("configs") / "label_spaces").rglob("*.yaml"))
    assert [file.stem for file in files] == ["camvid11", "cityscapes19", "coco_animals", "idd7"]
    for file in files:
        assert load_space(file.stem).name == file.stem
        assert file.read_text().startswith("# What:")


def test_cityscapes19_has_the_official_order_and_colours() -> None:
    trained = sorted((label for label in official if 0 <= label.trainId < 255), key=lambda label: label.trainId)
    space = load_space("cityscapes19")
    assert space.names == tuple(label.name for label in trained)
    assert space.palette()[:19].tolist() == [list(label.color) for label in trained]
    assert not space.palette()[19:].any()


def test_the_subsets_are_those_of_the_published_tables() -> None:
    space = load_space("cityscapes19")
    assert space.subset_indices("16") == (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
    assert space.subset_indices("13") == (0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
    with pytest.raises(ConfigError, match="no subset '19'"):
        space.subset_indices("19")


def test_camvid_classes_meet_idd_as_the_pocket_benchmark_says() -> None:
    owners, idd = load_space("idd7").owners(), load_space("idd7")
    wanted = {
        "sky": "sky",
        "building": "far objects",
        "tree": "far objects",
        "pole": "roadside objects",
        "sign": "roadside objects",
        "fence": "roadside objects",
        "road": "drivable",
        "pavement": "non-drivable",
        "car": "vehicles",
        "pedestrian": "living things",
        "bicyclist": "living things",
    }
    assert {name: idd.names[owners[name]] for name in load_space("camvid11").names} == wanted


def space_of(**changes: object) -> LabelSpace:
    classes = [{"name": "road", "color": [1, 2, 3]}, {"name": "sky", "color": [4, 5, 6]}]
    return LabelSpace.model_validate({"name": "mine", "classes": classes, **changes})


def test_a_name_may_belong_to_one_class_only() -> None:
    with pytest.raises(ValueError, match="'road' is named twice"):
        space_of(
            classes=[
                {"name": "road", "color": [1, 2, 3]},
                {"name": "sky", "color": [4, 5, 6], "members": ["road"]},
            ]
        )


def test_a_subset_names_known_classes_and_numbers_are_taken_as_names() -> None:
    with pytest.raises(ValueError, match="subset 1: no class 'rode', did you mean 'road'"):
        space_of(subsets={1: ["rode"]})
    assert space_of(subsets={1: ["sky"]}).subset_indices("1") == (1,)


def test_a_wrong_file_is_told_by_name_and_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nclasses: [{name: road, color: [1, 2, 300]}]\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: classes\.0\.color\.2"):
        load_space(str(file))
    with pytest.raises(ConfigError, match="did you mean 'cityscapes19'"):
        load_space("cityscapes")
