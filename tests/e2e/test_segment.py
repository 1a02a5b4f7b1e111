"""`uda segment` through the command line: what its weights start from, what it learns from, and its settings."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

from tests.e2e.conftest import SEGMENT, Trail, call, must
from uda.core.manifest import read_manifest
from uda.core.training import OptimizerConfig
from uda.data.samples import read_samples
from uda.stages.segment import SegmentConfig, target_samples


def test_segment_says_what_its_weights_start_from(trail: Trail, tmp_path: Path) -> None:
    weights = trail.first / "segmenter.safetensors"
    fit: tuple[str | Path, ...] = ("segment", *SEGMENT, "--set", "adversary=null", "--set", "target_statistics=0")
    fit = (*fit, "--source", trail.csv("source"))
    pretrained, init = ("--set", f"segmenter.pretrained={weights}"), ("--init", trail.first)
    loaded = "segment: pretrained segmenter.safetensors: "
    started = "segment: segmenter.safetensors: "
    random = "segment: starts from random weights; set segmenter.pretrained to a weights file, or give --init"
    for number, (given, said) in enumerate(
        (((), [random]), (pretrained, [loaded]), (init, [started]), ((*pretrained, *init), [loaded, started]))
    ):
        lines = must(*fit, *given, "--out", tmp_path / f"{number}").err.splitlines()
        told = [line for line in lines if "random weights" in line or "tensors loaded" in line]
        assert [line.startswith(start) for line, start in zip(told, said, strict=True)] == [True] * len(said)


def test_target_images_without_a_pseudo_label_are_seen_too(trail: Trail, tmp_path: Path) -> None:
    pseudo = pd.read_csv(trail.pseudo / "samples.csv").head(3)
    for column in ("image", "label", "dataset"):
        pseudo[column] = [str((trail.pseudo / name).resolve()) for name in pseudo[column]]
    pseudo.to_csv(tmp_path / "pseudo.csv", index=False)
    target = read_samples(trail.csv("train"))
    made = target_samples({"pseudo": tmp_path / "pseudo.csv", "target": trail.csv("train")})
    assert sorted(one.image for one in made) == sorted(one.image for one in target)
    assert [one.label is None for one in made] == [False] * 3 + [True] * (len(target) - 3)
    assert {one.dataset for one in made} == {made[0].dataset}  # no spec of the target's labels is read
    assert target_samples({"target": trail.csv("train")}) == target


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
    torch.save({name: tensor for name, tensor in first.items() if "encoder" in name.split(".")}, public)
    answer = call("segment", *given, *plain[:-1], tmp_path / "headless")
    assert answer.code == 2 and "public.pth: leaves " in answer.err and "of the heads at random" in answer.err


def test_weights_in_a_file_of_another_kind_are_told(city: Trail, tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>the page that was fetched in the weights' place</html>")
    given = ("--config", "segment/minicity", "--tiny", "--set", "adversary=null", "--set", "target_statistics=0")
    init = ("--source", city.csv("source"), "--init", tmp_path / "page.pth")
    answer = call("segment", *given, *init, "--out", tmp_path / "out")
    wanted = (
        "page.pth: is no file of tensors (a state dict), or a damaged one; give a directory that `uda segment` wrote"
    )
    assert answer.code == 3 and wanted in answer.err.splitlines()[-1] and "weights_only" not in answer.err


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


def test_each_head_of_a_multi_level_segmenter_may_have_an_adversary(city: Trail, tmp_path: Path) -> None:
    must(
        "segment", "--tiny", "--source", city.csv("source"), "--target", city.csv("train"), "--set",
        "segmenter.multi_level=true", "--set", "adversary.levels=[main, aux]", "--out", tmp_path / "out",
    )  # fmt: skip
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert {"segmentation_aux", "adversarial_aux", "discriminator_aux"} <= set(manifest.metrics)


def test_an_optimiser_that_is_given_in_part_keeps_the_rest_of_its_recipe() -> None:
    adversary = {"name": "output_space", "optimizer": {"lr": 3e-4}}
    made = {"segmenter": "deeplabv2", "size": [64, 64], "adversary": adversary, "optimizer": {"lr": 1e-3}}
    config = SegmentConfig.model_validate(made)
    assert config.optimizer == OptimizerConfig(name="sgd", lr=1e-3, momentum=0.9, weight_decay=5e-4)
    assert config.adversary is not None
    assert config.adversary.model_dump()["optimizer"] == OptimizerConfig(lr=3e-4, betas=(0.9, 0.99)).model_dump()
    other = SegmentConfig.model_validate({**made, "optimizer": {"name": "adam", "lr": 1e-5}})
    assert other.optimizer == OptimizerConfig(name="adam", lr=1e-5)  # another optimiser has no decay of SGD's
