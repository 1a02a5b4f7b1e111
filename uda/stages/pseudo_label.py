"""`uda pseudo-label`: confident predictions on unlabelled target images, with thresholds and coverage per class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from uda.core import registry
from uda.core.config import PseudoLabelConfig, Size
from uda.core.launch import is_first_process
from uda.core.lazy import lazy_import
from uda.data.label_space import IGNORE, load_space
from uda.data.read import Interpolation, encode_png
from uda.data.samples import read_samples
from uda.stages._files import unique_names, write_made_samples
from uda.stages._report.tables import percent
from uda.stages._unread import NO_CACHE, NO_FIT
from uda.stages.base import Job, Stage, StageConfig, wait_for_processes

if TYPE_CHECKING:
    import numpy as np
    import torch

    from uda.data import dataset
    from uda.engine import inference, runtime
    from uda.segmenters import _store as store
else:
    np = lazy_import("numpy")
    torch = lazy_import("torch")
    dataset = lazy_import("uda.data.dataset")
    inference = lazy_import("uda.engine.inference")
    runtime = lazy_import("uda.engine.runtime")
    store = lazy_import("uda.segmenters._store")


class PseudoLabelStageConfig(StageConfig):
    """Settings of `uda pseudo-label`."""

    runtime_only = frozenset({"batch"})

    label_space: str = "cityscapes19"
    """A shipped label space or a YAML file."""
    strategy: PseudoLabelConfig
    """The strategy, by name, with its settings."""
    size: Size
    """Height and width that images are resized to and labels are written at."""
    batch: int = Field(default=4, ge=1)
    """Images at once."""
    interpolation: Interpolation = "bicubic"
    """How images are resized."""


def _run(job: Job) -> dict[str, Any]:
    config: PseudoLabelStageConfig = job.config
    space = load_space(config.label_space)
    names = list(space.names)
    rt = runtime.make_runtime(config.runtime)
    network = store.load_segmenter(job.inputs["segmenter"], expected_classes=names).network
    samples = read_samples(job.inputs["target"], check_files=True)
    data = dataset.SegmentationDataset(
        samples,
        space,
        size=config.size,
        with_labels=False,
        interpolation=config.interpolation,
        cache_mb=config.runtime.cache_mb,  # a strategy that observes reads twice
    )
    strategy = registry.load("pseudo_labels", config.strategy.name)(config.strategy, len(names))

    if strategy.observes:
        # Every process observes all images, so that all know the same thresholds; only the writing is shared.
        with job.console.progress("pseudo-label: observing", len(data)) as progress:
            for predicted in inference.predict(network, data, rt, batch=config.batch, everywhere=True):
                strategy.observe(predicted.logits_BNHW.softmax(1))
                progress.update(progress.done + len(predicted.indices))

    stems = unique_names(samples)
    kept, believed, seen = np.zeros((3, len(names)), np.int64)
    with job.console.progress("pseudo-label: writing", len(data)) as progress:
        for predicted in inference.predict(network, data, rt, batch=config.batch):
            probabilities = predicted.logits_BNHW.softmax(1)
            labels = strategy.label(probabilities).to("cpu", torch.uint8).numpy()
            guess = probabilities.argmax(1).cpu().numpy()
            seen += np.bincount(guess.ravel(), minlength=len(names))
            believed += np.bincount(guess[labels != IGNORE], minlength=len(names))
            kept += np.bincount(labels.ravel(), minlength=256)[: len(names)]
            for index, label in zip(predicted.indices, labels, strict=True):
                job.run.write(f"labels/{stems[index]}.png", encode_png(label))
            progress.update(progress.done + len(predicted.indices) * rt.processes)
    wait_for_processes(config)
    if is_first_process():
        job.run.reread()
        write_made_samples(job.run, "samples.csv", space, samples, images=None, labels="labels")
    counts = np.asarray(rt.gather([kept, believed, seen])).reshape(-1, 3, len(names)).sum(0)
    return _metrics(names, strategy.thresholds(), *counts)


def _metrics(names: list[str], thresholds: Any, kept: Any, believed: Any, seen: Any) -> dict[str, Any]:
    """Thresholds, and the part of each class's predicted pixels that is believed, be it as another class.

    Args:
        names: of the classes.
        thresholds: (N,).
        kept: pixels that are labelled as each class, (N,).
        believed: pixels that are most probably of each class and have a label, (N,).
        seen: pixels that are most probably of each class, (N,).
    """
    total = max(int(seen.sum()), 1)
    return {
        "coverage": float(kept.sum()) / total,
        "classes": {
            name: {
                "threshold": float(thresholds[index]),
                "pixels": int(kept[index]),
                "predicted_pixels": int(seen[index]),
                "coverage": float(believed[index]) / float(seen[index]) if seen[index] else None,
            }
            for index, name in enumerate(names)
        },
    }


def as_text(metrics: Mapping[str, Any]) -> str:
    """What `_metrics` found: a line for each class, and the part of all pixels that has a label.

    The coverage of a class that is predicted nowhere is `-`.
    """
    rows = [("class", "threshold", "coverage [%]")]
    rows += [(name, f"{one['threshold']:.3f}", percent(one["coverage"])) for name, one in metrics["classes"].items()]
    rows += [("all pixels", "", percent(metrics["coverage"]))]
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"{name:<{width}}  {threshold:>9}  {coverage:>12}" for name, threshold, coverage in rows)


def _check(config: PseudoLabelStageConfig, inputs: Mapping[str, Path]) -> None:
    store.check_input(inputs, "segmenter", load_space(config.label_space).names)


def _unread(config: PseudoLabelStageConfig, inputs: Collection[str]) -> dict[str, str]:
    observes = registry.load("pseudo_labels", config.strategy.name).observes
    return {**({} if observes else NO_CACHE), **NO_FIT}


STAGE = Stage(
    name="pseudo-label",
    version=1,
    config=PseudoLabelStageConfig,
    run=_run,
    required=("segmenter", "target"),
    manifests=("target",),
    makes=("samples.csv", "labels"),
    check=_check,
    text=as_text,
    unread=_unread,
)
