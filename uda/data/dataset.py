"""A manifest's samples as tensors, with the resized images kept in memory as far as they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from uda.data.label_space import IGNORE, LabelSpace
from uda.data.read import Interpolation, LabelReader, read_image, resize_image, resize_label
from uda.data.samples import Sample

Pixels = NDArray[np.uint8]


class Item(TypedDict):
    """One sample: image uint8 (3, H, W) RGB; label uint8 (H, W), 255 = ignore or none; its place in the manifest."""

    image: Tensor
    label: Tensor
    index: int


class SegmentationDataset(Dataset[Item]):
    """Images, and labels in the classes of one label space, in the order of the samples.

    Args:
        samples: rows of a manifest.
        space: the task's classes; None with `with_labels=False` only.
        size: (height, width) that the whole image is resized to, not keeping its aspect, as the published recipes
            do; None keeps each image's own size.
        with_labels: False opens no label file and reads no dataset spec: every label is 255 throughout.
        interpolation: of images; labels are resized by nearest neighbour.
        cache_mb: resized arrays are kept up to so many MB (10^6 bytes), in each process that reads; 0 keeps none, as is
            best for what is read once.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        space: LabelSpace | None,
        *,
        size: tuple[int, int] | None,
        with_labels: bool = True,
        interpolation: Interpolation = "bicubic",
        cache_mb: float = 0,
    ) -> None:
        if with_labels and space is None:
            raise ValueError("a label space is needed to read labels")
        self.samples = tuple(samples)
        self.size, self.interpolation = size, interpolation
        self.labelled = with_labels
        self._labels = LabelReader(self.samples, space) if with_labels and space is not None else None
        self._cache: dict[int, tuple[Pixels, Pixels]] = {}
        self._room = self._all_room = int(cache_mb * 1e6)

    def __getstate__(self) -> dict[str, Any]:
        # what goes to a worker process leaves the cache behind: each fills its own
        return {**self.__dict__, "_cache": {}, "_room": self._all_room}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        image, label = self.sample_at(index)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "label": torch.from_numpy(label.copy()),
            "index": index,
        }

    def sample_at(self, index: int) -> tuple[Pixels, Pixels]:
        """Image (H, W, 3) and label (H, W), uint8, read-only: they may be the cache's own.

        Raises:
            DataError: a file is missing, undecodable, or has label values that its spec does not declare.
        """
        if index not in self._cache:
            pair = self._read(self.samples[index])
            for part in pair:
                part.flags.writeable = False
            needed = sum(part.nbytes for part in pair)
            if needed > self._room:
                return pair
            self._room -= needed
            self._cache[index] = pair
        return self._cache[index]

    def _read(self, sample: Sample) -> tuple[Pixels, Pixels]:
        image = read_image(sample.image)
        if self.size is not None:
            image = resize_image(image, self.size, self.interpolation)
        label = self._labels.read(sample) if self._labels is not None else None
        if label is None:
            label = np.full(image.shape[:2], IGNORE, np.uint8)
        else:
            label = resize_label(label, (image.shape[0], image.shape[1]))
        return image, label
