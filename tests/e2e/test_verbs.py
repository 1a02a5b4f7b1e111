"""Every verb through the command line, on a tiny mini-city: what it leaves, and that results hold together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from tests.e2e.conftest import SEGMENT, Trail, call, must
from uda.core.manifest import MANIFEST, read_manifest
from uda.core.resources import find_yaml
from uda.data.augment import Pixels
from uda.data.label_space import load_space
from uda.data.matching import agreement


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_prepare_counts_what_is_there(city: Trail) -> None:
    for name, images in (("source", 10), ("synthia", 10), ("train", 8), ("val", 4)):
        table = pd.read_csv(city.csv(name))
        assert len(table) == images
        assert set(table.columns) >= {"image", "label", "dataset"}
        found = json.loads(city.csv(name).with_suffix(".json").read_text())
        assert found["defects"] == []


def test_the_ideal_translation_has_the_games_labels_in_another_look(city: Trail, tmp_path: Path) -> None:
    given = ("--set", "gta5=2", "--set", "synthia=0", "--set", "cityscapes_train=0", "--set", "cityscapes_val=0")
    must("minicity", "--tiny", *given, "--set", "ideal=true", "--out", tmp_path / "data")
    game, ideal = tmp_path / "data/gta5", tmp_path / "data/ideal"
    files = sorted(path.relative_to(ideal) for path in ideal.rglob("*.png"))
    assert files == sorted(path.relative_to(game) for path in game.rglob("*.png")) and len(files) == 4
    for file in files:
        assert ((game / file).read_bytes() == (ideal / file).read_bytes()) is (file.parts[0] == "labels")
    answer = call("minicity", "--set", "gta5=0", "--set", "ideal=true", "--out", tmp_path / "none")
    assert answer.code == 2 and "ideal draws the images of gta5, which is 0" in answer.err


def test_each_stage_says_it_is_complete(trail: Trail) -> None:
    for directory, stage in (
        (trail.data, "minicity"),
        (trail.first, "segment"),
        (trail.translated, "translate"),
        (trail.pseudo, "pseudo-label"),
        (trail.score, "evaluate"),
    ):
        manifest = read_manifest(directory)
        assert manifest is not None and manifest.stage == stage
        assert not directory.with_name(directory.name + ".partial").exists()


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


def test_target_crops_are_chosen_by_what_they_show(trail: Trail, tmp_path: Path) -> None:
    given = ("--tiny", "--source", trail.csv("source"), "--target", trail.csv("train"), "--set", "target_candidates=3")
    fit = ("translate", "--config", "translate/munit", *given, "--guide", trail.first)
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
            "oasis learns from no unpaired target images to choose from",
        ),
        (
            "minicity",
            guide,
            "rows=[0.25, 0.75]",
            "rows: 32 rows of 64 are fewer than a crop's 56; set augment.crop to 32",
        ),
        ("minicity", guide, "rows=[0.75, 0.25]", "rows: 0 rows of 64 are fewer than a crop's 56; write [first, last]"),
        ("color_transfer", (), "rows=[0, 0.9]", "rows: color_transfer is not fitted; leave them out"),
        ("minicity", guide, "augment.crop=[64, 192]", "crops of 64x192 are larger than the images, 64x128"),
        ("minicity", guide, "fit.images=0", "fit.images: nothing is learnt from 0 images"),
    ):
        refused = call("translate", "--config", f"translate/{config}", *given, *inputs, "--set", settings)
        assert refused.code == 2 and told in refused.err, refused.err
    assert not (tmp_path / "none").exists()
    rendering = ("--translator", trail.translated, "--set", "rows=[0.25, 0.75]", "--out", tmp_path / "made")
    must("translate", "--config", "translate/minicity", *given[:5], *guide, *rendering)


def test_configs_are_laid_over_one_another(tmp_path: Path) -> None:
    over = tmp_path / "over.yaml"
    over.write_text("cityscapes_val: 1\ntiny: {gta5: 2, cityscapes_train: 0}\n")
    must("minicity", "--config", "minicity/standard", "--config", over, "--tiny", "--out", tmp_path / "city")
    kept = yaml.safe_load((tmp_path / "city" / "config.yaml").read_text())
    assert (kept["gta5"], kept["cityscapes_train"]) == (2, 0)
    alone = yaml.safe_load(find_yaml("configs", "minicity/standard").read_text())["tiny"]
    assert kept["height"] == alone["height"]
    assert len(list((tmp_path / "city" / "gta5" / "images").iterdir())) == 2


def test_a_segmenter_takes_the_statistics_of_the_target(trail: Trail, tmp_path: Path) -> None:
    given: tuple[str | Path, ...] = ("--config", "segment/minicity", "--tiny", "--set", "adversary=null")
    given += ("--set", "optimizer.lr=1e-12", "--set", "optimizer.weight_decay=0")
    given += ("--set", "target_statistics=8", "--init", trail.first)
    must(
        "segment", *given, "--source", trail.csv("source"), "--target", trail.csv("train"), "--out", tmp_path / "made"
    )  # fmt: skip
    before, after = (load_file(one / "segmenter.safetensors") for one in (trail.first, tmp_path / "made"))
    for name, tensor in after.items():
        statistic = name.endswith(("running_mean", "running_var"))
        assert (
            name.endswith("num_batches_tracked")
            or torch.allclose(tensor, before[name], rtol=0, atol=1e-6) is not statistic
        ), name
    must(
        "segment", *given, "--source", trail.csv("val"), "--target", trail.csv("train"), "--out", tmp_path / "other"
    )  # fmt: skip
    other = load_file(tmp_path / "other" / "segmenter.safetensors")
    for name in after:  # the source has no part in them
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(after[name], other[name], rtol=1e-4, atol=1e-6)
    sets = ("--source", trail.csv("source"), "--target", trail.csv("train"))
    must("segment", *given, "--set", "statistics_prior=8", *sets, "--out", tmp_path / "mixed")
    mixed = load_file(tmp_path / "mixed" / "segmenter.safetensors")
    changed = {name for name, tensor in after.items() if not torch.allclose(tensor, mixed[name], rtol=0, atol=1e-6)}
    assert changed and all(name.endswith(("running_mean", "running_var")) for name in changed)
    answer = call("segment", *given, "--source", trail.csv("source"), "--out", tmp_path / "none")
    assert answer.code == 2 and "no target images to estimate statistics from" in answer.err
    prior = ("--set", "target_statistics=0", "--set", "statistics_prior=8", "--set", "adversary.name=output_space")
    answer = call("segment", "--config", "segment/minicity", "--tiny", *prior, *sets, "--out", tmp_path / "none")
    assert answer.code == 2 and "statistics_prior: no statistics are estimated" in answer.err


def test_a_segmenter_is_kept_as_it_comes_where_nothing_is_to_be_learnt(trail: Trail, tmp_path: Path) -> None:
    """As public weights are: without a step, with the target's statistics where they are asked for."""
    public = tmp_path / "public.pth"
    torch.save(load_file(trail.first / "segmenter.safetensors"), public)
    given: tuple[str | Path, ...] = ("--config", "segment/minicity", "--tiny", "--set", "adversary=null")
    given += ("--set", "fit.images=0", "--source", trail.csv("source"))
    plain = ("--set", "target_statistics=0", "--init", public, "--out", tmp_path / "plain")
    assert "tensors loaded, 0 skipped, 0 not in the file" in must("segment", *given, *plain).err
    first, kept = (load_file(one / "segmenter.safetensors") for one in (trail.first, tmp_path / "plain"))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in first.items())
    manifest = read_manifest(tmp_path / "plain")
    assert manifest is not None and "public.pth" in manifest.metrics["weights"]
    adapted = (
        "--target",
        trail.csv("train"),
        "--set",
        "target_statistics=8",
        "--init",
        public,
        "--out",
        tmp_path / "a",
    )
    must("segment", *given, *adapted)
    moved = load_file(tmp_path / "a" / "segmenter.safetensors")
    changed = {name for name, tensor in first.items() if not torch.equal(tensor, moved[name])}
    assert changed and all("running" in name or "num_batches" in name for name in changed)
    answer = call("segment", *given, "--set", "target_statistics=0", "--out", tmp_path / "none")
    assert answer.code == 2 and "nothing is learnt from 0 images; give --init" in answer.err.replace("fit.images: ", "")


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


