"""A fit on random images, to find out how fast this machine is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from uda.core import registry
from uda.data.batch import Batch
from uda.data.label_space import load_space
from uda.engine.loop import Plan, Trainable
from uda.engine.runtime import Runtime
from uda.nets.segmenter import SegmenterNetwork, as_guide
from uda.stages._segment_task import SegmentTask
from uda.stages._translate_task import TranslateTask
from uda.stages.segment import SegmentConfig, segment_plan
from uda.stages.translate import translate_plan
from uda.translators.base import Setting

_STEPS = 2


def prepare(config: Any, classes: int, guide_config: Any, runtime: Runtime) -> tuple[Trainable, Plan, tuple[int, int]]:
    """The task of a segment or translate stage, a plan of two steps, and the size that it trains at.

    Args:
        config: the stage's settings.
        classes: of the label space.
        guide_config: settings of the stage whose network guides the translator, or None.
        runtime: the device.
    """
    size = config.augment.crop or config.size
    if isinstance(config, SegmentConfig):
        segmenting = SegmentTask(config, classes)
        plan = segment_plan(config, segmenting)
        return segmenting, replace(plan, images=_STEPS * plan.batch), size
    setting = Setting(classes, class_names=load_space(config.label_space).names)
    if guide_config is not None and (network := _guide_network(guide_config, setting)) is not None:
        setting = replace(setting, guide=as_guide(runtime.place(network)))
    translating = TranslateTask(config, setting)
    plan = translate_plan(config, translating)
    return translating, replace(plan, images=_STEPS * plan.batch), size


def _guide_network(config: Any, setting: Setting) -> SegmenterNetwork | None:
    """A network as a stage leaves it, with random weights: a segmenter, or a discriminator that segments."""
    if isinstance(config, SegmentConfig):
        method = registry.load("segmenters", config.segmenter.name)
        network: SegmenterNetwork = method(config.segmenter, setting.num_classes).network
        return network
    made = TranslateTask(config, setting).translator.segmenter_network()
    return None if made is None else made[1]


def drawn_at_once(plan: Plan, runtime: Runtime) -> int:
    """Images of a step that this process draws, as in the fit itself: its share.

    A check has refused batches that cannot be shared equally, but where nothing is fitted: one image will do there.
    """
    return max(1, plan.batch // runtime.processes)


def forward_seconds(task: Trainable, batch: Batch, runtime: Runtime) -> float:
    """Seconds that a trained network takes for an image: a translator to render it, a segmenter to see its classes.

    The second of two passes counts; the first one warms up.
    """
    for network in task.networks.values():
        runtime.place(network).eval()
    placed, took = batch.to(runtime.device), 0.0
    for _ in range(2):
        started = time.monotonic()
        with torch.inference_mode(), runtime.autocast():
            made = _forward(task, placed)
        made.sum().item()  # waits for the device
        took = time.monotonic() - started
    return took / len(made)


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
