"""Colour, texture and sharpness of sets of images: closed forms, streaming, and states that do not grow."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import kornia.color
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from uda.core.errors import DataError
from uda.metrics.lab_histogram import LabHistogram, earth_movers_distance
from uda.metrics.luma import luma
from uda.metrics.sharpness import Sharpness, sharpness_gap
from uda.metrics.texture import BinaryPatterns, binary_patterns, chi_square_distance

METERS: list[tuple[Callable[[], Any], Callable[[Any, Any], float]]] = [
    (LabHistogram, earth_movers_distance),
    (BinaryPatterns, chi_square_distance),
    (Sharpness, sharpness_gap),
]
each_meter = pytest.mark.parametrize(("make", "distance"), METERS, ids=lambda one: one.__name__)


def noise(count: int, size: tuple[int, int] = (12, 16), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, *size), generator=generator, dtype=torch.uint8)


def seen(make: Callable[[], Any], *batches: Tensor) -> Any:
    meter = make()
    for images in batches:
        meter.update(images)
    return meter


def state_bytes(meter: Any) -> int:
    buffer = io.BytesIO()
    torch.save(vars(meter), buffer)
    return len(buffer.getvalue())


@each_meter
def test_equal_sets_are_at_distance_zero_and_others_are_not(make: Any, distance: Any) -> None:
    images = noise(4)
    assert distance(seen(make, images), seen(make, images.flip(0))) == pytest.approx(0, abs=1e-9)
    assert distance(seen(make, images), seen(make, images // 2 // 32 * 32)) > 0.01


@each_meter
def test_a_distance_is_the_same_both_ways(make: Any, distance: Any) -> None:
    one, other = seen(make, noise(2)), seen(make, noise(3, seed=1) // 3)
    assert distance(one, other) == distance(other, one)


@each_meter
def test_batches_add_up_to_all_at_once(make: Any, distance: Any) -> None:
    images = noise(7)
    whole, parts = seen(make, images), seen(make, *images.split(3))
    assert distance(whole, parts) == pytest.approx(0, abs=1e-9)
    reference = seen(make, noise(2, seed=5) // 4)
    assert distance(whole, reference) == pytest.approx(distance(parts, reference), rel=1e-12)


@each_meter
def test_the_state_does_not_grow_with_the_images(make: Any, distance: Any) -> None:
    few, many = seen(make, noise(2)), seen(make, *noise(64).split(8))
    assert state_bytes(few) == state_bytes(many)


@each_meter
def test_nothing_counted_is_said(make: Any, distance: Any) -> None:
    with pytest.raises(DataError, match=r"no (pixels were counted|images were added)"):
        distance(make(), seen(make, noise(1)))


def flat_lab(lightness: float, a: float, b: float) -> Tensor:
    """One flat image of a LAB colour, rounded to 8 bits."""
    lab = torch.tensor([lightness, a, b]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    rgb: Tensor = kornia.color.lab_to_rgb(lab)
    return (rgb * 255).round().to(torch.uint8)


@pytest.mark.parametrize(("shift", "expected"), [((12, 0, 0), 4), ((0, -9, 0), 3), ((0, 0, 6), 2), ((7, 7, 7), 7)])
def test_a_constant_shift_costs_its_lab_units(shift: tuple[int, int, int], expected: float) -> None:
    start = (50.5, 10.5, -5.5)  # in the middle of bins, where rounding to 8 bits leaves it
    moved = tuple(value + more for value, more in zip(start, shift, strict=True))
    one, other = seen(LabHistogram, flat_lab(*start)), seen(LabHistogram, flat_lab(*moved))
    assert earth_movers_distance(one, other) == pytest.approx(expected)


def test_histograms_are_of_lab_values() -> None:
    black_white = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    counts = seen(LabHistogram, black_white).counts_CN
    assert counts.sum(1).tolist() == [2, 2, 2]
    assert counts[0].nonzero().flatten().tolist() in ([128, 228], [128, 227])  # L = 0 and 100, from -128 on


def test_mass_is_moved_as_far_as_it_has_to() -> None:
    # A quarter of the pixels 20 units of L higher: 5 units in one of three channels.
    dark, bright = flat_lab(40.5, 0.5, 0.5), flat_lab(60.5, 0.5, 0.5)
    one, other = seen(LabHistogram, dark), seen(LabHistogram, dark, dark, dark, bright)
    assert earth_movers_distance(one, other) == pytest.approx(20 / 4 / 3)


def test_it_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    one, other = seen(LabHistogram, noise(2)), seen(LabHistogram, noise(2, seed=1) // 3 + 40)
    places = np.arange(256)
    wanted = [
        stats.wasserstein_distance(places, places, p.numpy(), q.numpy())
        for p, q in zip(one.shares(), other.shares(), strict=True)
    ]
    assert earth_movers_distance(one, other) == pytest.approx(np.mean(wanted))


def test_luma_is_exact() -> None:
    colours = torch.tensor([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    assert luma(colours.view(4, 3, 1, 1)).flatten().tolist() == [255000, 76245, 149685, 29070]


def test_a_pattern_by_hand() -> None:
    grey = torch.tensor([[[9, 1, 5], [5, 5, 4], [0, 7, 6]]])
    # clockwise from the upper left: 9 1 5 4 6 7 0 5 against 5
    assert binary_patterns(grey).tolist() == [[[0b10110101]]]


def grey_image(rows: list[list[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.uint8).expand(1, 3, -1, -1)


def test_chi_square_by_hand() -> None:
    flat = grey_image([[7] * 4] * 3)  # two inner pixels of pattern 255
    peak = grey_image([[7, 7, 7, 7], [7, 9, 7, 7], [7, 7, 7, 7]])  # pattern 0, and 255 beside it
    one, other = seen(BinaryPatterns, flat), seen(BinaryPatterns, peak)
    assert other.counts.nonzero().flatten().tolist() == [0, 255]
    # shares (0, 1) and (1/2, 1/2): half of (1/4 / 1/2 + 1/4 / 3/2)
    assert chi_square_distance(one, other) == pytest.approx((1 / 2 + 1 / 6) / 2)


def test_sets_without_a_common_pattern_are_at_distance_one() -> None:
    flat = grey_image([[7] * 3] * 3)
    peak = grey_image([[7, 7, 7], [7, 9, 7], [7, 7, 7]])
    assert chi_square_distance(seen(BinaryPatterns, flat), seen(BinaryPatterns, peak)) == 1


def test_patterns_see_no_change_of_brightness_or_contrast() -> None:
    dark = noise(2) // 4
    assert torch.equal(seen(BinaryPatterns, dark).counts, seen(BinaryPatterns, dark * 3 + 20).counts)


@given(st.integers(0, 1000))
def test_distances_keep_their_ranges(seed: int) -> None:
    one, other = noise(1, seed=seed), noise(1, seed=seed + 1) // (1 + seed % 7)
    assert 0 <= chi_square_distance(seen(BinaryPatterns, one), seen(BinaryPatterns, other)) <= 1
    assert 0 <= earth_movers_distance(seen(LabHistogram, one), seen(LabHistogram, other)) <= 255


def test_sharpness_by_hand() -> None:
    # A grey point on black: its Laplacian is -4 * 10 at the point, 10 at its four neighbours, 0 at the other four.
    point = torch.zeros(1, 3, 5, 5, dtype=torch.uint8)
    point[:, :, 2, 2] = 10
    expected = (40**2 + 4 * 10**2) / 9  # the mean is 0
    assert seen(Sharpness, point).mean() == pytest.approx(expected)
    flat = torch.full((1, 3, 5, 5), 80, dtype=torch.uint8)
    assert seen(Sharpness, flat).mean() == 0
    assert seen(Sharpness, point, flat).mean() == pytest.approx(expected / 2)
    gap = sharpness_gap(seen(Sharpness, point), seen(Sharpness, point, flat))
    assert gap == pytest.approx(np.log(2))  # twice as sharp, or half
    assert sharpness_gap(seen(Sharpness, flat), seen(Sharpness, point)) == pytest.approx(np.log(expected))


def test_blurred_images_are_less_sharp() -> None:
    sharp = noise(2)
    blurred = torch.nn.functional.avg_pool2d(sharp.float(), 3, 1, 1).round().to(torch.uint8)
    assert seen(Sharpness, blurred).mean() < seen(Sharpness, sharp).mean() / 2
