"""Which images and labels each term of `uda segment` is of, with a network whose logits are the images themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.data import fakes
from uda.core.config import settings_that_matter
from uda.core.training import RuntimeConfig
from uda.data.batch import Batch, Context
from uda.data.samples import Sample
from uda.segmenters.smp import SmpConfig
from uda.stages._segment_task import SegmentTask
from uda.stages.segment import SegmentConfig, _domain

SIZE = (6, 8)


class Recorder:
    """Stands in for an adversary, and keeps what it is shown."""

    networks: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.pushed: Mapping[str, Tensor] = {}
        self.judged: tuple[Mapping[str, Tensor], ...] = ()

    def segmenter_losses(self, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.pushed = target
        return {"adversarial": target["main"].mean()}

    def discriminator_losses(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.judged = (source, target)
        return {"discriminator": source["main"].mean()}


def make_task(**settings: Any) -> tuple[SegmentTask, Recorder]:
    config = SegmentConfig.model_validate({"segmenter": SmpConfig.tiny().model_dump(), "size": SIZE, **settings})
    task, recorder = SegmentTask(config, 3), Recorder()
    task.adversary = recorder  # type: ignore[assignment]  # stands in
    network = SimpleNamespace(levels=lambda images: {"main": images})
    task.segmenter.network = network  # type: ignore[assignment]  # stands in
    return task, recorder


def make_batch() -> Batch:
    """Three source images and two target images, with labels that differ."""
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.rand(count, 3, *SIZE, generator=generator) * 2 - 1 for count in (3, 2))
    labels = [torch.randint(3, (count, *SIZE), generator=generator) for count in (3, 2)]
    for label in labels:
        label[:, 0] = 255
    return Batch(source, labels[0], target, labels[1])


def wanted(logits: Tensor | None, labels: Tensor | None) -> float:
    assert logits is not None and labels is not None
    return F.cross_entropy(logits, labels, ignore_index=255).item()


@pytest.mark.parametrize("joint", [False, True])
def test_each_term_sees_its_own_domain(joint: bool) -> None:
    task, recorder = make_task(joint_batch=joint)
    batch, context = make_batch(), Context(images_seen=0, total_images=10)
    terms = task.losses("segmenter", batch, context)
    assert set(terms) == {"segmentation", "pseudo", "adversarial"}
    assert terms["segmentation"].item() == pytest.approx(wanted(batch.source_images_BCHW, batch.source_labels_BHW))
    assert terms["pseudo"].item() == pytest.approx(wanted(batch.target_images_BCHW, batch.target_labels_BHW))
    task.losses("discriminator", batch, context)
    source, target = recorder.judged
    for seen, images in (
        (recorder.pushed, batch.target_images_BCHW),
        (source, batch.source_images_BCHW),
        (target, batch.target_images_BCHW),
    ):
        assert images is not None and torch.equal(seen["main"], images)


def test_target_images_without_labels_have_no_cross_entropy() -> None:
    task, _ = make_task()
    batch = make_batch()
    batch = Batch(batch.source_images_BCHW, batch.source_labels_BHW, batch.target_images_BCHW)
    assert set(task.losses("segmenter", batch, Context(0, 10))) == {"segmentation", "adversarial"}


def test_colours_follow_from_the_seed_of_the_step_and_change_both_domains() -> None:
    task, recorder = make_task(augment={"color_jitter": {"probability": 1}})
    batch, shown = make_batch(), []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        drawn = torch.get_rng_state()
        context = Context(0, 10)
        task.losses("segmenter", batch, context)
        assert torch.equal(drawn, torch.get_rng_state())  # what follows, dropout, is not shifted by it
        task.losses("discriminator", batch, context)
        shown.append([levels["main"] for levels in recorder.judged])
    first, same, other = shown
    for domain, images in enumerate((batch.source_images_BCHW, batch.target_images_BCHW)):
        assert images is not None
        assert torch.equal(first[domain], same[domain])
        assert not torch.equal(first[domain], other[domain])
        assert not torch.allclose(first[domain], images)


def test_colours_of_classes_change_the_source_alone_by_its_labels() -> None:
    task, recorder = make_task(augment={"class_colors": {"probability": 1}})
    batch, context = make_batch(), Context(0, 10)
    assert batch.source_images_BCHW is not None and batch.source_labels_BHW is not None
    task.losses("segmenter", batch, context)
    task.losses("discriminator", batch, context)
    source, target = (levels["main"] for levels in recorder.judged)
    assert batch.target_images_BCHW is not None and torch.equal(target, batch.target_images_BCHW)
    assert not torch.allclose(source, batch.source_images_BCHW)


@pytest.mark.parametrize("megabytes", [0, 1024])
def test_how_many_resized_images_are_kept_is_a_setting_of_the_machine(tmp_path: Path, megabytes: int) -> None:
    fakes.save(tmp_path / "a.png", fakes.picture(SIZE, 0))
    given = {"segmenter": SmpConfig.tiny().model_dump(), "size": SIZE, "runtime": {"cache_mb": megabytes}}
    config = SegmentConfig.model_validate(given)
    samples = [Sample(tmp_path / "a.png", None, "gta5", tmp_path)]
    data = _domain(config, None, samples, SIZE, number=0, with_labels=False).data
    kept = data.sample_at(0)[0] is data.sample_at(0)[0]
    assert kept is (megabytes > 0)
    assert settings_that_matter(config) == settings_that_matter(config.model_copy(update={"runtime": RuntimeConfig()}))
