"""Classes in the tones that they have in the target, as far as a segmenter tells them there.

A fitted translator gets the look of the whole right, and leaves a class lighter or darker than the target's: the
discriminators of a short fit do not see it, for there is something as light in both domains, of another class. A
segmenter that knows classes by place and shape tells (`augment.class_colors`). A class is then another material under
the same light: its linear light is multiplied, as by von Kries' coefficients, so that shadows and textures on it keep
their contrast. Not from a paper; Reinhard et al. (2001) move the statistics of a whole image.
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
_BINS = 1024
"""How many levels of a channel are told apart."""
_DARKEST = 0.003
"""Linear light below which a tone is taken for black (11 of 255 in an image), and multiplies nothing further."""
_MOST = 2.0
"""What light is multiplied or divided by at most: as far as a guide is believed, so that classes can still be told."""
_HEADER = ("class", "R", "G", "B")


class Tones:
    """Medians of each class's R, G and B, counted image by image.

    Medians, for what a segmenter mistakes for a class is the smaller part of what it takes for it.

    Args:
        classes: how many.
    """

    def __init__(self, classes: int) -> None:
        self._counts = torch.zeros(classes, 3, _BINS, dtype=torch.float64)
        self._pixels = 0

    def add(self, images_BCHW: Tensor, classes_BHW: Tensor) -> None:
        """Count images in [-1, 1] with a class index for each pixel; 255 belongs to none."""
        self._pixels += classes_BHW.numel()
        known = classes_BHW < len(self._counts)
        of = classes_BHW[known]
        for channel, values in enumerate(_unit(images_BCHW).unbind(dim=1)):
            level = (values[known] * _BINS).long().clamp(0, _BINS - 1)
            counted = torch.bincount(of * _BINS + level, minlength=len(self._counts) * _BINS)
            self._counts[:, channel] += counted.view(-1, _BINS).to("cpu", torch.float64)

    def medians(self) -> Tensor:
        """Tones (N, 3), RGB in [0, 1]; NaN where a class takes less than a hundredth of the pixels."""
        total = self._counts.sum(dim=2, keepdim=True)
        middle = (self._counts.cumsum(dim=2) < total / 2).sum(dim=2).float()
        tones = (middle + 0.5) / _BINS
        return torch.where(total[..., 0] >= max(1.0, _LEAST_SHARE * self._pixels), tones, torch.nan)


def measure(pairs: Iterable[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """Tones (N, 3) of images_BCHW in [-1, 1] with classes_BHW; see `Tones`."""
    tones = Tones(classes)
    for images_BCHW, classes_BHW in pairs:
        tones.add(images_BCHW, classes_BHW)
    return tones.medians()


def gains(made_N3: Tensor, wanted_N3: Tensor) -> Tensor:
    """What multiplies classes' linear light towards the tone wanted, (N, 3); 1 where one of the two is not known."""
    light = [color.rgb_to_linear_rgb(one.T[:, :, None])[..., 0].T for one in (wanted_N3, made_N3)]
    wanted, made = (one.clamp(min=_DARKEST) for one in light)
    found: Tensor = (wanted / made).clamp(1 / _MOST, _MOST)
    return found.nan_to_num(1.0)


def move(images_BCHW: Tensor, labels_BHW: Tensor, gains_N3: Tensor) -> Tensor:
    """Images whose classes' linear light is multiplied, softly where two of them meet; what has a gain of 1 stays.

    Args:
        images_BCHW: RGB in [-1, 1].
        labels_BHW: class indices; 255 stays.
        gains_N3: factors above 0, by class.
    """
    none = gains_N3.new_ones(256 - len(gains_N3), 3)
    table = torch.cat([gains_N3, none]).to(images_BCHW.device, torch.float32).log()
    with torch.autocast(images_BCHW.device.type, enabled=False):
        by_pixel = table[labels_BHW].permute(0, 3, 1, 2)
        by_pixel = filters.gaussian_blur2d(by_pixel, (5, 5), (1.0, 1.0), border_type="replicate")
        light = color.rgb_to_linear_rgb(_unit(images_BCHW)) * by_pixel.exp()
        moved = color.linear_rgb_to_rgb(light.clamp(0, 1)) * 2 - 1
        return torch.where(by_pixel == 0, images_BCHW.float(), moved)


def _unit(images_BCHW: Tensor) -> Tensor:
    """Images in [-1, 1] as they are in [0, 1]."""
    return (images_BCHW.float().clamp(-1, 1) + 1) / 2


def as_table(gains_N3: Tensor, names: Sequence[str]) -> bytes:
    """Gains as a CSV: class, and the factors of its linear light."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_HEADER)
    rows.writerows([name, *gain] for name, gain in zip(names, gains_N3.tolist(), strict=True))
    return text.getvalue().encode()


def read_table(file: Path) -> Tensor:
    """Gains (N, 3) that `as_table` wrote."""
    with file.open(newline="") as opened:
        return torch.tensor([[float(row[key]) for key in _HEADER[1:]] for row in csv.DictReader(opened)])
