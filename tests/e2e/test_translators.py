"""`uda translate` with every translator: what is fitted and rendered, once or again, and what is refused before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from tests.e2e.conftest import Trail, call, must, pixels
from uda.core.manifest import read_manifest
from uda.core.rundir import RunDirectory
from uda.data.augment import Pixels
from uda.data.label_space import load_space
from uda.data.matching import agreement
from uda.engine import loop
from uda.stages._render import Renderer


def test_translate_renders_each_image_and_carries_its_label(trail: Trail) -> None:
    before, after = pd.read_csv(trail.csv("source")), pd.read_csv(trail.translated / "samples.csv")
    assert len(after) == len(before)
    space = load_space("cityscapes19")
    for row in after.itertuples():
        image, label = pixels(trail.translated / str(row.image)), pixels(trail.translated / str(row.label))
        assert image.shape == (*label.shape, 3) == (64, 128, 3)
        assert set(np.unique(label)) <= {*range(len(space.classes)), 255}
        assert image.std() > 1
    there_and_back = pd.read_csv(trail.translated / "target_samples.csv")
    assert len(there_and_back) == 8
    assert (trail.translated / "grid.png").is_file()


def test_a_fitted_translator_renders_again_the_same(trail: Trail, tmp_path: Path) -> None:
    must(
        "translate", "--config", "translate/minicity", "--tiny", "--source", trail.csv("source"), "--target",
        trail.csv("train"), "--guide", trail.first, "--translator", trail.translated, "--out", tmp_path / "again",
    )  # fmt: skip
    for row in pd.read_csv(trail.translated / "samples.csv").itertuples():
        assert (tmp_path / "again" / str(row.image)).read_bytes() == (trail.translated / str(row.image)).read_bytes()


def test_several_samples_of_each_image(trail: Trail, tmp_path: Path) -> None:
    given: tuple[str | Path, ...] = ("--config", "translate/color_transfer", "--tiny", "--source", trail.csv("source"))
    given = (*given, "--target", trail.csv("train"))
    must("translate", *given, "--out", tmp_path / "one")
    must("translate", *given, "--set", "samples=2", "--out", tmp_path / "two")
    one, two = (pd.read_csv(tmp_path / name / "samples.csv", dtype=str) for name in ("one", "two"))
    assert "input" not in one
    assert [Path(name).stem for name in one["image"]] == list(two["input"][::2]) == list(two["input"][1::2])
    for index, row in enumerate(one.itertuples()):
        first, second = (tmp_path / "two" / two["image"][2 * index + number] for number in (0, 1))
        assert first.read_bytes() == (tmp_path / "one" / str(row.image)).read_bytes()
        assert pixels(tmp_path / "two" / two["label"][2 * index]).shape == pixels(second).shape[:2]
    assert any(
        (tmp_path / "two" / two["image"][at]).read_bytes() != (tmp_path / "two" / two["image"][at + 1]).read_bytes()
        for at in range(0, len(two), 2)
    )
    measured = ("quality", "--config", "quality/minicity", "--tiny", "--images", tmp_path / "two/samples.csv")
    answer = must(*measured, "--real", trail.csv("train"), "--out", tmp_path / "quality")
    assert "no input has several samples" not in answer.err


def test_a_fit_goes_on_from_another_ones_weights(trail: Trail, tmp_path: Path) -> None:
    given = ("--source", trail.csv("source"), "--target", trail.csv("train"), "--init", trail.translated)
    still = [f"--set=translator.optimizers.{player}.lr=1e-12" for player in ("generator", "discriminator")]
    guide = ("--guide", trail.first)
    must("translate", "--config", "translate/minicity", "--tiny", *given, *guide, *still, "--out", tmp_path / "still")
    before, after = (load_file(one / "translator.safetensors") for one in (trail.translated, tmp_path / "still"))
    for name, tensor in after.items():
        # Spectral norm's vectors turn with every step; averages start anew.
        if not name.endswith(("_u", "_v")) and not name.startswith("averaged_"):
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=1e-6)
    answer = call("translate", "--config", "translate/identity", *given, "--out", tmp_path / "none")
    assert answer.code == 2 and "identity is not fitted; leave --init out" in answer.err


def test_a_guide_takes_the_statistics_of_each_domain_or_a_mixture(trail: Trail, tmp_path: Path) -> None:
    given: tuple[str | Path, ...] = ("--source", trail.csv("source"), "--target", trail.csv("train"))
    given += ("--guide", trail.first, "--translator", trail.translated)
    given += ("--set", "guide_statistics=8", "--set", "render_target=true")
    made = [trail.translated]
    for prior in (0, 8):
        made.append(tmp_path / str(prior))
        more = ("--set", f"guide_prior={prior}", "--out", made[-1])
        must("translate", "--config", "translate/minicity", "--tiny", *given, *more)
    other = ("--target", trail.csv("val"), "--out", tmp_path / "other")
    must("translate", "--config", "translate/minicity", "--tiny", *given, *other)

    def images(directory: Path, csv: str) -> list[bytes]:
        return [(directory / str(row.image)).read_bytes() for row in pd.read_csv(directory / csv).itertuples()]

    assert images(made[0], "samples.csv") != images(made[1], "samples.csv")
    # The prior is about the guide on target images alone.
    assert images(made[1], "samples.csv") == images(made[2], "samples.csv")
    assert images(made[1], "target_samples.csv") != images(made[2], "target_samples.csv")
    # The guide on source images has their statistics, whatever the target is.
    assert images(made[1], "samples.csv") == images(tmp_path / "other", "samples.csv")


@pytest.mark.parametrize("method", ["munit", "sggan"])
def test_target_crops_are_chosen_by_what_they_show(trail: Trail, tmp_path: Path, method: str) -> None:
    given = ("--tiny", "--source", trail.csv("source"), "--target", trail.csv("train"), "--set", "target_candidates=3")
    maps = ("--pseudo", trail.pseudo / "samples.csv") if method == "sggan" else ()
    fit = ("translate", "--config", f"translate/{method}", *given, *maps, "--guide", trail.first)
    must(*fit, "--out", tmp_path / "most")
    asked = []

    def least(label_HW: Pixels, classes_HW: Pixels) -> float:
        asked.append(label_HW.shape)
        assert classes_HW.shape == label_HW.shape
        return -agreement(label_HW, classes_HW)

    with mock.patch("uda.engine.stream.agreement", least):
        must(*fit, "--out", tmp_path / "least")
    assert asked and len(asked) % 3 == 0
    most, least_alike = (load_file(tmp_path / one / "translator.safetensors") for one in ("most", "least"))
    assert any(not torch.equal(tensor, most[name]) for name, tensor in least_alike.items())


def test_a_fit_leaves_rows_out_and_renders_them(city: Trail, tmp_path: Path) -> None:
    data = shutil.copytree(city.data, tmp_path / "data")
    for file in [
        *(data / "gta5" / "images").iterdir(),
        *(data / "cityscapes" / "leftImg8bit" / "train").rglob("*.png"),
    ]:
        painted = pixels(file).copy()
        painted[-8:] = (255, 0, 255)
        Image.fromarray(painted).save(file)
    must("prepare", "gta5", data / "gta5", "--out", tmp_path / "source.csv")
    must("prepare", "cityscapes", data / "cityscapes", "--split", "train", "--out", tmp_path / "train.csv")
    fit = (
        "translate",
        "--config",
        "translate/munit",
        "--tiny",
        "--set",
        "rows=[0, 0.75]",
        "--set",
        "augment.crop=[48, 64]",
    )
    must(*fit, "--source", city.csv("source"), "--target", city.csv("train"), "--out", tmp_path / "as_is")
    must(*fit, "--source", tmp_path / "source.csv", "--target", tmp_path / "train.csv", "--out", tmp_path / "painted")
    one, other = (load_file(tmp_path / name / "translator.safetensors") for name in ("as_is", "painted"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    images = pd.read_csv(tmp_path / "as_is" / "samples.csv")["image"]
    assert all(pixels(tmp_path / "as_is" / name).shape == (64, 128, 3) for name in images)


def test_crops_that_cannot_be_taken_so_are_told_before_the_fit(trail: Trail, tmp_path: Path) -> None:
    given = ("--tiny", "--source", trail.csv("source"), "--target", trail.csv("train"), "--out", tmp_path / "none")
    guide, pseudo = ("--guide", trail.first), ("--pseudo", trail.pseudo / "samples.csv")
    for config, inputs, settings, told in (
        ("munit", (), "target_candidates=3", "target_candidates: a segmenter must see which crops are alike"),
        (
            "oasis",
            (*guide, *pseudo),
            "target_candidates=3",
            "target_candidates: oasis compares no target crop with a source crop; set it to 1",
        ),
        (
            "minicity",
            guide,
            "rows=[0.25, 0.75]",
            "rows: 32 rows of 64 are fewer than a crop's 56; set augment.crop to 32",
        ),
        (
            "minicity",
            guide,
            "rows=[0.75, 0.25]",
            "rows: 0 rows of 64 are fewer than a crop's 56; let it see more: write [first, last]",
        ),
        ("color_transfer", (), "rows=[0, 0.9]", "--set rows=[0, 0.9]: color_transfer is not fitted; leave it out"),
        ("minicity", guide, "augment.crop=[64, 192]", "crops of 64x192 are larger than the images, 64x128"),
        ("minicity", guide, "fit.images=0", "fit.images: nothing is learnt from 0 images"),
    ):
        refused = call("translate", "--config", f"translate/{config}", *given, *inputs, "--set", settings)
        assert refused.code == 2 and told in refused.err, refused.err
    larger = ("--set", "translator.discriminator_layers=4", "--set", "rows=[0.25, 0.5]")  # no crop of 16 rows is enough
    refused = call("translate", "--config", "translate/minicity", *given, *guide, *larger)
    assert "16 rows of 64 are fewer than a crop's 56; let it see more: write [first, last]" in refused.err
    assert not (tmp_path / "none").exists()
    (tmp_path / "rows.yaml").write_text("rows: [0.25, 0.75]\n")
    rendering = ("--config", tmp_path / "rows.yaml", "--translator", trail.translated, "--out", tmp_path / "made")
    must("translate", "--config", "translate/minicity", *given[:5], *guide, *rendering)


TRANSLATORS = (
    "cyclegan", "cyclegan_bdl", "fda", "munit", "oasis", "pix2pix", "semgan", "semi_paired", "sggan", "spade", "tcr",
    "unit", "usis",
)  # fmt: skip


@pytest.mark.parametrize("name", TRANSLATORS)
def test_every_translator_renders_the_source(trail: Trail, tmp_path: Path, name: str) -> None:
    given: list[object] = ["--config", f"translate/{name}", "--tiny"]
    given += ["--source", trail.csv("source"), "--target", trail.csv("train")]
    if name == "cyclegan_bdl":
        given += ["--guide", trail.first]
    if name in ("oasis", "semi_paired", "spade", "tcr"):
        given += ["--pairs", trail.csv("train")]
    if name in ("pix2pix", "semgan", "sggan"):
        given += ["--pseudo", trail.pseudo / "samples.csv"]
    must("translate", *given, "--out", tmp_path / name)
    assert len(pd.read_csv(tmp_path / name / "samples.csv")) == 10
    if name == "oasis":  # its discriminator is a segmenter
        scored = ("evaluate", "--config", "evaluate/minicity", "--tiny", "--target", trail.csv("val"))
        must(*scored, "--segmenter", tmp_path / name, "--out", tmp_path / "score")


@pytest.mark.parametrize("name", [name for name in TRANSLATORS if name != "cyclegan_bdl"])
def test_a_method_that_is_chosen_brings_its_own_recipe(trail: Trail, tmp_path: Path, name: str) -> None:
    given: tuple[str | Path, ...] = ("--source", trail.csv("source"), "--target", trail.csv("train"))
    if name not in ("cyclegan", "fda", "munit", "sait", "unit", "usis"):
        given += ("--pairs", trail.csv("train"))
    rest = ("--guide", trail.first, "--tiny", "--dry-run", "--out", tmp_path / "out")
    by_name = must("translate", *given, *rest, "--set", f"translator.name={name}")
    said = f"translate: no --config: the recipe is translate/{name}, of the translator that is chosen\n"
    assert (said in by_name.err) is (name != "sait")
    asked = ("--set", f"translator.name={name}", "--json")
    one, other = (
        json.loads(must("settings", "translate", *asked, *config).out)
        for config in ((), ("--config", f"translate/{name}"))
    )
    assert one == other


def test_only_a_methods_name_brings_a_recipe_however_it_is_written() -> None:
    said = "the recipe is translate/fda, of the translator that is chosen"
    for text in ("translator=fda", "translator.name=fda", 'translator.name="fda"', "translator={name: fda}"):
        assert said in must("settings", "translate", "--set", text).err
    assert "recipe" not in must("settings", "translate", "--set", "translator.width=8").err
    answer = call("settings", "translate", "--set", "translator.name=minicity")
    assert answer.code == 2 and "unknown method 'minicity'" in answer.err and "recipe" not in answer.err


def test_a_fit_whose_settings_nothing_read_still_renders(trail: Trail, tmp_path: Path) -> None:
    shutil.copytree(trail.translated, tmp_path / "fitted")
    file = tmp_path / "fitted" / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["translator"]["schedule"] |= {"gamma": 0.25}
    settings["translator"]["optimizers"]["generator"] |= {"momentum": 0.5}
    file.write_text(yaml.safe_dump(settings))
    given = ("--source", trail.csv("source"), "--target", trail.csv("train"), "--guide", trail.first)
    must("translate", *given, "--translator", tmp_path / "fitted", "--out", tmp_path / "again")
    assert len(pd.read_csv(tmp_path / "again" / "samples.csv")) == 10


def test_a_segmenter_is_no_translator_with_or_without_a_config(trail: Trail, tmp_path: Path) -> None:
    given = ("--source", trail.csv("source"), "--target", trail.csv("train"), "--out", tmp_path / "out")
    for option in ("--translator", "--init"):
        for config in ((), ("--config", "translate/minicity")):
            answer = call("translate", *given, "--guide", trail.first, option, trail.first, *config)
            said = f"error: {trail.first}: holds a segmenter, no translator; give the directory of a finished translate"
            assert answer.code == 3 and answer.err.splitlines()[-1] == said


@pytest.mark.parametrize("translator", ["identity"])
def test_other_translators_go_through_the_same_command(city: Trail, tmp_path: Path, translator: str) -> None:
    must(
        "translate", "--config", f"translate/{translator}", "--tiny", "--source", city.csv("source"), "--target",
        city.csv("train"), "--out", tmp_path / translator,
    )  # fmt: skip
    assert len(pd.read_csv(tmp_path / translator / "samples.csv")) == 10


def test_target_images_are_made_anew_with_the_maps_that_were_found_in_them(trail: Trail, tmp_path: Path) -> None:
    given: tuple[str | Path, ...] = ("translate", "--config", "translate/oasis", "--tiny")
    given += ("--source", trail.csv("source"), "--set", "recreate_target=true")
    fresh, again = tmp_path / "fresh", tmp_path / "again"
    must(*given, "--target", trail.csv("train"), "--pairs", trail.csv("train"), "--out", fresh)
    assert len(pd.read_csv(fresh / "samples.csv")) == 10
    table, target = pd.read_csv(fresh / "recreated_samples.csv"), pd.read_csv(trail.csv("train"))
    assert [Path(name).name for name in table["image"]] == [Path(name).name for name in target["image"]]
    for row in table.itertuples():
        image, label = pixels(fresh / str(row.image)), pixels(fresh / str(row.label))
        assert image.shape == (*label.shape, 3) == (64, 128, 3)
        assert set(np.unique(label)) <= set(range(19))  # every pixel has a class
    assert set(table["dataset"]) == {"dataset.yaml"}
    # The same from a fitted translator, several times over, and without the target's own labels.
    target["image"], target["label"] = [str((trail.root / name).resolve()) for name in target["image"]], ""
    target.to_csv(tmp_path / "blind.csv", index=False)
    must(*given, "--target", tmp_path / "blind.csv", "--translator", fresh, "--set", "samples=2", "--out", again)
    twice = pd.read_csv(again / "recreated_samples.csv", dtype=str)
    assert len(twice) == 2 * len(table) == len(set(twice["image"]))
    for index, row in enumerate(table.itertuples()):
        first, second = (twice.iloc[2 * index + number] for number in (0, 1))
        assert (again / first["image"]).read_bytes() == (fresh / str(row.image)).read_bytes()
        assert first["label"] == second["label"]
        assert (again / first["label"]).read_bytes() == (fresh / str(row.label)).read_bytes()


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("identity", "recreate_target", "identity has no discriminator that segments, to make target images anew"),
        ("oasis", "render_target", "oasis renders one way only"),
    ],
)
def test_a_way_that_a_translator_has_not_is_told_before_it_is_fitted(
    city: Trail, tmp_path: Path, name: str, setting: str, said: str
) -> None:
    given = ("--source", city.csv("source"), "--target", city.csv("train"), "--out", tmp_path / "out")
    answer = call("translate", "--config", f"translate/{name}", "--tiny", *given, "--set", f"{setting}=true")
    assert answer.code == 2 and answer.err.splitlines()[-1] == f"error: {setting}: {said}; set it to false"
    assert not (tmp_path / "out").exists()


def test_translate_says_before_it_starts_what_its_inputs_lack(city: Trail, trail: Trail, tmp_path: Path) -> None:
    given = ("--tiny", "--source", city.csv("source"), "--target", city.csv("train"), "--out", tmp_path / "out")
    unguided = call("translate", "--config", "translate/minicity", *given)
    assert unguided.code == 2 and "needs a segmenter as guide" in unguided.err and "give --guide" in unguided.err
    unjudged = call("translate", "--config", "translate/unit", *given, "--set", "translator.weights.symmetric_ce=0.1")
    assert unjudged.code == 2 and "unit as configured needs a segmenter as guide" in unjudged.err
    pseudo = ("--pseudo", trail.pseudo / "samples.csv")
    paired = call("translate", "--config", "translate/munit", *given, *pseudo)
    assert paired.code == 2 and "munit learns from no pairs" in paired.err
    assert not (tmp_path / "out").exists()


def test_a_guide_is_asked_for_rendering_where_it_renders_alone(city: Trail, trail: Trail, tmp_path: Path) -> None:
    """One whose fit alone asks the segmenter renders without; one that renders by what it sees says so."""
    data = ("--source", city.csv("source"), "--target", city.csv("train"))
    fitted, small = tmp_path / "fitted", ("--config", "translate/minicity_unit", "--tiny", "--set", "fit.images=2")
    must("translate", *small, *data, "--guide", trail.first, "--set", "class_tones=0", "--out", fitted)
    must("translate", *data, "--translator", fitted, "--out", tmp_path / "without")
    told = must("translate", *data, "--translator", fitted, "--guide", trail.first, "--out", tmp_path / "with").err
    assert "unit is fitted, and asks no segmenter any more; --guide is shown in grid.png alone" in told
    made = [pd.read_csv(tmp_path / out / "samples.csv")["image"] for out in ("without", "with")]
    assert len(made[0]) == 10 and list(made[0]) == list(made[1])
    for image in made[0]:
        assert (tmp_path / "without" / image).read_bytes() == (tmp_path / "with" / image).read_bytes()
    answer = call("translate", *data, "--translator", trail.translated, "--out", tmp_path / "refused")
    assert answer.code == 2 and "sait as configured needs a segmenter as guide" in answer.err


def test_rendering_that_was_interrupted_goes_on_without_fitting_again(
    trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (
        "translate", "--config", "translate/minicity", "--tiny", "--source", trail.csv("source"), "--target",
        trail.csv("train"), "--guide", trail.first, "--set", "render_target=true", "--out", tmp_path / "out",
    )  # fmt: skip
    render = Renderer.render

    def half(self: Renderer, samples: Any, others: Any, *, direction: Any) -> int:
        if direction == "target_to_source":
            raise KeyboardInterrupt
        return render(self, samples, others, direction=direction)

    def fit(*_: object) -> dict[str, float]:
        raise AssertionError("fitted again")

    with monkeypatch.context() as patch:
        patch.setattr(Renderer, "render", half)
        assert call(*command).code == 130
    monkeypatch.setattr(loop, "fit", fit)
    must(*command)
    whole, pieces = read_manifest(trail.translated), read_manifest(tmp_path / "out")
    assert whole is not None and pieces is not None
    assert set(pieces.metrics) == set(whole.metrics) - {"rendered_per_second"}  # nothing was left to render
    for name in ("images", "target_images"):
        for file in sorted((trail.translated / name).iterdir()):
            assert file.read_bytes() == (tmp_path / "out" / name / file.name).read_bytes()


def test_images_whose_labels_were_not_yet_written_are_rendered_again(
    trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (
        "translate", "--config", "translate/identity", "--tiny", "--source", trail.csv("source"), "--target",
        trail.csv("train"), "--out", tmp_path / "out",
    )  # fmt: skip
    write = RunDirectory.write

    def until_labels(self: RunDirectory, name: str, data: bytes) -> Any:
        if name.startswith("labels/"):
            raise KeyboardInterrupt
        return write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write", until_labels)
        assert call(*command).code == 130
    must(*command)
    images, labels = ({file.name for file in (tmp_path / "out" / name).iterdir()} for name in ("images", "labels"))
    assert images == labels
    assert len(labels) == len(pd.read_csv(trail.csv("source")))
