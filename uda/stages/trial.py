"""A fit on random images, and a pass of them through a network, to find out how fast this machine is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uda.core import registry
from uda.core.console import Console
from uda.core.rundir import RunDirectory
from uda.data.batch import Batch
from uda.data.label_space import load_space
from uda.engine import loop
from uda.engine.loop import Plan, Trainable
from uda.engine.runtime import Runtime, make_runtime
from uda.nets.segmenter import SegmenterNetwork, as_guide
from uda.segmenters import _store as store
from uda.stages._segment_task import SegmentTask
from uda.stages._translate_task import TranslateTask
from uda.stages.segment import SegmentConfig, segment_plan
from uda.stages.translate import translate_plan
from uda.translators.base import Setting

_STEPS = 2
_PIXELS = 256 * 1024
"""Pixels of an image that is tried, at most."""


@dataclass(frozen=True)
class Speed:
    """How long images take.

    Attributes:
        fit: seconds to learn from an image at the size of the fit (its crop's, where it has one), with all processes of
            the launch at work.
        forward: seconds a pixel to run an image through, in one process.
    """

    fit: float
    forward: float


def speed(config: Any, with_target: bool, guide: Any) -> Speed:
    """Speed of a segment or translate stage on random images, after a first fit that warms up.

    Args:
        config: the stage's settings.
        with_target: whether batches have target images.
        guide: settings of the stage whose network guides the translator, the directory of one, or None.
    """
    classes = len(load_space(config.label_space).names)
    rt = make_runtime(config.runtime)
    task, plan, size = prepare(config, classes, guide, rt)
    small = _tried_size(size)
    share = drawn_at_once(plan, rt)
    batches = random_batches(small, classes, share, with_target)
    passed = random_batches(small, classes, 1, with_target) if _is_one_by_one(task) else batches
    if not plan.optimizers:  # nothing is learnt
        return Speed(0.0, forward_seconds(task, next(passed(0)), rt) / _pixels(small))
    took = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for attempt in ("warm", "timed"):
            start = time.monotonic()
            loop.fit(task, plan, batches, rt, RunDirectory(Path(folder, attempt)), Console(quiet=True))
            took = time.monotonic() - start
    pixel = took / (plan.images // plan.batch) / share / _pixels(small)  # in one process, which draws a share of a step
    forward = forward_seconds(task, next(passed(0)), rt) / _pixels(small)
    return Speed(pixel * _pixels(size) * share / plan.batch, forward)


def segmenter_speed(directory: Path, size: tuple[int, int], config: Any) -> float:
    """Seconds a pixel to run an image through a segmenter that is there already.

    Args:
        directory: of the segmenter.
        size: height and width of the images to come.
        config: settings of the stage that runs it; of these the device counts.
    """
    rt, small = make_runtime(config.runtime), _tried_size(size)
    network = store.load_segmenter(directory, expected_classes=None).network
    images = torch.rand((1, 3, *small), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return _passing([network], lambda: network(images.to(rt.device)), rt) / _pixels(small)


def _is_one_by_one(task: Trainable) -> bool:
    """Whether it renders images one by one."""
    return isinstance(task, TranslateTask) and task.translator.one_by_one(task.translator.config)


def _tried_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width to try in the place of a fit's, which may be too large for a trial."""
    shrink = max(1, round((_pixels(size) / _PIXELS) ** 0.5))
    return max(64, size[0] // shrink // 32 * 32), max(64, size[1] // shrink // 32 * 32)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def prepare(config: Any, classes: int, guide: Any, runtime: Runtime) -> tuple[Trainable, Plan, tuple[int, int]]:
    """The task of a segment or translate stage, a plan of two steps, and the size that it trains at.

    Args:
        config: the stage's settings.
        classes: of the label space.
        guide: as in `speed`.
        runtime: the device.
    """
    size = config.augment.crop or config.size
    if isinstance(config, SegmentConfig):
        segmenting = SegmentTask(config, classes)
        plan = segment_plan(config, segmenting)
        return segmenting, replace(plan, images=_STEPS * plan.batch), size
    setting = Setting(classes, class_names=load_space(config.label_space).names)
    if guide is not None and (network := _guide_network(guide, setting)) is not None:
        setting = replace(setting, guide=as_guide(runtime.place(network)))
    translating = TranslateTask(config, setting)
    plan = translate_plan(config, translating)
    return translating, replace(plan, images=_STEPS * plan.batch), size


def _guide_network(guide: Any, setting: Setting) -> SegmenterNetwork | None:
    """The network that is there, or one as a stage leaves it: a segmenter, or a discriminator that segments."""
    if isinstance(guide, Path):
        return store.load_segmenter(guide, expected_classes=list(setting.class_names)).network
    if isinstance(guide, SegmentConfig):
        method = registry.load("segmenters", guide.segmenter.name)
        network: SegmenterNetwork = method(guide.segmenter, setting.num_classes).network
        return network
    made = TranslateTask(guide, setting).translator.segmenter_network()
    return None if made is None else made[1]


def drawn_at_once(plan: Plan, runtime: Runtime) -> int:
    """Images of a step that this process draws, as in the fit itself: its share.

    A check has refused batches that cannot be shared equally, but where nothing is fitted: one image will do there.
    """
    return max(1, plan.batch // runtime.processes)


def forward_seconds(task: Trainable, batch: Batch, runtime: Runtime) -> float:
    """Seconds that a trained network takes for an image: a translator to render it, a segmenter to see its classes."""
    assert batch.source_images_BCHW is not None
    placed = batch.to(runtime.device)
    took = _passing(task.networks.values(), lambda: _forward(task, placed), runtime)
    return took / len(batch.source_images_BCHW)


def _passing(networks: Iterable[nn.Module], forward: Callable[[], Tensor], runtime: Runtime) -> float:
    """Seconds of the second of two passes; the first one warms up."""
    for network in networks:
        runtime.place(network).eval()
    took = 0.0
    for _ in range(2):
        started = time.monotonic()
        with torch.inference_mode(), runtime.autocast():
            made = forward()
        made.sum().item()  # waits for the device
        took = time.monotonic() - started
    return took


def _forward(task: Trainable, batch: Batch) -> Tensor:
    if isinstance(task, TranslateTask):
        generator = torch.Generator(next(iter(vars(batch).values())).device).manual_seed(0)
        return task.translator.translate(batch, generator=generator).images_BCHW
    assert isinstance(task, SegmentTask) and batch.source_images_BCHW is not None
    logits: Tensor = task.network(batch.source_images_BCHW)
    return logits


def random_batches(
    size: tuple[int, int], classes: int, batch: int, with_target: bool
) -> Callable[[int], Iterator[Batch]]:
    """Endless random batches of both domains."""

    def start(images_seen: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(images_seen)
        while True:
            images = torch.rand((2, batch, 3, *size), generator=generator) * 2 - 1
            labels = torch.randint(classes, (2, batch, *size), generator=generator)
            target = {"target_images_BCHW": images[1], "target_labels_BHW": labels[1]} if with_target else {}
            yield Batch(source_images_BCHW=images[0], source_labels_BHW=labels[0], **target)

    return start
