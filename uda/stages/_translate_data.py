"""What a translator is fitted on: the source's images, the target's, and target images with their label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uda.core.errors import DataError
from uda.data import dataset
from uda.data.label_space import LabelSpace
from uda.data.rare_classes import rare_class_probabilities
from uda.data.samples import Sample, read_samples
from uda.data.supervision import choose_pairs
from uda.engine import stream
from uda.stages._labels import count_labels
from uda.stages.base import Job

if TYPE_CHECKING:
    from uda.stages.translate import TranslateConfig


@dataclass(frozen=True)
class Pairs:
    """Target images with label maps.

    Attributes:
        samples: those that count as pairs, each with a pixel of a known class.
        counts: pixels of each class in their maps at the size of the fit, (pairs, N).
        others: images of the other rows; their labels stay closed.
    """

    samples: Sequence[Sample]
    counts: NDArray[np.int64]
    others: Sequence[Sample]


def domain(
    config: TranslateConfig, space: LabelSpace, samples: Sequence[Sample], *, number: int, with_labels: bool
) -> stream.Domain:
    """Images of one domain, with their own labels or none."""
    data = dataset.SegmentationDataset(
        samples,
        space,
        size=config.size,
        with_labels=with_labels,
        interpolation=config.interpolation,
        cache_mb=config.runtime.cache_mb,
    )
    return stream.make_domain(data, config.augment, seed=config.seed, number=number)


def read_pairs(job: Job, space: LabelSpace) -> Pairs | None:
    """The rows of --pairs or --pseudo that count as pairs; None where neither is given.

    Their labels are all opened. A map without a pixel of a known class teaches nothing: its image is no pair.

    Raises:
        DataError: a label cannot be read, or one of --pairs is of another shape than its image, or no map shows a
            known class.
    """
    config: TranslateConfig = job.config
    true = "pairs" in job.inputs  # pseudo-labels need not be of their images' shape
    manifest = job.inputs.get("pairs") or job.inputs.get("pseudo")
    if manifest is None:
        return None
    rows = read_samples(manifest, check_files=True)
    chosen = choose_pairs(rows, config.supervision)
    counts = count_labels("translate", chosen, space, job.console, size=config.size, as_images=true)
    known = counts.sum(axis=1) > 0
    if not known.any():
        what = f"no pixel of its {len(chosen)} label maps is of a known class"
        raise DataError(what, manifest, "give maps with more labelled pixels (a lower threshold), or other pairs")
    if not known.all():
        void = int((~known).sum())
        job.console.say(f"translate: {void} of {len(chosen)} label maps show no known class and are no pairs")
    pairs = [sample for sample, shows in zip(chosen, known, strict=True) if shows]
    paired = {sample.image for sample in pairs}
    return Pairs(pairs, counts[known], [sample for sample in rows if sample.image not in paired])


def paired_domain(
    config: TranslateConfig, space: LabelSpace, pairs: Pairs, target: Sequence[Sample] | None
) -> stream.Domain:
    """The pairs; with `target` by turns with unpaired images, whose map is 255 throughout.

    Args:
        config: settings of the stage.
        space: the task's classes.
        pairs: of `read_pairs`.
        target: rows of --target, where unpaired images are wanted; those that are pairs too are no unpaired ones.
    """
    paired = {sample.image for sample in pairs.samples}
    first = pairs.samples[0]
    unpaired = {
        # Their labels stay closed, and so do their specs.
        sample.image: replace(sample, label=None, dataset=first.dataset, spec_base=first.spec_base)
        for sample in (() if target is None else (*pairs.others, *target))
        if sample.image not in paired
    }
    data = dataset.SegmentationDataset(
        [*pairs.samples, *unpaired.values()],
        space,
        size=config.size,
        interpolation=config.interpolation,
        cache_mb=config.runtime.cache_mb,
    )
    weights = [sample.weight for sample in pairs.samples]
    rare: list[float] = []
    until = 0
    if config.rare_classes:
        rare = [a * float(b) for a, b in zip(weights, rare_class_probabilities(pairs.counts), strict=True)]
        until = round(config.rare_classes * config.fit.images / (2 if unpaired else 1)) * config.target_candidates
    often = stream.Order(weights, config.seed, 1, first=rare, until=until)
    rest = stream.Order([sample.weight for sample in unpaired.values()], config.seed, 2)
    order = stream.ByTurns(often, rest, len(pairs.samples)) if unpaired else often
    return stream.Domain(data, order, config.augment, config.seed, 1)
