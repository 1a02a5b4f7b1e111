"""Takes the measures of `uda quality`, set by set: one pass for the distances, one for samples, one for alignment."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler

from uda.core.console import Console
from uda.data.dataset import SegmentationDataset
from uda.data.label_space import LabelSpace
from uda.data.read import LabelReader, resize_label
from uda.data.samples import Sample
from uda.engine import inference
from uda.engine.loading import read_batches
from uda.engine.runtime import Runtime
from uda.metrics import diversity, inception
from uda.metrics.confusion import ConfusionMatrix
from uda.metrics.lab_histogram import LabHistogram, earth_movers_distance
from uda.metrics.sharpness import Sharpness, sharpness_gap
from uda.metrics.texture import BinaryPatterns, chi_square_distance
from uda.metrics.weights import NotMeasurableError
from uda.nets.segmenter import SegmenterNetwork
from uda.segmenters import _store as store
from uda.stages._files import INPUT
from uda.stages._quality_table import Result, Role, Row, not_measured

if TYPE_CHECKING:
    from uda.stages.quality import QualityConfig


@dataclass(frozen=True)
class Tools:
    """The networks that measure; in the place of one that is not to be had, why.

    Attributes:
        inception: uint8 images -> (features_BD, logits_BK).
        lpips: two batches in [-1, 1] -> distances.
        segmenter: of the alignment.
    """

    inception: nn.Module | NotMeasurableError
    lpips: nn.Module | NotMeasurableError
    segmenter: SegmenterNetwork | NotMeasurableError


def load_tools(config: QualityConfig, space: LabelSpace, runtime: Runtime, segmenter: Path | None) -> Tools:
    """Load what is to be had.

    Raises:
        DataError: weights that were given by hand cannot be used.
        ConfigError: the segmenter was trained for other classes.
    """

    def ready(load: Callable[[], nn.Module]) -> nn.Module | NotMeasurableError:
        try:
            return load().eval().to(runtime.device)
        except NotMeasurableError as error:
            return error

    def lpips() -> nn.Module:
        diversity.check_lpips_size(*config.size)
        return diversity.load_lpips(config.lpips_weights, download=config.download)

    return Tools(
        ready(lambda: inception.load_inception(config.inception_weights, download=config.download)),
        ready(lpips),
        NotMeasurableError("no segmenter", None, "give --segmenter DIR")
        if segmenter is None
        else store.load_segmenter(segmenter, expected_classes=list(space.names)).network,
    )


def too_small(config: QualityConfig, sets: Iterable[Sequence[Sample]]) -> str | None:
    """What cannot be measured of images of this size, and why, where there is something else to measure it of."""
    if not any(_several(samples, config.samples) for samples in sets):
        return None
    try:
        diversity.ms_ssim_scales(*config.size)
    except NotMeasurableError as error:
        return f"MS-SSIM and LPIPS are not measured: {error}"
    try:
        diversity.check_lpips_size(*config.size)
    except NotMeasurableError as error:
        return f"LPIPS is not measured: {error}"
    return None


def _several(samples: Sequence[Sample], most: int) -> list[list[Sample]]:
    """The samples of each input that has more than one, `most` of them at most."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        if (source := sample.extra.get(INPUT)) and len(groups.setdefault(source, [])) < most:
            groups[source].append(sample)
    return [group for group in groups.values() if len(group) > 1]


_ENOUGH_IN_A_SPLIT = 1000
"""Fewer images than ImageNet has classes cannot show them all."""


class _Sums:
    """What one pass over a set leaves, whatever its size."""

    def __init__(self, splits: int) -> None:
        self.colours, self.textures, self.sharpness = LabHistogram(), BinaryPatterns(), Sharpness()
        self.score = inception.InceptionScore(splits)


