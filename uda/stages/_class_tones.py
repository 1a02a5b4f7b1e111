"""Classes in the tones that they have in the target, as far as a segmenter tells them there.

A fitted translator gets the look of the whole right, and leaves a class lighter or darker than the target's: the
discriminators of a short fit do not see it, for there is something as light in both domains, of another class. A
segmenter that knows classes by place and shape tells (`augment.class_colors`). Not from a paper; Reinhard et al. (2001)
move the statistics of a whole image so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from kornia import color, filters
from torch import Tensor

_LEAST_SHARE = 0.01
"""Part of all pixels that a class takes, in both domains, for its tone to be known."""
_LOWEST, _HIGHEST, _BINS = -128.0, 128.0, 1024
"""Range of a LAB channel and how many levels of it are told apart: a quarter of a unit each."""
_HEADER = ("class", "L", "a", "b")


class Tones:
    """Medians of each class's LAB channels, counted image by image.

    Medians, for what a segmenter mistakes for a class is the smaller part of what it takes for it.

    Args:
        classes: how many.
    """

    def __init__(self, classes: int) -> None:
        self._counts = torch.zeros(classes, 3, _BINS, dtype=torch.float64)
        self._pixels = 0

    def add(self, images_BCHW: Tensor, classes_BHW: Tensor) -> None:
        """Count images in [-1, 1] with a class index for each pixel; 255 belongs to none."""
        lab = color.rgb_to_lab((images_BCHW.float().clamp(-1, 1) + 1) / 2)
        self._pixels += classes_BHW.numel()
        known = classes_BHW < len(self._counts)
        of = classes_BHW[known]
        for channel, values in enumerate(lab.unbind(dim=1)):
            level = ((values[known] - _LOWEST) / (_HIGHEST - _LOWEST) * _BINS).long().clamp(0, _BINS - 1)
            counted = torch.bincount(of * _BINS + level, minlength=len(self._counts) * _BINS)
            self._counts[:, channel] += counted.view(-1, _BINS).to("cpu", torch.float64)

    def medians(self) -> Tensor:
        """Tones (N, 3), LAB; NaN where a class takes less than a hundredth of the pixels."""
        total = self._counts.sum(dim=2, keepdim=True)
        middle = (self._counts.cumsum(dim=2) < total / 2).sum(dim=2).float()
        tones = _LOWEST + (middle + 0.5) / _BINS * (_HIGHEST - _LOWEST)
        return torch.where(total[..., 0] >= max(1.0, _LEAST_SHARE * self._pixels), tones, torch.nan)


def measure(pairs: Iterable[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """Tones (N, 3) of images_BCHW in [-1, 1] with classes_BHW; see `Tones`."""
    tones = Tones(classes)
    for images_BCHW, classes_BHW in pairs:
        tones.add(images_BCHW, classes_BHW)
    return tones.medians()


def shifts(made_N3: Tensor, wanted_N3: Tensor) -> Tensor:
    """What each class lacks to the tone wanted of it, (N, 3); 0 where one of the two is not known."""
    return (wanted_N3 - made_N3).nan_to_num(0.0)


def move(images_BCHW: Tensor, labels_BHW: Tensor, shifts_N3: Tensor) -> Tensor:
    """Images whose classes are shifted, softly where two of them meet.

    Args:
        images_BCHW: RGB in [-1, 1].
        labels_BHW: class indices; 255 stays.
        shifts_N3: LAB units, by class.
    """
    none = shifts_N3.new_zeros(256 - len(shifts_N3), 3)
    table = torch.cat([shifts_N3, none]).to(images_BCHW.device, torch.float32)
    with torch.autocast(images_BCHW.device.type, enabled=False):
        by_pixel = table[labels_BHW].permute(0, 3, 1, 2)
        by_pixel = filters.gaussian_blur2d(by_pixel, (5, 5), (1.0, 1.0), border_type="replicate")
        lab = color.rgb_to_lab((images_BCHW.float().clamp(-1, 1) + 1) / 2) + by_pixel
        moved: Tensor = color.lab_to_rgb(torch.cat([lab[:, :1].clamp(0, 100), lab[:, 1:]], dim=1)) * 2 - 1
    return moved.clamp(-1, 1)


def as_table(shifts_N3: Tensor, names: Sequence[str]) -> bytes:
    """Shifts as a CSV: class, and LAB units that it is moved by."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_HEADER)
    rows.writerows([name, *shift] for name, shift in zip(names, shifts_N3.tolist(), strict=True))
    return text.getvalue().encode()


def read_table(file: Path) -> Tensor:
    """Shifts (N, 3) that `as_table` wrote."""
    with file.open(newline="") as opened:
        return torch.tensor([[float(row[key]) for key in _HEADER[1:]] for row in csv.DictReader(opened)])
