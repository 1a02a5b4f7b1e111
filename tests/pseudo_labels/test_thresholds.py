"""Strategies against direct implementations that sort every confidence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from uda.pseudo_labels._histogram import BINS, WIDTH, bins_of, lower_edges
from uda.pseudo_labels.class_balanced import ClassBalanced, ClassBalancedConfig
from uda.pseudo_labels.class_median import ClassMedian, ClassMedianConfig
from uda.pseudo_labels.fixed import Fixed, FixedConfig

CLASSES = 5


def make_probabilities(seed: int, batches: int = 3, size: tuple[int, int] = (7, 9)) -> list[torch.Tensor]:
    """Softmax maps of four classes that are predicted and a fifth that never is."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(batches):
        logits = 3 * torch.randn(2, CLASSES, *size, generator=generator)
        logits[:, -1] = -20
        made.append(logits.softmax(1))
    return made


def confidences(batches: list[torch.Tensor]) -> list[NDArray[np.float64]]:
    """Sorted confidences of each class over all batches."""
    best, classes = torch.cat([batch.permute(0, 2, 3, 1).reshape(-1, CLASSES) for batch in batches]).max(1)
    return [np.sort(best[classes == index].numpy().astype(np.float64)) for index in range(CLASSES)]


@given(seed=st.integers(0, 10_000), portion=st.sampled_from([0.1, 0.5, 0.8, 1.0]), cap=st.sampled_from([0.7, 0.9, 1.0]))
def test_class_median_is_the_sorted_rank_to_one_bin(seed: int, portion: float, cap: float) -> None:
    batches = make_probabilities(seed, size=(3, 4))
    labeller = ClassMedian(ClassMedianConfig(portion=portion, cap=cap), CLASSES)
    for batch in batches:
        labeller.observe(batch)
    for sure, threshold in zip(confidences(batches), labeller.thresholds(), strict=True):
        rank = min(round((1 - portion) * len(sure)), len(sure) - 1)
        wanted = min(sure[rank], cap) if len(sure) else 0.0
        assert wanted - WIDTH <= threshold <= wanted
    maps, least = torch.cat(batches).numpy(), labeller.thresholds().astype(np.float32)
    labels = np.where(maps.max(1) >= least[maps.argmax(1)], maps.argmax(1), 255)
    assert np.array_equal(labeller.label(torch.from_numpy(maps)).numpy(), labels)


def test_class_median_of_bdl_by_hand() -> None:
    # Confidences of class 0: .5 .6 .7 .95; rank round(4 / 2) = 2. Of class 1: .99 alone, rank round(1 / 2) = 0: capped.
    sure = torch.tensor([0.95, 0.5, 0.7, 0.6, 0.01])
    maps = torch.stack((sure, 1 - sure)).view(1, 2, 1, 5)
    maps = torch.cat((maps, torch.zeros(1, 1, 1, 5)), 1)
    labeller = ClassMedian(ClassMedianConfig(), 3)
    labeller.observe(maps[..., :2])
    labeller.observe(maps[..., 2:])
    assert labeller.thresholds().tolist() == pytest.approx([0.7, 0.9, 0.0], abs=WIDTH)
    assert labeller.label(maps).tolist() == [[[0, 255, 0, 255, 1]]]


def test_every_confidence_lies_in_its_bin() -> None:
    edges = lower_edges()
    assert len(edges) == BINS + 1 and (np.diff(edges) >= 0).all() and (edges == edges.astype(np.float32)).all()
    some = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    near = torch.arange(2**19) * 2.0**-24  # all of float32's distances to 1 up to 2^-5
    for sure in (some, 1 - near, 1 - 2 * some * 2.0**-6, torch.tensor([0.0, 0.5, 1 - 2.0**-6, 1.0, 1.0000002])):
        bins = bins_of(sure).numpy()
        assert bins.min() >= 0 and bins.max() < BINS
        value = sure.clamp(max=1).numpy().astype(np.float64)
        assert (edges[bins] <= value).all() and ((value < edges[bins + 1]) | (value == 1)).all()
        # The distance to 1 is known to a thousandth.
        assert (value - edges[bins] <= np.minimum(WIDTH, (1 - value) / 2**10)).all()
    assert bins_of(torch.ones(1)).item() == BINS - 1


def test_a_sure_network_is_believed_as_far_as_it_was_asked_to_be() -> None:
    """Margins of 8 to 16: nearly all confidences are within 2^-16 of 1."""
    margins = 8 + 8 * torch.rand(40_000, generator=torch.Generator().manual_seed(0))
    maps = torch.stack([margins, torch.zeros_like(margins)]).softmax(0).view(1, 2, 200, 200)
    for labeller in (
        ClassBalanced(ClassBalancedConfig(portion=0.3), 2),
        ClassMedian(ClassMedianConfig(portion=0.3, cap=1), 2),
    ):
        labeller.observe(maps)
        assert (labeller.label(maps) == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)