class Gauge:
    """Measures one set of images after another against the same real images.

    Args:
        config: the stage's settings.
        space: classes of the label maps.
        runtime: device, precision.
        tools: the networks.
        console: where progress is shown.
    """

    def __init__(
        self, config: QualityConfig, space: LabelSpace, runtime: Runtime, tools: Tools, console: Console
    ) -> None:
        self._config, self._space, self._runtime, self._console = config, space, runtime, console
        self._tools = tools
        self._distances: inception.InceptionDistances | None = None
        self._real = _Sums(config.inception_splits)

    def measure_real(self, samples: Sequence[Sample], see: Callable[[Tensor], None]) -> Row:
        """Look at the real images first; labels stay closed.

        Args:
            samples: the real images.
            see: is shown every batch, uint8 (B, 3, H, W).

        Returns:
            The measures that need nothing to compare with.
        """
        for images in self._images("real", samples):
            see(images)
            self._add(images, self._real, real=True)
        results = {"inception_score": self._inception_score(self._real, len(samples))}
        results["sharpness"] = Result(self._real.sharpness.mean(), len(samples))
        return Row("real", "real", len(samples), results)

    def measure(self, name: str, role: Role, samples: Sequence[Sample]) -> Row:
        """All measures of a set of images."""
        sums, count = _Sums(self._config.inception_splits), len(samples)
        if self._distances is not None:
            self._distances.reset()
        for images in self._images(name, samples):
            self._add(images, sums, real=False)
        results = self._inception_results(sums, count)
        results |= self._diversity(name, samples)
        results["lab_emd"] = Result(earth_movers_distance(sums.colours, self._real.colours), count)
        results["lbp_chi_square"] = Result(chi_square_distance(sums.textures, self._real.textures), count)
        results |= self._alignment(name, samples)
        results["sharpness"] = Result(sums.sharpness.mean(), count)
        results["sharpness_gap"] = Result(sharpness_gap(sums.sharpness, self._real.sharpness), count)
        return Row(name, role, count, results)

    def _images(self, name: str, samples: Sequence[Sample]) -> Iterator[Tensor]:
        """Batches of images on the device, uint8 (B, 3, H, W); no file is kept, no label opened."""
        config = self._config
        parts = BatchSampler(range(len(samples)), config.batch, drop_last=False)
        with self._console.progress(f"quality: {name}", len(samples)) as progress:
            for item in read_batches(self._data(samples), parts, self._runtime):
                yield item["image"].to(self._runtime.device)
                progress.update(progress.done + len(item["image"]))

    def _data(self, samples: Sequence[Sample]) -> SegmentationDataset:
        config = self._config
        return SegmentationDataset(
            samples, None, size=config.size, with_labels=False, interpolation=config.interpolation, cache_mb=0
        )

    def _add(self, images_BCHW: Tensor, sums: _Sums, *, real: bool) -> None:
        for one in (sums.colours, sums.textures, sums.sharpness):
            one.update(images_BCHW)
        network = self._tools.inception
        if isinstance(network, NotMeasurableError):
            return
        with torch.inference_mode():
            features_BD, logits_BK = network(images_BCHW)
        if self._distances is None:
            config = self._config
            self._distances = inception.InceptionDistances(
                features_BD.shape[1],
                kept=config.kid_images,
                subsets=config.kid_subsets,
                subset_size=config.kid_subset_size,
                seed=config.seed,
                device=self._runtime.device,
            )
        self._distances.update(features_BD, real=real)
        sums.score.update(logits_BK)

    def _inception_results(self, sums: _Sums, count: int) -> dict[str, Result]:
        distances = self._distances
        note = ""
        if distances is not None and min(count, self._real.sharpness.images) <= distances.num_features:
            # The covariance of fewer images than features is singular, and FID grows as images get fewer.
            note = f"fewer images than the {distances.num_features} features: biased, compares at equal counts only"
        return {
            "fid": self._inception(lambda: distances.fid() if distances else math.nan, count, note),
            "kid": self._inception(
                lambda: distances.kid() if distances else math.nan, min(count, self._config.kid_images)
            ),
            "inception_score": self._inception_score(sums, count),
        }

    def _inception_score(self, sums: _Sums, count: int) -> Result:
        """It cannot exceed the images of a split (1 where each is a split of its own), and grows with them."""
        each, note = count // self._config.inception_splits, ""
        if each < _ENOUGH_IN_A_SPLIT:
            note = f"{each} images in a split (the paper has 5000): compares at equal counts only"
        return self._inception(sums.score.compute, count, note)

    def _inception(self, compute: Callable[[], float], count: int, note: str = "") -> Result:
        """A measure on the Inception network, or why there is none."""
        if isinstance(self._tools.inception, NotMeasurableError):
            return not_measured(self._tools.inception)
        try:
            return Result(compute(), count, note)
        except NotMeasurableError as error:
            return not_measured(error)

    def _diversity(self, name: str, samples: Sequence[Sample]) -> dict[str, Result]:
        several = _several(samples, self._config.samples)
        if not several:
            reason = f"no input has several samples (column `{INPUT}` of the manifest names each image's input)"
            return dict.fromkeys(("ms_ssim", "lpips"), not_measured(reason))
        lpips = self._tools.lpips
        meter = diversity.Diversity(None if isinstance(lpips, NotMeasurableError) else lpips)
        try:
            scales = diversity.ms_ssim_scales(*self._config.size)
            for group in several:
                data = self._data(group)
                images = torch.stack([data[index]["image"] for index in range(len(group))])
                meter.update(images.to(self._runtime.device))
        except NotMeasurableError as error:
            return dict.fromkeys(("ms_ssim", "lpips"), not_measured(error))
        everything = len(diversity.BETAS)
        note = "" if scales == everything else f"{scales} of {everything} scales: the images are too small for more"
        missing = isinstance(lpips, NotMeasurableError)
        return {
            "ms_ssim": Result(meter.ms_ssim(), meter.pairs, note),
            "lpips": not_measured(lpips) if missing else Result(meter.lpips(), meter.pairs),
        }

    def _alignment(self, name: str, samples: Sequence[Sample]) -> dict[str, Result]:
        """How far a segmenter finds in the images what their label maps say.

        Labels are brought to the size of all images, so that source and translations differ in their pixels alone.
        """
        keys, network = ("miou", "pixel_accuracy"), self._tools.segmenter
        if isinstance(network, NotMeasurableError):
            return dict.fromkeys(keys, not_measured(network))
        labelled = [sample for sample in samples if sample.label is not None]
        if not labelled:
            return dict.fromkeys(keys, not_measured("its manifest has no labels"))
        matrix = ConfusionMatrix(len(self._space.classes))
        labels, data, size = LabelReader(labelled, self._space), self._data(labelled), self._config.size
        with self._console.progress(f"quality: alignment of {name}", len(labelled)) as progress:
            for part in inference.predict(network, data, self._runtime, batch=self._config.batch, everywhere=True):
                for index, logits_NHW in zip(part.indices, part.logits_BNHW, strict=True):
                    label_HW = labels.read(labelled[index])
                    assert label_HW is not None
                    found_HW = inference.to_labels(logits_NHW, size, network.align_corners, "logits")
                    matrix.update(found_HW, resize_label(label_HW, size))
                progress.update(progress.done + len(part.indices))
        if not matrix.counts.any():
            return dict.fromkeys(keys, not_measured(f"no pixel of its labels is a class of {self._space.name}"))
        return {
            "miou": Result(matrix.mean_iou(), len(labelled)),
            "pixel_accuracy": Result(matrix.pixel_accuracy(), len(labelled)),
        }
