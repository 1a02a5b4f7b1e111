from __future__ import annotations

import math

import pytest
import torch

from uda.losses.n_plus_one import labelled_loss
from uda.losses.segmentation_cycle import cycle_loss

LABELS = torch.tensor([[[0, 0, 0, 2], [0, 0, 255, 2]], [[0, 2, 2, 255], [0, 0, 0, 255]]])
"""Nine pixels of class 0, none of 1 and 3, four of 2, three unknown."""


def logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 5, 2, 4, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_mean_over_classes_of_their_mean_cross_entropy_over_the_n_logits() -> None:
    log_p = logits()[:, :4].log_softmax(1)
    by_class = [-log_p[:, c][c == LABELS].mean() for c in (0, 2)]
    assert torch.allclose(cycle_loss(logits(), LABELS), torch.stack(by_class).mean())


def test_uniform_logits_cost_the_logarithm_of_n() -> None:
    assert cycle_loss(torch.zeros(2, 5, 2, 4), LABELS) == pytest.approx(math.log(4))


def test_the_logit_of_fake_gives_neither_value_nor_gradient() -> None:
    given = logits().requires_grad_(True)
    loss = cycle_loss(given, LABELS)
    loss.backward()
    assert given.grad is not None
    assert not given.grad[:, -1].any() and given.grad[:, :-1].any()
    changed = logits()
    changed[:, -1] += 7
    assert torch.equal(cycle_loss(changed, LABELS), loss.detach())
    assert labelled_loss(changed, LABELS) > labelled_loss(logits(), LABELS)  # which is what tells the two losses apart


def test_unknown_pixels_and_stray_labels_count_for_nothing() -> None:
    changed = torch.where((LABELS == 255)[:, None], logits(1), logits())
    assert torch.allclose(cycle_loss(changed, LABELS), cycle_loss(logits(), LABELS))
    assert torch.allclose(cycle_loss(logits(), LABELS.where(LABELS != 255, 4)), cycle_loss(logits(), LABELS))
    given = logits().requires_grad_(True)
    loss = cycle_loss(given, torch.full_like(LABELS, 255))
    loss.backward()
    assert loss == 0 and given.grad is not None and not given.grad.any()
