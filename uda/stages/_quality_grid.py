"""`grid.png` of `uda quality`: input, labels, what each translator made of it, and the real image nearest in layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from uda.data.dataset import SegmentationDataset
from uda.data.label_space import LabelSpace
from uda.data.pairs import IMAGE_ENDINGS
from uda.data.read import Interpolation, encode_png
from uda.data.samples import Sample
from uda.metrics.nearest import NearestLayout
from uda.stages._files import INPUT, unique_names

Pixels = NDArray[np.uint8]
_CAPTION = 14
"""Height of the line of names, in pixels."""


class QualityGrid:
    """A few inputs, spread evenly over the first translator's images; held in memory, the sets are not.

    Images belong together by what their manifests' column `input` says, else by their file names: `uda translate` gives
    those of the inputs. Where a translator or the source has none of a name, its place is black.

    Args:
        source: the untranslated images; None leaves their column out.
        translations: what each translator made.
        space: classes and colours of the label maps.
        rows: inputs shown at most.
        size: height and width of each picture.
        interpolation: how images are resized.
    """

    def __init__(
        self,
        source: Sequence[Sample] | None,
        translations: Mapping[str, Sequence[Sample]],
        space: LabelSpace,
        *,
        rows: int,
        size: tuple[int, int],
        interpolation: Interpolation,
    ) -> None:
        first = next(iter(translations.values()))
        places = _places(first)
        chosen = np.linspace(0, len(places) - 1, min(rows, len(places))).round().astype(int)
        wanted = [list(places)[index] for index in chosen]
        shown = {name: _pictures(samples, wanted, size, interpolation) for name, samples in translations.items()}
        inputs = {} if source is None else {"input": _pictures(source, wanted, size, interpolation)}
        with_labels = [first[places[name]] for name in wanted]
        data = SegmentationDataset(with_labels, space, size=size, interpolation=interpolation, cache_mb=0)
        labels = [space.palette()[data.sample_at(index)[1]] for index in range(len(with_labels))]
        self._columns: dict[str, list[Pixels]] = {**inputs, "labels": labels, **shown}
        self._nearest = NearestLayout(_batch(inputs.get("input") or next(iter(shown.values()))))

    def see_real(self, images_BCHW: Tensor) -> None:
        """Look for nearest images among these, uint8 RGB of the grid's size."""
        self._nearest.update(images_BCHW)

    def png(self) -> bytes:
        """The picture, a row for each input, under a line of names."""
        nearest = [image.permute(1, 2, 0).numpy() for image in self._nearest.images]
        columns = {**self._columns, "nearest real": nearest}
        grid = np.concatenate([_titled(name, np.concatenate(column)) for name, column in columns.items()], axis=1)
        return encode_png(np.ascontiguousarray(grid))


def _pictures(
    samples: Sequence[Sample], wanted: Sequence[str], size: tuple[int, int], interpolation: Interpolation
) -> list[Pixels]:
    """The images of the wanted names, uint8 (H, W, 3); black where there is none."""
    places = _places(samples)
    data = SegmentationDataset(samples, None, size=size, with_labels=False, interpolation=interpolation, cache_mb=0)
    black = np.zeros((*size, 3), np.uint8)
    return [data.sample_at(places[name])[0] if name in places else black for name in wanted]


def _places(samples: Sequence[Sample]) -> dict[str, int]:
    """Place of the first image of each input, by the input's name."""
    places: dict[str, int] = {}
    for index, (sample, name) in enumerate(zip(samples, unique_names(samples), strict=True)):
        text = sample.extra.get(INPUT) or name
        ending = Path(text).suffix  # `frame.0001` has none: a number is no kind of image
        places.setdefault(text.removesuffix(ending) if ending.lower() in IMAGE_ENDINGS else text, index)
    return places


def _batch(images: Sequence[Pixels]) -> Tensor:
    return torch.stack([torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images])


def _titled(name: str, column_HWC: Pixels) -> Pixels:
    """The column under its name."""
    line = Image.new("RGB", (column_HWC.shape[1], _CAPTION))
    ImageDraw.Draw(line).text((2, 1), name, fill=(255, 255, 255))
    return np.concatenate((np.asarray(line), column_HWC))
