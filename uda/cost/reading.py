"""How long this machine takes for the files of a set, measured on a few of them.

Where none is there yet, PNGs of their size are written to a temporary folder and read back.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uda.core.config import Size
from uda.core.console import Console
from uda.core.errors import UdaError
from uda.cost.sets import Images
from uda.data.augment import augment_geometry
from uda.data.augment_config import AugmentConfig
from uda.data.dataset import SegmentationDataset
from uda.data.index import Index, Pair, check_index
from uda.data.label_space import LabelSpace, load_space
from uda.data.read import Interpolation, encode_png, resize_image, resize_label, write_image, write_label
from uda.data.samples import Sample
from uda.data.spec import load_spec, write_index_spec
from uda.engine.runtime import make_runtime
from uda.stages import _quality_measure as measuring
from uda.stages.base import DATASET
from uda.stages.prepare import PrepareConfig
from uda.stages.quality import QualityConfig

_ENOUGH = 1.0
"""Seconds of one trial after which no further file is tried."""
_REPEATED = 3
"""How often what stands for all of a set is tried."""
_CELL = 16
"""Pixels along the sides of what such a PNG shows; between them it is smooth, and it has some noise."""


@dataclass(frozen=True)
class View:
    """How a step sees a set of images.

    Attributes:
        space: label space.
        size: height and width that they are resized to; None: as they are.
        labels: whether labels are read.
        interpolation: how they are resized.
    """

    space: str
    size: Size | None
    labels: bool
    interpolation: Interpolation


def measure_reading(images: Images, view: View) -> float:
    """Seconds to decode and resize an image, with its label where that is read.

    Raises:
        UdaError: none of the files can be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        space = load_space(view.space)
        samples = _samples(images, space, Path(folder))
        data = SegmentationDataset(
            samples, space, size=view.size, with_labels=view.labels, interpolation=view.interpolation
        )
        return _mean(len(data), lambda index: data.sample_at(index))


def measure_augmenting(size: Size, augment: AugmentConfig) -> float:
    """Seconds to crop, resize and mirror an image with its label, which is done anew each time that it is drawn."""
    image, label = _photograph(size), _labels(size, 19)
    return _mean(_REPEATED, lambda seed: augment_geometry(image, label, augment, np.random.default_rng(seed)))


def measure_writing(size: Size) -> float:
    """Seconds to encode and write an image with its label."""
    image, label = _photograph(size), _labels(size, 19)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "image.png")
        return _mean(_REPEATED, lambda _: [file.write_bytes(encode_png(one)) for one in (image, label)])


def measure_checking(images: Images, config: PrepareConfig) -> float:
    """Seconds that a thread of `prepare` takes for an image with its label."""
    space = None if config.label_space is None else load_space(config.label_space)
    with tempfile.TemporaryDirectory() as folder:
        samples = _samples(images, space or load_space("cityscapes19"), Path(folder))
        pairs = [Pair(str(number), one.image, one.label, "", "") for number, one in enumerate(samples)]
        # What was made up has no other classes than those that it was made for.
        spec = load_spec(config.dataset if images.files else str(Path(folder, DATASET)))
        root = Path(folder)
        return _mean(len(pairs), lambda at: check_index(Index(root, (pairs[at],), (), ()), spec, space, workers=1))


def measure_looking(images: Images, config: QualityConfig) -> float:
    """Seconds that `quality` takes to read an image and measure it, by those networks whose weights are there."""
    here = config.model_copy(update={"download": False, "runtime": config.runtime.model_copy(update={"workers": 0})})
    space, rt = load_space(config.label_space), make_runtime(config.runtime)
    gauge = measuring.Gauge(here, space, rt, measuring.load_tools(here, space, rt, None), Console(quiet=True))
    with tempfile.TemporaryDirectory() as folder:
        samples = _samples(images, space, Path(folder))[: config.batch]
        return _mean(2, lambda _: gauge.measure_real(samples, lambda _: None)) / len(samples)


def _mean(count: int, act: Callable[[int], object]) -> float:
    """Mean seconds of an action with some of `count` things, until it has taken long enough; the first one warms up.

    Raises:
        UdaError: it fails with all of them.
    """
    took: list[float] = []
    failed: UdaError | None = None
    for number in range(count):
        started = time.monotonic()
        try:
            act(number)
        except UdaError as error:  # `prepare` may leave it out
            failed = error
            continue
        took.append(time.monotonic() - started)
        if len(took) > 1 and sum(took) > _ENOUGH:
            break
    if not took and failed is not None:
        raise failed
    counted = took[1:] or took
    return sum(counted) / len(counted)


def _samples(images: Images, space: LabelSpace, folder: Path) -> Sequence[Sample]:
    """Files of the set, or PNGs of their size in the folder."""
    samples: Sequence[Sample] = images.files
    write_index_spec(space, folder / DATASET)
    if not samples:
        assert images.size is not None
        write_image(folder / "image.png", _photograph(images.size))
        samples = [Sample(folder / "image.png", None, DATASET, folder)] * _REPEATED
    if images.label_size is None:
        return samples
    write_label(folder / "label.png", _labels(images.label_size, space.num_classes))
    return [replace(one, label=folder / "label.png", dataset=DATASET, spec_base=folder) for one in samples]


def _photograph(size: Size) -> NDArray[np.uint8]:
    """An image that is about as large a PNG as a photograph of its size."""
    cells = np.stack([_cells(size, 240, seed) for seed in range(3)], axis=-1)
    noise = np.random.default_rng(0).integers(0, 16, (*size, 3), np.uint8)
    image: NDArray[np.uint8] = resize_image(cells.astype(np.uint8), size) // 16 * 15 + noise
    return image


def _labels(size: Size, classes: int) -> NDArray[np.uint8]:
    return resize_label(_cells(size, classes).astype(np.uint8), size)


def _cells(size: Size, values: int, seed: int = 0) -> NDArray[Any]:
    cells = (-(-size[0] // _CELL), -(-size[1] // _CELL))
    return np.random.default_rng(seed).integers(0, values, cells)
