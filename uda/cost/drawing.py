"""How long images take that are read again and again, by a step's own process or by workers, and kept in a cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from uda.core.config import Size
from uda.cost.sets import pixels

_HELD_BYTES_PER_PIXEL = 4
"""Of an image with its label, as a data set's cache holds them."""


@dataclass(frozen=True)
class Drawn:
    """A data set that images are drawn from.

    Attributes:
        count: images in it.
        held: part of them that a process's cache has room for.
        read: seconds to read one.
        augment: seconds to augment one, be it read or kept.
    """

    count: int
    held: float
    read: float
    augment: float

    @classmethod
    def of(cls, count: int, read: float, augment: float, size: Size, cache_mb: float) -> Self:
        """A data set whose images are resized to `size`, height and width."""
        room = cache_mb * 1e6 // (_HELD_BYTES_PER_PIXEL * pixels(size))
        return cls(count, min(1.0, room / max(1, count)), read, augment)

    def each(self, *, first: bool) -> float:
        """Seconds to get an image the first time, or later, when the cache holds what it has room for."""
        return self.augment + self.read * (1.0 if first else 1 - self.held)


def beside(step: float, read: float, workers: int) -> float:
    """Seconds of a step with its reading: before it, or beside it in workers, of which no more than cores count."""
    return max(step, read / min(workers, os.cpu_count() or 1)) if workers else step + read


def drawing_seconds(step: float, sets: Sequence[Drawn], images: float, workers: int) -> float:
    """Seconds of a process that draws an image of each set for every step of one.

    Args:
        step: seconds without the reading.
        sets: what is drawn from.
        images: how many are drawn of each.
        workers: processes that read, each of which keeps what it has read itself.
    """
    firsts = [one.count * max(1, workers) for one in sets]
    ends = sorted({0.0, float(images), *(float(first) for first in firsts if first < images)})
    seconds = 0.0
    for start, end in pairwise(ends):
        read = sum(one.each(first=start < first) for one, first in zip(sets, firsts, strict=True))
        seconds += (end - start) * beside(step, read, workers)
    return seconds