@given(seed=st.integers(0, 10_000), portion=st.sampled_from([0.01, 0.3, 0.5, 1.0]))
def test_class_balanced_is_the_sorted_rank_to_one_bin(seed: int, portion: float) -> None:
    batches = make_probabilities(seed, size=(3, 4))
    labeller = ClassBalanced(ClassBalancedConfig(portion=portion), CLASSES)
    for batch in batches:
        labeller.observe(batch)
    for sure, threshold in zip(confidences(batches), labeller.thresholds(), strict=True):
        chosen = math.floor(portion * len(sure))
        wanted = sure[::-1][chosen - 1] if chosen else 1.0
        assert wanted - WIDTH <= threshold <= wanted
    maps = torch.cat(batches).numpy()
    ratios = maps / labeller.thresholds().astype(np.float32)[:, None, None]
    labels = np.where(ratios.max(1) >= 1, ratios.argmax(1), 255)
    assert np.array_equal(labeller.label(torch.from_numpy(maps)).numpy(), labels)


def test_class_balanced_lets_a_rare_class_win() -> None:
    labeller = ClassBalanced(ClassBalancedConfig(portion=1.0), 2)
    maps = torch.tensor([[0.9, 0.1], [0.92, 0.08], [0.45, 0.55]]).T.reshape(1, 2, 1, 3)
    labeller.observe(maps)
    assert labeller.thresholds().tolist() == pytest.approx([0.9, 0.55], abs=WIDTH)
    torn = torch.tensor([[0.62, 0.38], [0.4, 0.6], [0.91, 0.09]]).T.reshape(1, 2, 1, 3)
    # 0.62 / 0.9 < 1: not believed; 0.6 / 0.55 > 1: class 1; 0.91 / 0.9 > 1: class 0.
    assert labeller.label(torn).tolist() == [[[255, 1, 0]]]
    rare = torch.tensor([0.47, 0.53]).view(1, 2, 1, 1)
    labeller.observe(torch.tensor([0.5001, 0.4999]).view(1, 2, 1, 1))  # class 0's threshold falls to 0.5
    assert labeller.label(rare).tolist() == [[[255]]]


def test_class_balanced_may_choose_another_class_than_the_most_probable() -> None:
    labeller = ClassBalanced(ClassBalancedConfig(portion=1.0), 3)
    labeller.observe(torch.tensor([[0.9, 0.05, 0.05], [0.3, 0.4, 0.3]]).T.reshape(1, 3, 1, 2))
    assert labeller.thresholds().tolist() == pytest.approx([0.9, 0.4, 1.0], abs=WIDTH)
    torn = torch.tensor([0.55, 0.45, 0.0]).view(1, 3, 1, 1)
    assert labeller.label(torn).item() == 1


@pytest.mark.parametrize(
    "labeller",
    [
        ClassBalanced(ClassBalancedConfig(), 2),
        ClassMedian(ClassMedianConfig(cap=1), 2),
        Fixed(FixedConfig(threshold=1), 2),
    ],
    ids=lambda labeller: labeller.config.name,
)
def test_what_is_quite_sure_is_believed_where_nothing_less_is(labeller: Any) -> None:
    maps = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3).contiguous()
    labeller.observe(maps)
    assert (labeller.label(maps) == 0).all()


def test_fixed_keeps_what_reaches_the_threshold() -> None:
    labeller = Fixed(FixedConfig(threshold=0.75), 2)
    maps = torch.tensor([[0.75, 0.25], [0.74, 0.26], [0.1, 0.9]]).T.reshape(1, 2, 1, 3)
    assert labeller.label(maps).tolist() == [[[0, 255, 1]]]
    assert labeller.thresholds().tolist() == [0.75, 0.75]


def test_half_of_every_class_is_believed_without_a_cap() -> None:
    batches = make_probabilities(0, size=(40, 40))
    labeller = ClassMedian(ClassMedianConfig(cap=1.0), CLASSES)
    for batch in batches:
        labeller.observe(batch)
    labels = torch.cat([labeller.label(batch) for batch in batches])
    guesses = torch.cat([batch.argmax(1) for batch in batches])
    for index in range(CLASSES - 1):
        share = (labels == index).sum() / (guesses == index).sum()
        assert share.item() == pytest.approx(0.5, abs=0.01)


def test_certainty_and_its_rounding_errors_stay_in_the_last_bin() -> None:
    labeller = ClassMedian(ClassMedianConfig(cap=1.0), 2)
    labeller.observe(torch.tensor([1.0000001, -1e-7]).view(1, 2, 1, 1))
    assert labeller.thresholds()[0] == pytest.approx(1.0, abs=WIDTH)
    assert labeller.label(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)).item() == 0
