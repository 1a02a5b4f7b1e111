"""A fit on random images, to find out how fast this machine is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from uda.core import registry
from uda.data.batch import Batch
from uda.data.label_space import load_space
from uda.engine.loop import Plan, Trainable
from uda.engine.runtime import Runtime
from uda.nets.segmenter import as_guide
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
        guide_config: settings of the segment stage whose network guides the translator, or None.
        runtime: the device.
    """
    size = config.augment.crop or config.size
    if isinstance(config, SegmentConfig):
        segmenting = SegmentTask(config, classes)
        plan = segment_plan(config, segmenting)
        return segmenting, replace(plan, images=_STEPS * plan.batch), size
    guide = None
    if guide_config is not None:
        method = registry.load("segmenters", guide_config.segmenter.name)
        guide = as_guide(runtime.place(method(guide_config.segmenter, classes).network))
    translating = TranslateTask(config, Setting(classes, guide, class_names=load_space(config.label_space).names))
    plan = translate_plan(config, translating)
    return translating, replace(plan, images=_STEPS * plan.batch), size


def rendering_seconds(task: Trainable, batch: Batch, runtime: Runtime) -> float:
    """Seconds an image of a translator that is not fitted; 0 for what is no translator."""
    if not isinstance(task, TranslateTask):
        return 0.0
    placed, generator = batch.to(runtime.device), torch.Generator(runtime.device).manual_seed(0)
    started = time.monotonic()
    with torch.inference_mode(), runtime.autocast():
        made = task.translator.translate(placed, generator=generator)
    return (time.monotonic() - started) / len(made.images_BCHW)


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
