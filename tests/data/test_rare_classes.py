from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uda.data.rare_classes import class_counts, rare_class_probabilities


def test_counts_are_by_image_and_class_and_unknown_pixels_count_nowhere() -> None:
    maps = [np.array([[0, 0, 2], [255, 2, 0]], np.uint8), np.array([[1, 3, 1]], np.uint8)]
    counts = class_counts(maps, 3)
    assert counts.tolist() == [[3, 0, 2], [0, 2, 0]]
    assert class_counts([], 3).shape == (0, 3)


def test_the_closed_form() -> None:
    # Class 0: 90, 10 and 0 pixels of 100. Class 1: 0, 1 and 3 of 4. Class 2 occurs nowhere.
    counts = np.array([[90, 0, 0], [10, 1, 0], [0, 3, 0]])
    wanted = np.array([0.9 + 0, 0.1 + 0.25, 0 + 0.75]) / 2
    assert rare_class_probabilities(counts) == pytest.approx(wanted)


def test_an_image_with_a_rare_class_is_drawn_more_often_than_one_with_many_pixels_of_common_ones() -> None:
    counts = np.array([[1000, 0], [1000, 0], [1000, 0], [500, 2]])
    probabilities = rare_class_probabilities(counts)
    assert probabilities[3] == pytest.approx((500 / 3500 + 1) / 2)
    assert probabilities[0] == probabilities[1] == pytest.approx(1000 / 3500 / 2)


def test_images_without_a_known_pixel_are_never_drawn_unless_there_are_no_others() -> None:
    assert rare_class_probabilities(np.array([[4, 1], [0, 0]])).tolist() == [1, 0]
    assert rare_class_probabilities(np.zeros((4, 2), np.int64)).tolist() == [0.25] * 4


@given(st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=1, max_size=6))
def test_probabilities_sum_to_one_and_the_order_of_images_does_not_matter(rows: list[list[int]]) -> None:
    counts = np.array(rows)
    probabilities = rare_class_probabilities(counts)
    assert (probabilities >= 0).all() and probabilities.sum() == pytest.approx(1)
    assert rare_class_probabilities(counts[::-1]) == pytest.approx(probabilities[::-1])
