"""The segmenters that a translation asks: the guide, and what tells the tones of classes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from uda.core.manifest import owning_manifest
from uda.data.dataset import SegmentationDataset
from uda.data.label_space import LabelSpace
from uda.data.samples import Sample
from uda.engine.inference import estimate_mixed_statistics, estimate_statistics
from uda.engine.runtime import Runtime
from uda.nets.segmenter import SegmenterNetwork, as_guide
from uda.segmenters._store import load_segmenter
from uda.stages._translate_checks import unguided
from uda.stages.base import Job
from uda.translators.base import Setting

if TYPE_CHECKING:
    from uda.stages.translate import TranslateConfig

_STATISTICS_BATCH = 8
"""Images at once where statistics are estimated: they depend on it a little."""


def ask(job: Job, space: LabelSpace, rt: Runtime, source: Sequence[Sample], target: Sequence[Sample]) -> Setting:
    """The classes, and the guide with the statistics of each domain where they are asked for."""
    config: TranslateConfig = job.config
    fits = "translator" not in job.inputs
    bare = replace(unguided(space), fits=fits)
    if (directory := job.inputs.get("guide")) is None:
        return bare
    if not (asked := config.asks_guide(fits=fits, tones="tones" in job.inputs)):
        what = "asks no segmenter" if fits else "is fitted, and asks no segmenter any more"
        job.console.say(f"translate: {config.translator.name} {what}; --guide is shown in grid.png alone")
    network = load_segmenter(directory, expected_classes=list(space.names)).network
    if not (asked and config.guide_statistics):
        return replace(bare, guide=as_guide(rt.place(network)))
    domains = _unlabelled(config, space, source), _unlabelled(config, space, target)
    on_source, on_target = network, copy.deepcopy(network)
    estimate_statistics(on_source, domains[0], rt, batch=_STATISTICS_BATCH, images=config.guide_statistics)
    _estimate_target(config, on_target, domains, rt)
    guides = [as_guide(one) for one in (on_source, on_target)]
    return replace(bare, guide=guides[0], target_guide=guides[1])


def _unlabelled(config: TranslateConfig, space: LabelSpace, samples: Sequence[Sample]) -> SegmentationDataset:
    """Images of a domain from which statistics are estimated."""
    return SegmentationDataset(
        samples,
        space,
        size=config.size,
        with_labels=False,
        interpolation=config.interpolation,
        cache_mb=config.runtime.cache_mb,
    )


def _estimate_target(
    config: TranslateConfig,
    network: SegmenterNetwork,
    domains: tuple[SegmentationDataset, SegmentationDataset],
    rt: Runtime,
) -> None:
    """Give a segmenter the target's BatchNorm statistics, as the guide's settings say."""
    images, prior = config.guide_statistics, config.guide_prior
    estimate_mixed_statistics(network, *domains, rt, batch=_STATISTICS_BATCH, images=images, prior=prior)


def tone_teller(
    job: Job,
    space: LabelSpace,
    rt: Runtime,
    setting: Setting,
    source: Sequence[Sample],
    target: Sequence[Sample],
) -> tuple[Path, Callable[[Tensor], Tensor]]:
    """The segmenter that tells which classes target images show for `class_tones`, and its directory."""
    if (directory := job.inputs.get("tones")) is None:
        guide = setting.guide_of("target")
        assert guide is not None  # `check_translate` asks for one of the two
        return job.inputs["guide"], guide
    config: TranslateConfig = job.config
    network = load_segmenter(directory, expected_classes=list(space.names)).network
    if config.guide_statistics:
        _estimate_target(config, network, (_unlabelled(config, space, source), _unlabelled(config, space, target)), rt)
    return directory, as_guide(rt.place(network))


def goes_by_tones(guide: Path) -> bool:
    """Whether a segmenter is known to have been trained without classes in random tones (`augment.class_colors`)."""
    manifest = owning_manifest(guide)
    augment = manifest.config.get("augment", {}) if manifest is not None and manifest.stage == "segment" else {}
    return "class_colors" in augment and not augment["class_colors"]["probability"]
