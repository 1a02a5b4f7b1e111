"""Objects of one named class turned into another's, on a folder in the layout of COCO-Stuff."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.data import fakes
from tests.e2e.conftest import Trail, call, must
from uda.data.label_space import load_space
from uda.data.spec import load_spec, mapping_table

HORSE, ZEBRA, GRASS, SKY = 18, 23, 123, 156  # numbers of COCO-Stuff's label list minus one
SIZE = (64, 128)
TRANSLATE = ("translate", "--config", "translate/semgan_transfiguration", "--tiny")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """Three images with a horse, three with a zebra, one with a speck of each, and the manifests of both animals."""
    trail = Trail(tmp_path_factory.mktemp("coco"))
    for number, animal in enumerate((HORSE, HORSE, HORSE, ZEBRA, ZEBRA, ZEBRA, GRASS)):
        ids = np.full(SIZE, GRASS, np.uint8)
        ids[:20], ids[24:56, 30:90], ids[:, :4] = SKY, animal, 255
        if animal == GRASS:
            ids[30, 40], ids[30, 60] = HORSE, ZEBRA
        fakes.save(trail.root / f"train2017/{number:012d}.jpg", fakes.picture(SIZE, number))
        fakes.save(trail.root / f"stuffthingmaps/train2017/{number:012d}.png", ids)
    for name in ("horse", "zebra"):
        chosen = ("--set", f"select.classes=[{name}]", "--set", "select.class_share=0.1")
        must("prepare", "coco_stuff", trail.root, "--split", "train2017", *chosen, "--out", trail.csv(name))
    return trail


def numbers(csv: Path) -> list[int]:
    return [int(Path(name).stem) for name in pd.read_csv(csv)["image"]]


def test_manifests_are_made_by_class(coco: Trail, tmp_path: Path) -> None:
    assert numbers(coco.csv("horse")) == [0, 1, 2] and numbers(coco.csv("zebra")) == [3, 4, 5]
    found = {one["class"]: one["images"] for one in json.loads((coco.root / "horse.json").read_text())["classes"]}
    assert (found["horse"], found["zebra"], found["sky-other"]) == (3, 0, 3)
    given = ("prepare", "coco_stuff", coco.root, "--split", "train2017", "--out", tmp_path / "some.csv")
    must(*given, "--set", "select.classes=[horse]", "--set", "select.last=2")
    assert numbers(tmp_path / "some.csv") == [2, 6]
    for wrong, code, said in (
        ("select.classes=[hors]", 2, "dataset coco_stuff: no class 'hors'; did you mean 'horse'?"),
        ("select.classes=[giraffe]", 3, "no label shows giraffe; take another split"),
        ("select.class_share=0.1", 2, "class_share is the share of some classes"),
    ):
        answer = call(*given, "--set", wrong)
        assert answer.code == code and said in answer.err


def test_horses_become_zebras_and_nothing_else_does(coco: Trail, tmp_path: Path) -> None:
    zebras = ("--target", coco.csv("zebra"), "--pairs", coco.csv("zebra"))
    must(*TRANSLATE, "--source", coco.csv("horse"), *zebras, "--out", tmp_path / "made")
    space = load_space("coco_animals")
    horse, zebra = (space.names.index(name) for name in ("horse", "zebra"))
    table = mapping_table(load_spec("coco_stuff"), space)
    made = pd.read_csv(tmp_path / "made/samples.csv")
    assert len(made) == 3
    for row in made.itertuples():
        label = pixels(tmp_path / "made" / str(row.label))
        before = table[pixels(coco.root / f"stuffthingmaps/train2017/{Path(str(row.image)).stem}.png")]
        assert pixels(tmp_path / "made" / str(row.image)).shape == (*SIZE, 3)
        assert np.array_equal(label == 255, before == 255)
        changed = label != before
        assert ((before[changed] == horse) | (label[changed] == zebra)).all()
        assert not (label[before != horse] == horse).any()
        assert (label[before == horse] != horse).any()


def test_a_class_that_is_not_there_is_told_before_anything_runs(coco: Trail, tmp_path: Path) -> None:
    given = ("--source", coco.csv("horse"), "--target", coco.csv("zebra"), "--pairs", coco.csv("zebra"))
    answer = call(*TRANSLATE, *given, "--set", "translator.classes=[horse,zebre]", "--dry-run", "--out", tmp_path / "x")
    assert answer.code == 2
    assert "translator.classes: no class 'zebre' in the label space; did you mean 'zebra'?" in answer.err