def test_pseudo_labels_are_classes_or_nothing(trail: Trail) -> None:
    table = pd.read_csv(trail.pseudo / "samples.csv")
    assert len(table) == 8
    kept = 0
    for row in table.itertuples():
        label = pixels(trail.pseudo / str(row.label))
        assert set(np.unique(label)) <= {*range(19), 255}
        kept += int((label != 255).sum())
    manifest = read_manifest(trail.pseudo)
    assert manifest is not None
    assert kept == sum(one["pixels"] for one in manifest.metrics["classes"].values()) > 0
    assert manifest.metrics["coverage"] == pytest.approx(kept / (8 * 64 * 128))


def test_evaluating_a_segmenter_or_its_predictions_is_the_same(trail: Trail, tmp_path: Path) -> None:
    images = [str(row.image) for row in pd.read_csv(trail.csv("val")).itertuples()]
    files = [Path(one) if Path(one).is_absolute() else trail.root / one for one in images]
    size = ("--set", "size=[64,128]")
    answer = must("predict", "--segmenter", trail.second, *files, *size, "--out", tmp_path / "predicted")
    assert len(answer.out.split()) >= len(files)
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in files:
        (label,) = [one for one in (tmp_path / "predicted").rglob(f"{file.stem}*.png") if "overlay" not in str(one)]
        shutil.copy(label, flat / f"{file.stem}.png")
    given = ("evaluate", "--config", "evaluate/minicity", "--tiny", "--target", trail.csv("val"))
    must(*given, "--predictions", flat, "--out", tmp_path / "score")
    one, other = (json.loads((where / "report.json").read_text()) for where in (trail.score, tmp_path / "score"))
    assert other["iou"] == one["iou"]
    table = pd.read_csv(trail.score / "iou.csv")
    assert list(table.columns[:3]) == ["class", "iou", "pixels"] and len(table) == 19


