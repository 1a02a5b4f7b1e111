"""What `uda translate` cannot do, or would pass over, is told before anything is read, and in a plan too."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.e2e.conftest import SEGMENT, Trail, call, must
from tests.e2e.test_labels_first import by_hand, spoil

PAIRS = ("--pairs", "CSV")


def refused(trail: Trail, out: Path, config: str, more: tuple[object, ...], *, code: int = 2) -> str:
    """The error of a command that was refused."""
    given = [trail.csv("train") if one == "CSV" else one for one in more]
    answer = call(
        "translate", "--config", f"translate/{config}", "--tiny", "--source", trail.csv("source"), "--target",
        trail.csv("train"), *given, "--out", out,
    )  # fmt: skip
    assert answer.code == code, answer.err
    assert not out.exists()
    return answer.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("config", "more", "told"),
    [
        (
            "pix2pix",
            (*PAIRS, "--set=translator.patch=full", "--set=augment.crop=[64,64]"),
            "augment.crop: [64, 64] is too small for translator pix2pix to be fitted to; take 96 pixels a side or "
            "more, or choose a smaller translator.patch",
        ),
        (
            "cyclegan",
            ("--set=translator.discriminator_layers=5",),
            "augment.crop: [64, 64] is too small for translator cyclegan to be fitted to; take 96 pixels a side or "
            "more, or lower translator.discriminator_layers",
        ),
        (
            "munit",
            ("--set=translator.discriminator_scales=6", "--set=augment.crop=null"),
            "size: [64, 128] is too small for translator munit to be fitted to; take 128 pixels a side or more, or "
            "lower translator.discriminator_layers, discriminator_scales or style_downsamplings",
        ),
        (
            "spade",
            (*PAIRS, "--set=translator.doublings=6", "--set=size=[64,64]", "--set=fit.batch=1"),
            "size: [64, 64] is too small for translator spade to be fitted to; take 8192 pixels (height times width) "
            "or more, or raise fit.batch",
        ),
        (
            "spade",
            (*PAIRS, "--set=translator.norm=instance", "--set=render_size=[32,32]"),
            "render_size: [32, 32] is too small for translator spade to render; take 2048 pixels (height times width) "
            "or more, or set translator.norm to batch",
        ),
        (
            "cyclegan",
            tuple(f"--set=translator.weights.{term}=0" for term in ("gan", "cycle", "identity", "discriminator")),
            "translator.weights: all weights are 0: nothing would be learnt; give a term a weight",
        ),
        (
            "cyclegan",
            ("--set=translator.optimizers.discriminater.lr=0.1",),
            "translator.optimizers.discriminater: no such player, did you mean 'discriminator'?",
        ),
        (
            "fda",
            ("--set=translator.optimizers.generator.lr=1",),
            "translator.optimizers.generator: there are no players, leave it out",
        ),
        (
            "oasis",
            (*PAIRS, "--set=translator.noise_classes=[-1]"),
            "translator.noise_classes: no class has index -1: the label space has 19; give a class's name or an index "
            "up to 18",
        ),
        (
            "fda",
            ("--set=translator.beta=0", "--set=samples=2"),
            "samples: fda as configured renders an image one way; set it to 1",
        ),
        (
            "cyclegan",
            ("--set=translator.discriminator_scales=2",),
            "translator.discriminator_scales: does nothing where discriminator is patch: leave it out, or set it to 3",
        ),
        (
            "spade",
            (*PAIRS, "--set=translator.weights.kl=0.1"),
            "translator.weights.kl: does nothing where image_encoder is false: leave it out, or set it to 0.05",
        ),
    ],
)
def test_settings_that_cannot_work_or_would_do_nothing_are_told_by_a_plan(
    trail: Trail, tmp_path: Path, config: str, more: tuple[object, ...], told: str
) -> None:
    assert told in refused(trail, tmp_path / "out", config, (*more, "--dry-run"))


def test_a_plan_of_a_loop_tells_them_too(city: Trail, tmp_path: Path) -> None:
    answer = call(
        "iterate", "--pipeline", "minicity_unpaired_labels", "--source", city.csv("source"), "--target",
        city.csv("train"), "--tiny", "--dry-run", "--out", tmp_path / "run", "--set",
        "translate.config=translate/munit", "--set", "translate.translator.discriminator_scales=6",
    )  # fmt: skip
    assert answer.code == 2
    assert "translate@1: augment.crop: [64, 64] is too small for translator munit to be fitted to" in answer.err


def test_segmenters_that_would_learn_nothing_are_told_by_a_plan(trail: Trail, tmp_path: Path) -> None:
    off = [f"--set=weights.{term}=0" for term in ("segmentation", "adversarial")]  # others have nothing to learn here
    domains = ("--source", trail.csv("source"), "--target", trail.csv("train"))
    answer = call("segment", *SEGMENT, *domains, *off, "--dry-run", "--out", tmp_path / "out")
    assert answer.code == 2
    assert (
        "weights: all weights are 0: nothing would be learnt; give segmentation or adversarial a weight" in answer.err
    )


@pytest.mark.parametrize("verb", ["segment", "translate"])
def test_manifests_of_which_nothing_would_be_drawn_are_told_before_a_fit(
    trail: Trail, tmp_path: Path, verb: str
) -> None:
    table = pd.read_csv(trail.csv("train"))
    table["image"] = [str(trail.csv("train").parent / str(name)) for name in table["image"]]
    table.assign(weight=0).to_csv(tmp_path / "none.csv", index=False)
    settings = SEGMENT if verb == "segment" else ("--config", "translate/cyclegan", "--tiny")
    domains = ("--source", trail.csv("source"), "--target", tmp_path / "none.csv")
    answer = call(verb, *settings, *domains, "--dry-run", "--out", tmp_path / "out")
    assert answer.code == 3 and "none.csv: every weight is 0, so that no image is ever drawn" in answer.err


@pytest.mark.parametrize(("content", "code"), [("other", 2), ("text", 3)])
@pytest.mark.parametrize("config", ["spade", "semi_paired"])
def test_a_file_that_is_no_vgg_19_is_told_before_labels_are_read(
    trail: Trail, tmp_path: Path, config: str, content: str, code: int
) -> None:
    file, own = tmp_path / "vgg.pth", by_hand(trail.csv("source"), tmp_path / "own")
    spoil(own.with_name("1.png"), 77)
    if content == "text":
        file.write_text("no weights")
    else:
        torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, file)
    more = (*PAIRS, f"--set=translator.vgg={file}", "--set=translator.weights.vgg=10", "--source", own)
    error = refused(trail, tmp_path / "out", config, more, code=code)
    assert f"translator.vgg: {file}: " in error
    assert ("holds no VGG-19" in error) is (content == "other")


def test_who_only_renders_takes_no_pairs_and_asks_for_none(trail: Trail, tmp_path: Path) -> None:
    fitted, out = tmp_path / "fitted", tmp_path / "out"
    data = ("--source", trail.csv("source"), "--target", trail.csv("train"))
    few = ("--config", "translate/minicity_semi_paired", "--tiny")  # half of the fit draws rare classes
    must("translate", *few, *data, "--pairs", trail.csv("train"), "--out", fitted)
    for option in ("--pairs", "--pseudo"):
        error = refused(trail, out, "minicity_semi_paired", ("--translator", fitted, option, "CSV"))
        assert error == f"error: translate: nothing learns from pairs: --translator only renders; leave {option} out"
    (tmp_path / "half.yaml").write_text("supervision: 0.5\n")
    must("translate", *few, "--config", tmp_path / "half.yaml", *data, "--translator", fitted, "--out", out)
    for image in (fitted / "images").iterdir():
        assert image.read_bytes() == (out / "images" / image.name).read_bytes()
