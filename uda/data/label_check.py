"""Open every label before a run that will draw from them: a bad one would end it hours in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from uda.core.errors import DataError
from uda.data.label_space import LabelSpace
from uda.data.rare_classes import class_counts
from uda.data.read import LabelReader, read_size, resize_label
from uda.data.samples import Sample


def count_labels(
    samples: Sequence[Sample],
    space: LabelSpace,
    *,
    size: tuple[int, int] | None = None,
    as_images: bool = False,
    workers: int = 4,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.int64]:
    """Pixels of each class in each sample's label map; images stay closed.

    Args:
        samples: rows of a manifest; one without a label counts nothing.
        space: the task's classes.
        size: (height, width) that maps are brought to first; None: as they are.
        as_images: see by the image's header that image and label are of one shape, whatever their sizes.
        workers: threads that read.
        progress: is told how many labels are done.

    Returns:
        counts (samples, N).

    Raises:
        DataError: labels are missing, undecodable, of another shape than their image, or have values that their spec
            does not declare: how many, and what is wrong with the first.
    """
    reader = LabelReader(samples, space)

    def count(sample: Sample) -> NDArray[np.int64] | DataError:
        try:
            labels = reader.read(sample)
            if labels is None:
                return np.zeros(space.num_classes, np.int64)
            if as_images:
                _see_one_shape(sample, labels.shape)
        except DataError as error:
            return error
        row: NDArray[np.int64] = class_counts(
            [labels if size is None else resize_label(labels, size)], space.num_classes
        )[0]
        return row

    rows: list[NDArray[np.int64]] = []
    bad: list[DataError] = []
    with ThreadPoolExecutor(workers) as pool:
        for done, found in enumerate(pool.map(count, samples), start=1):
            if isinstance(found, DataError):
                bad.append(found)
            else:
                rows.append(found)
            if progress is not None:
                progress(done)
    if bad:
        first = bad[0]
        what = first.what if len(bad) == 1 else f"{first.what} (the first of {len(bad)} bad labels)"
        raise DataError(what, first.where, first.mend)
    return np.asarray(rows, dtype=np.int64).reshape(len(rows), space.num_classes)


def _see_one_shape(sample: Sample, label: tuple[int, ...]) -> None:
    """Refuse a label whose sides are in another proportion than its image's, by more than rounding to pixels."""
    image = read_size(sample.image)
    if abs(label[0] * image[1] - label[1] * image[0]) > max(*label, *image):
        what = f"label {label[0]}x{label[1]}, image {image[0]}x{image[1]} (height x width): not one picture"
        raise DataError(what, sample.label, "pair the image with its own label, or leave it out")
