"""What is wrong with labels and inputs is told before anything is fitted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.e2e.conftest import SEGMENT, Trail, call, must
from uda.data.samples import read_samples, write_samples
from uda.data.supervision import split_pairs
from uda.stages._labels import is_checked

OASIS = ("translate", "--config", "translate/oasis", "--tiny")


def by_hand(manifest: Path, folder: Path, *, rows: int = 4) -> Path:
    """The first rows of a manifest with label files of their own, which nobody has looked at."""
    folder.mkdir(parents=True)
    samples = read_samples(manifest)[:rows]
    table = pd.DataFrame([{"image": one.image, "label": one.label, "dataset": one.dataset} for one in samples])
    for number, label in enumerate(table["label"]):
        shutil.copy(label, folder / f"{number}.png")
    table["label"] = [f"{number}.png" for number in range(len(table))]
    table.to_csv(folder / "own.csv", index=False)
    return folder / "own.csv"


def spoil(label: Path, value: int, *, everywhere: bool = False) -> None:
    image = Image.open(label)
    values = np.array(image)
    values[: None if everywhere else 2] = value
    made = Image.fromarray(values)
    if image.mode == "P":
        made = made.convert("P")
        made.putdata(values.ravel().tolist())
        made.putpalette(image.getpalette() or [])
    made.save(label)


def nothing_was_fitted(out: Path) -> bool:
    return not out.exists() and not out.with_name(out.name + ".partial").joinpath("log.jsonl").exists()


def test_label_values_outside_the_table_are_told_before_the_fit(trail: Trail, tmp_path: Path) -> None:
    own = by_hand(trail.csv("source"), tmp_path / "own")
    for number in (1, 3):
        spoil(own.with_name(f"{number}.png"), 77)
    target = ("--target", trail.csv("train"))
    for name, command in {
        "segment": ("segment", *SEGMENT, *target),
        "fda": ("translate", "--config", "translate/fda", "--tiny", *target),
        "cyclegan": ("translate", "--config", "translate/cyclegan", "--tiny", *target),
    }.items():
        answer = call(*command, "--source", own, "--out", tmp_path / name)
        assert answer.code == 3
        assert "1.png: label values outside the table: 77" in answer.err
        assert "the first of 2 bad labels" in answer.err
        assert nothing_was_fitted(tmp_path / name)
    answer = call(
        "quality", "--config", "quality/minicity", "--tiny", "--images", own, "--real", trail.csv("train"),
        "--segmenter", trail.first, "--out", tmp_path / "quality",
    )  # fmt: skip
    assert answer.code == 3 and "the first of 2 bad labels" in answer.err
    assert "LAB" not in answer.err  # no distance was taken


def test_a_label_of_another_shape_is_not_the_images_own(trail: Trail, tmp_path: Path) -> None:
    own = by_hand(trail.csv("source"), tmp_path / "own")
    with Image.open(own.with_name("0.png")) as label:
        label.crop((0, 0, 40, 50)).save(own.with_name("0.png"))
    segment = ("segment", *SEGMENT, "--source", own, "--target", trail.csv("train"), "--out", tmp_path / "out")
    score = ("evaluate", "--tiny", "--segmenter", trail.first, "--target", own, "--out", tmp_path / "score")
    domains = ("--source", trail.csv("source"), "--target", trail.csv("train"))
    pairs = (*OASIS, *domains, "--pairs", own, "--out", tmp_path / "pairs")
    for command in (segment, score, pairs):
        answer = call(*command)
        assert answer.code == 3
        assert "0.png: label 50x40, image 64x128 (height x width): not one picture" in answer.err


def test_class_names_that_meet_no_class_are_told(trail: Trail, tmp_path: Path) -> None:
    own = by_hand(trail.csv("train"), tmp_path / "own")
    void = [value for value in range(256) if value not in (7, 26)]
    spec = f"name: own\nimages: i/{{id}}.png\nlabels: l/{{id}}.png\nvalues: {{Road: [7], Car: [26]}}\nvoid: {void}\n"
    (tmp_path / "own/spec.yaml").write_text(spec)
    pd.read_csv(own).assign(dataset="spec.yaml").to_csv(own, index=False)
    answer = call("segment", *SEGMENT, "--source", own, "--target", trail.csv("val"), "--out", tmp_path / "out")
    assert answer.code == 3
    assert "spec.yaml: none of its classes (Road, Car) is one of cityscapes19; did you mean 'road'?" in answer.err
    assert nothing_was_fitted(tmp_path / "out")


def test_maps_without_a_known_class_are_no_pairs(trail: Trail, tmp_path: Path) -> None:
    own = by_hand(trail.csv("train"), tmp_path / "own")
    spoil(own.with_name("2.png"), 0, everywhere=True)
    given = ("--source", trail.csv("source"), "--target", trail.csv("train"), "--pairs", own)
    few = ("--set", "fit.batch=1", "--set", "fit.images=8")
    answer = must(*OASIS, *given, *few, "--out", tmp_path / "made")
    assert "1 of 4 label maps show no known class and are no pairs" in answer.err
    assert "translate: 3 pairs" in answer.err
    for number in (0, 1, 3):
        spoil(own.with_name(f"{number}.png"), 0, everywhere=True)
    for name in ("oasis", "pix2pix", "sggan"):
        out = tmp_path / f"{name}_void"
        answer = call("translate", "--config", f"translate/{name}", "--tiny", *given, "--out", out)
        assert answer.code == 3
        assert "own.csv: no pixel of its 4 label maps is of a known class" in answer.err
        assert nothing_was_fitted(out)


def test_a_source_without_labels_cannot_be_drawn_from(trail: Trail, tmp_path: Path) -> None:
    rows = pd.read_csv(by_hand(trail.csv("source"), tmp_path / "own"))
    rows.assign(label="").to_csv(tmp_path / "own/bare.csv", index=False)
    given = ("--source", tmp_path / "own/bare.csv", "--target", trail.csv("train"))
    for name, more in {"usis": (), "oasis": ("--pairs", trail.csv("train"))}.items():
        answer = call("translate", "--config", f"translate/{name}", "--tiny", *given, *more, "--out", tmp_path / name)
        assert answer.code == 3
        assert "bare.csv: 4 images have no label to be drawn from" in answer.err


@pytest.mark.parametrize(
    ("config", "more", "told"),
    [
        ("oasis", ("--pairs", "CSV", "--pseudo", "CSV"), "takes --pairs or --pseudo, not both"),
        ("cyclegan", ("--set", "samples=3"), "samples: cyclegan as configured renders an image one way"),
        ("cyclegan", ("--set", "guide_statistics=8"), "guide_statistics: there is no guide to estimate them for"),
        ("cyclegan", ("--set", "guide_prior=8"), "guide_prior: no statistics are estimated; set guide_statistics"),
        (
            "spade",
            ("--pairs", "CSV", "--set", "translator.vgg=gone.pth", "--set", "translator.weights.vgg=10"),
            "translator.vgg: gone.pth: no such file",
        ),
        ("spade", ("--pairs", "CSV", "--set", "translator.vgg=gone.pth"), "vgg is read for weights.vgg alone"),
    ],
)
def test_inputs_and_settings_that_would_be_ignored_are_refused(
    trail: Trail, tmp_path: Path, config: str, more: tuple[str, ...], told: str
) -> None:
    given = [str(trail.csv("train")) if one == "CSV" else one for one in more]
    answer = call(
        "translate", "--config", f"translate/{config}", "--tiny", "--source", trail.csv("source"), "--target",
        trail.csv("train"), *given, "--out", tmp_path / "out",
    )  # fmt: skip
    assert answer.code == 2
    assert told in answer.err
    assert nothing_was_fitted(tmp_path / "out")


def test_labels_are_looked_at_once(trail: Trail, tmp_path: Path) -> None:
    assert is_checked(trail.csv("source"))  # by `uda prepare`
    assert is_checked(trail.translated / "samples.csv")  # the stage wrote them
    edited = tmp_path / "source.csv"
    write_samples(edited, read_samples(trail.csv("source")))
    assert not is_checked(edited)
    shutil.copy(trail.csv("source").with_suffix(".json"), edited.with_suffix(".json"))
    assert is_checked(edited) == (edited.read_bytes() == trail.csv("source").read_bytes())
    own = trail.translated.with_name("copied")
    shutil.copytree(trail.translated, own)
    (own / "mine.csv").write_bytes((own / "samples.csv").read_bytes())
    assert is_checked(own / "samples.csv") and not is_checked(own / "mine.csv")
    (own / "samples.csv").write_text((own / "samples.csv").read_text() + "\n")
    assert not is_checked(own / "samples.csv")


def test_a_manifest_that_is_no_csv_is_wrong_usage(trail: Trail, tmp_path: Path) -> None:
    answer = call("prepare", "gta5", trail.data / "gta5", "--out", tmp_path / "source.txt")
    assert answer.code == 2
    assert "source.txt: a manifest's name ends in .csv; use --out" in answer.err


def test_bad_labels_of_the_few_pairs_are_told_before_the_first_step(city: Trail, tmp_path: Path) -> None:
    table = pd.read_csv(by_hand(city.csv("train"), tmp_path / "own", rows=6))
    table.loc[3:, "label"] = None
    table.to_csv(tmp_path / "own/few.csv", index=False)
    _, (first, *_) = split_pairs([0, 1, 2], 0.4, seed=0)
    command = (
        "iterate", "--pipeline", "minicity_few_pairs", "--source", city.csv("source"), "--target",
        tmp_path / "own/few.csv", "--tiny", "--set", "translate.supervision=0.4", "--out", tmp_path / "run",
    )  # fmt: skip
    spoil(tmp_path / "own" / f"{first}.png", 77)  # no pair: its label stays closed
    planned = call(*command, "--dry-run")
    assert planned.code == 0
    assert "translate: learns from 40 % of the target's labelled rows; --set translate.supervision=1 takes all" in (
        planned.err.splitlines()
    )
    for number in range(3):
        spoil(tmp_path / "own" / f"{number}.png", 77)
    answer = call(*command)
    assert answer.code == 3 and "label values outside the table: 77" in answer.err
    assert not list((tmp_path / "run").rglob("log.jsonl"))  # nothing was fitted
