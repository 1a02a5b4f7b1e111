"""Options that nothing would read are refused before anything runs; what a recipe says for other uses is left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import SEGMENT, Answer, Trail, call, must
from uda.cli_settings import without_machine


def refused(*command: object) -> str:
    """The line of a command that was refused, planned or not."""
    lines = set()
    for more in ((), ("--dry-run",)):
        answer = call(*command, *more)
        assert answer.code == 2, answer.err
        lines.add(answer.err.splitlines()[-1].removeprefix("error: "))
    (line,) = lines
    return line


def translate(trail: Trail, out: Path, config: object, *more: object) -> tuple[object, ...]:
    given = ("--source", trail.csv("source"), "--target", trail.csv("train"), "--out", out)
    return ("translate", "--config", config, *given, *more)


@pytest.mark.parametrize("name", ["color_transfer", "fda", "identity"])
@pytest.mark.parametrize(
    "setting",
    [
        "fit.images=100", "fit={batch: 4}", "augment.flip=0.5", "target_candidates=8", "guide_statistics=40",
        "guide_prior=10", "rows=[0, 0.9]", "supervision=0.5", "rare_classes=0.5", "translator.schedule.power=2",
        "runtime.tensorboard=true",
    ],
)  # fmt: skip
def test_a_fit_is_not_set_where_there_is_none(city: Trail, tmp_path: Path, name: str, setting: str) -> None:
    told = refused(*translate(city, tmp_path / "out", f"translate/{name}", "--tiny", "--set", setting))
    assert told == f"--set {setting}: {name} is not fitted; leave it out"
    assert not (tmp_path / "out").exists()


def test_a_yaml_of_what_is_not_fitted_sets_no_fit(city: Trail, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    settings: dict[str, Any] = {"translator": {"name": "identity"}, "size": [64, 128], "fit": {"images": 100}}
    own.write_text(yaml.safe_dump(settings))
    command = translate(city, tmp_path / "out", own)
    recipe = "--config translate/identity, size=[HEIGHT,WIDTH] (of a pipeline's step: "
    recipe += "STEP.config=translate/identity, STEP.size=[HEIGHT,WIDTH])"
    assert (
        refused(*command)
        == f"fit.images: identity is not fitted; leave it out, or take its own recipe at your images' size: {recipe}"
    )
    own.write_text(yaml.safe_dump(settings | {"augment": {"flip": 0.5}}))
    told = "fit.images, augment.flip: identity is not fitted; leave them out, or take its own recipe"
    told += f" at your images' size: {recipe}"
    assert refused(*command) == told
    own.write_text(yaml.safe_dump(settings | {"fit": {"images": 1000, "batch": 1}}))  # as it is anyway
    must(*command, "--dry-run")


def test_a_fit_is_not_set_where_a_translator_only_renders(trail: Trail, tmp_path: Path) -> None:
    fitted = ("--tiny", "--translator", trail.translated, "--guide", trail.first)
    command = translate(trail, tmp_path / "out", "translate/minicity", *fitted)
    told = "--set fit.images=9, --set rows=[0, 0.5]: --translator only renders; leave them out"
    assert refused(*command, "--set", "fit.images=9", "--set", "rows=[0, 0.5]") == told
    must(*command, "--set", "guide_statistics=8", "--dry-run")  # it renders by what a guide sees
    must(
        *command, "--set", "class_tones=8", "--set", "rows=[0, 0.5]", "--dry-run"
    )  # the guide tells tones of these rows


def test_what_an_older_version_passed_over_does_not_hinder_rendering(city: Trail, tmp_path: Path) -> None:
    must(*translate(city, tmp_path / "made", "translate/identity", "--tiny"))
    old = shutil.copytree(tmp_path / "made", tmp_path / "old")
    settings = yaml.safe_load((old / "config.yaml").read_text())
    settings["fit"]["images"], settings["translator"]["schedule"]["power"] = 100, 2
    (old / "config.yaml").write_text(yaml.safe_dump(settings))
    _, *given = translate(city, tmp_path / "again", "none", "--translator", old, "--dry-run")
    must("translate", *given[2:])


def test_a_guide_that_is_not_asked_needs_no_statistics(trail: Trail, tmp_path: Path) -> None:
    command = translate(trail, tmp_path / "out", "translate/munit", "--tiny", "--guide", trail.first)
    told = "--set guide_statistics=8: munit as configured asks no segmenter; leave it out"
    assert refused(*command, "--set", "guide_statistics=8") == told
    must(*command, "--set", "guide_statistics=8", "--set", "target_candidates=2", "--dry-run")


@pytest.mark.parametrize(
    ("config", "off", "idle", "why"),
    [
        ("minicity", "guidance=false", "spade_hidden=16", "translator.guidance is false"),
        ("oasis", "ema=null", "statistics_batches=4", "translator.ema is null"),
        ("oasis", "noise_std=0", "noise_classes=[road]", "translator.noise_std is 0"),
        ("minicity_tcr", "weights.consistency=0", "rotation=5", "translator.weights.consistency is 0"),
    ],
)
def test_what_belongs_to_a_part_that_is_off_is_no_option(
    trail: Trail, tmp_path: Path, config: str, off: str, idle: str, why: str
) -> None:
    maps = () if config == "minicity" else ("--pairs", trail.csv("train"))
    given = ("--tiny", "--set", f"translator.{off}", *(maps or ("--guide", trail.first)))
    command = translate(trail, tmp_path / "out", f"translate/{config}", *given)
    assert refused(*command, "--set", f"translator.{idle}") == f"--set translator.{idle}: {why}; leave it out"
    must(*command, "--dry-run")  # a part can be switched off over a recipe that has it


def test_who_learns_from_no_pairs_has_none_to_choose_from(city: Trail, tmp_path: Path) -> None:
    told = refused(*translate(city, tmp_path / "out", "translate/munit", "--tiny", "--set", "supervision=0.5"))
    assert told == "supervision: munit learns from no pairs; leave it out"


def test_what_an_older_fit_holds_and_is_refused_now_does_not_hinder_it(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    method: dict[str, Any] = {"name": "munit", "discriminator_scales": 1, "discriminator_details": 8.0, "width": 4}
    method["optimizers"] = {"generator": {"name": "adam", "momentum": 0.5, "lr": 0.5}}
    file.write_text(yaml.safe_dump({"translator": method, "runtime": {"device": "cuda"}}))
    kept = {"name": "munit", "discriminator_scales": 1, "width": 4}
    assert without_machine(file) == {"translator": kept | {"optimizers": {"generator": {"name": "adam", "lr": 0.5}}}}
    for damaged in (None, {"name": None}, {"name": "munit", "schedule": None, "optimizers": None}):
        file.write_text(yaml.safe_dump({"translator": damaged}))
        assert without_machine(file) == {"translator": damaged}  # what is wrong in it is told where it is read


def predictions(trail: Trail, out: Path, *more: object) -> tuple[object, ...]:
    return ("evaluate", "--predictions", trail.pseudo / "labels", "--target", trail.csv("train"), "--out", out, *more)


@pytest.mark.parametrize(
    "option",
    [
        ("--set", "size=[32, 64]"), ("--set", "batch=2"), ("--set", "upsample=softmax"),
        ("--set", "interpolation=area"), ("--device", "cpu"), ("--set", "runtime.workers=2"),
        ("--set", "runtime={precision: float32}"),
    ],
)  # fmt: skip
def test_predictions_are_scored_without_a_network(trail: Trail, tmp_path: Path, option: tuple[str, str]) -> None:
    shown = " ".join(option) if option[0] == "--set" else option[0]
    told = f"{shown}: --predictions are scored as they are; leave it out"
    assert refused(*predictions(trail, tmp_path / "out", *option)) == told


@pytest.mark.parametrize("recipe", [(), ("--config", "evaluate/minicity"), ("--tiny",)])
def test_predictions_are_scored_by_a_recipe_for_both(trail: Trail, tmp_path: Path, recipe: tuple[str, ...]) -> None:
    command = predictions(trail, tmp_path / "out", *recipe, "--dry-run")
    must(*command)
    answer = must(*command, "--json")
    assert json.loads(answer.out) == {"action": "run", "reason": "not made yet"}


def test_what_fits_nothing_or_has_no_network_says_so(trail: Trail, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    one, both = "leave it out", "leave them out"
    seen = ("--segmenter", trail.first, "--target", trail.csv("train"), *out)
    for verb in ("evaluate", "pseudo-label"):
        command = (verb, *seen, "--config", f"{verb.replace('-', '_')}/minicity", "--tiny")
        must(*command, "--seed", "3", "--dry-run")  # the run's, for all its commands alike
        tensorboard = "--set runtime.tensorboard=true"
        assert refused(*command, *tensorboard.split()) == f"{tensorboard}: nothing is fitted; {one}"
        cached = call(*command, "--set", "runtime.cache_mb=9", "--dry-run")
        assert (cached.code, "no image is read twice" in cached.err) == (
            (2, True) if verb == "evaluate" else (0, False)
        )
    whole = ("evaluate", *seen, "--set", "size=null", "--set", "batch=8")
    assert refused(*whole) == f"--set batch=8: images of their own sizes come one by one; {one}"
    fixed = ("pseudo-label", *seen, "--config", "pseudo_label/fixed", "--tiny", "--set", "runtime.cache_mb=9")
    assert refused(*fixed) == f"--set runtime.cache_mb=9: no image is read twice; {one}"
    images = ("quality", "--images", trail.csv("source"), "--real", trail.csv("train"), "--tiny", *out)
    assert "no image is read twice" in refused(*images, "--set", "runtime.cache_mb=9")
    drawn = refused("minicity", *out, "--device", "cpu", "--set", "runtime.precision=float32")
    assert drawn == f"--device, --set runtime.precision=float32: there is no network; {both}"
    indexed = ("prepare", "gta5", trail.data / "gta5", "--out", tmp_path / "x.csv", "--set", "seed=3")
    assert refused(*indexed) == f"--set seed=3: uda prepare reads files, by threads; {one}"
    bare = ("prepare", "gta5", trail.data / "gta5", "--out", tmp_path / "x.csv", "--set", "labels=false")
    assert refused(*bare, "--set", "label_space=idd7") == f"--set label_space=idd7: labels are not read; {one}"
    photo = ("predict", "--segmenter", trail.first, trail.data, *out, "--set", "runtime.cache_mb=9")
    answer = call(*photo)
    assert answer.code == 2 and "--set runtime.cache_mb=9: no image is read twice; leave it out" in answer.err


def test_processes_of_a_launch_wait_for_each_other_on_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    command = ("minicity", "--out", tmp_path / "out", "--device", "cpu")
    must(*command, "--dry-run")
    assert refused(*command, "--set", "runtime.cache_mb=9").startswith("--set runtime.cache_mb=9: there is no network")


@pytest.mark.parametrize(
    ("settings", "inputs", "why"),
    [
        (("weights.pseudo=2",), ("target",), "there are no pseudo-labels"),
        (("weights.adversarial=0.01", "adversary=null"), ("pseudo",), "there is no adversary"),
        (("weights.discriminator_aux=2",), ("target",), "no adversary sees a second head"),
        (("weights.segmentation_aux=2",), ("target",), "the segmenter has one head"),
        (("joint_batch=true", "adversary=null"), ("target",), "no target image is learnt from"),
        (("target_size=[32, 64]", "adversary=null", "target_statistics=0"), (), "there are no target images"),
        (
            ("augment.blur.sigma=[1, 2]", "augment.blur.probability=0"),
            ("target",),
            "augment.blur.probability is 0",
        ),
        (("optimizer.lr=1", "fit.images=0"), ("target", "init"), "nothing is learnt from 0 images"),
    ],
)
def test_a_segmenter_says_which_terms_and_images_there_are(
    trail: Trail, tmp_path: Path, settings: tuple[str, ...], inputs: tuple[str, ...], why: str
) -> None:
    given = {"target": trail.csv("train"), "pseudo": trail.pseudo / "samples.csv", "init": trail.first}
    command: list[object] = ["segment", *SEGMENT, "--source", trail.csv("source"), "--out", tmp_path / "out"]
    for name in inputs:
        command += [f"--{name}", given[name]]
    rest = [f"--set={text}" for text in settings[1:]]
    assert refused(*command, *rest, "--set", settings[0]) == f"--set {settings[0]}: {why}; leave it out"
    must(*command, *rest, "--dry-run")  # a recipe has weights for all


def test_a_tiny_overlay_must_be_there(city: Trail, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("translator: {name: identity}\nsize: [64, 128]\n")
    command = translate(city, tmp_path / "out", own, "--tiny")
    told = f"{own}: there is no tiny overlay; write `tiny: {{key: value}}` into it, or leave --tiny out"
    assert refused(*command) == told
    must(*command, "--config", "overlays/minicity_size", "--dry-run")


def test_settings_of_what_has_no_recipes_are_listed_without(tmp_path: Path) -> None:
    def told(*more: object) -> Answer:
        return call("settings", "predict", *more)

    assert told("--tiny").err == "error: --tiny: predict has no recipes; leave it out\n"
    assert told("--config", "evaluate/minicity").code == 2 and told().code == 0