def test_a_second_run_is_skipped_and_force_runs_again(trail: Trail) -> None:
    command: tuple[str | Path, ...] = ("evaluate", "--config", "evaluate/minicity", "--tiny")
    command += ("--target", trail.csv("val"), "--segmenter", trail.second, "--out", trail.score)
    before = (trail.score / MANIFEST).read_bytes()
    assert "would skip (complete" in must(*command, "--dry-run").out
    must(*command)
    assert (trail.score / MANIFEST).read_bytes() == before
    assert "would run (--force)" in must(*command, "--dry-run", "--force").out


def test_json_prints_the_metrics(trail: Trail) -> None:
    command = ("evaluate", "--config", "evaluate/minicity", "--tiny", "--target", trail.csv("val"))
    answer = must(*command, "--segmenter", trail.second, "--out", trail.score, "--json")
    assert json.loads(answer.out)["miou"] >= 0


def test_report_shows_single_stages(trail: Trail, tmp_path: Path) -> None:
    answer = must("report", trail.score, trail.pseudo, trail.translated, "--out", tmp_path / "page.html")
    assert answer.out.strip() == str(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "traffic light" in page and "data:image/png;base64," in page


def test_verify_finds_a_changed_byte(trail: Trail, tmp_path: Path) -> None:
    assert "agree" in must("verify", trail.pseudo, "--deep").out
    copy = tmp_path / "pseudo"
    shutil.copytree(trail.pseudo, copy)
    label = next((copy / "labels").iterdir())
    label.write_bytes(label.read_bytes()[:-1] + b"\0")
    answer = call("verify", copy, "--deep")
    assert answer.code == 3 and label.name in answer.out


def test_list_show_and_doctor_answer() -> None:
    assert {"sait", "munit", "color_transfer", "identity"} <= {
        line.split()[0] for line in must("list", "translators").out.splitlines()
    }
    assert "label_space: cityscapes19" in must("show", "minicity_full").out
    assert "torch" in must("doctor").out


@pytest.mark.parametrize("translator", ["identity"])
def test_other_translators_go_through_the_same_command(city: Trail, tmp_path: Path, translator: str) -> None:
    must(
        "translate", "--config", f"translate/{translator}", "--tiny", "--source", city.csv("source"), "--target",
        city.csv("train"), "--out", tmp_path / translator,
    )  # fmt: skip
    assert len(pd.read_csv(tmp_path / translator / "samples.csv")) == 10


def test_translate_says_before_it_starts_what_its_inputs_lack(city: Trail, trail: Trail, tmp_path: Path) -> None:
    given = ("--tiny", "--source", city.csv("source"), "--target", city.csv("train"), "--out", tmp_path / "out")
    unguided = call("translate", "--config", "translate/minicity", *given)
    assert unguided.code == 2 and "needs a segmenter as guide" in unguided.err and "give --guide" in unguided.err
    pseudo = ("--pseudo", trail.pseudo / "samples.csv")
    paired = call("translate", "--config", "translate/munit", *given, *pseudo)
    assert paired.code == 2 and "munit learns from no pairs" in paired.err
    assert not (tmp_path / "out").exists()


def test_a_segmenter_learns_from_more_labelled_images_by_turns(city: Trail, trail: Trail, tmp_path: Path) -> None:
    fit = ("segment", *SEGMENT, "--target", city.csv("train"), "--source", city.csv("source"))

    def weights(images: int, *more: str | Path) -> dict[str, torch.Tensor]:
        out = tmp_path / f"{images}{len(more)}"
        must(*fit, "--set", f"fit.images={images}", "--set", "fit.batch=4", *more, "--out", out)
        found: dict[str, torch.Tensor] = load_file(out / "segmenter.safetensors")
        return found

    def same(images: int) -> bool:
        alone, both = weights(images), weights(images, "--also", city.csv("synthia"))
        return all(torch.equal(tensor, both[name]) for name, tensor in alone.items())

    assert same(4)  # the first batch is --source's alone
    assert not same(8)
    pictures = pd.read_csv(city.csv("train"))[["image"]].assign(label="", dataset="cityscapes")
    pictures.to_csv(city.csv("bare"), index=False)
    bare = call(*fit, "--source", city.csv("source"), "--also", city.csv("bare"), "--out", tmp_path / "none")
    assert bare.code == 3 and f"{city.csv('bare')}: 8 images have no label to learn from" in bare.err


def test_a_segmenter_learns_from_two_manifests_in_true_formats(city: Trail, tmp_path: Path) -> None:
    must(
        "segment", "--config", "segment/fcn8s", "--tiny", "--source", city.csv("synthia"), "--target",
        city.csv("train"), "--out", tmp_path / "fcn8s",
    )  # fmt: skip
    terms = json.loads((tmp_path / "fcn8s" / "log.jsonl").read_text().splitlines()[-1])
    assert {"segmentation", "adversarial", "discriminator"} <= set(terms)
