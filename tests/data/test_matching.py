from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from uda.data.matching import Candidates, agreement


def of(*rows: list[int]) -> NDArray[np.uint8]:
    return np.asarray(rows, np.uint8)


@pytest.mark.parametrize(
    ("label", "classes", "share"),
    [
        (of([0, 1], [2, 255]), of([0, 1], [2, 3]), 1.0),
        (of([0, 1], [2, 255]), of([0, 1], [0, 255]), 2 / 3),
        (of([0, 1], [2, 255]), of([1, 0], [0, 255]), 0.0),
        (of([255, 255]), of([255, 255]), 0.0),
    ],
)
def test_agreement_is_the_part_of_the_known_pixels_with_the_same_class(
    label: NDArray[np.uint8], classes: NDArray[np.uint8], share: float
) -> None:
    assert agreement(label, classes) == pytest.approx(share)


def test_coarse_maps_are_shown_at_the_images_size() -> None:
    candidates = Candidates([of([0, 1]), of([5, 6], [7, 8])], (4, 6), each=2)
    assert np.array_equal(candidates.shown(0), np.repeat(of([0, 1]), 3, axis=1).repeat(4, axis=0))
    assert np.array_equal(candidates.shown(1), np.repeat(of([5, 6], [7, 8]), 3, axis=1).repeat(2, axis=0))
