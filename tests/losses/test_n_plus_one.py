from __future__ import annotations

import math

import pytest
import torch

from uda.losses.n_plus_one import class_balance, fake_loss, labelled_loss

LABELS = torch.tensor([[[0, 0, 0, 2], [0, 0, 255, 2]], [[0, 2, 2, 255], [0, 0, 0, 255]]])
"""Nine pixels of class 0, none of 1 and 3, four of 2, three unknown."""


def test_balance_is_the_inverse_frequency_of_the_classes_in_the_batch() -> None:
    alpha = class_balance(LABELS, 4)
    assert torch.allclose(alpha, torch.tensor([13 / (2 * 9), 0.0, 13 / (2 * 4), 0.0]))
    counted = torch.tensor([9.0, 0, 4, 0])
    assert (alpha * counted).sum() == pytest.approx(13)  # balanced weights keep the loss's scale
    assert torch.equal(class_balance(torch.full((1, 2, 2), 255), 4), torch.zeros(4))


def test_the_labelled_loss_is_the_mean_over_classes_of_their_mean_cross_entropy() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 2, 4)
    log_p = logits.log_softmax(1)
    by_class = [-log_p[:, c][c == LABELS].mean() for c in (0, 2)]
    assert torch.allclose(labelled_loss(logits, LABELS), torch.stack(by_class).mean())


def test_the_labelled_loss_is_the_authors_weighted_mean_over_all_pixels() -> None:
    # Their factor: pixels in all / (classes there * pixels of the class), 0 on unknown ones, then the plain mean.
    torch.manual_seed(1)
    logits = torch.randn(2, 5, 2, 4)
    weight = torch.where(LABELS == 0, 16 / (2 * 9), torch.where(LABELS == 2, 16 / (2 * 4), 0.0))
    index = LABELS.where(LABELS != 255, 0)
    pixels = -logits.log_softmax(1).gather(1, index[:, None])[:, 0]
    assert torch.allclose(labelled_loss(logits, LABELS), (weight * pixels).mean())


def test_uniform_logits_cost_the_logarithm_of_n_plus_one() -> None:
    flat = torch.zeros(2, 5, 2, 4)
    assert labelled_loss(flat, LABELS) == pytest.approx(math.log(5))
    assert fake_loss(flat) == pytest.approx(math.log(5))


def test_fake_is_the_last_channel_on_every_pixel() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 2, 4)
    assert torch.allclose(fake_loss(logits), -logits.log_softmax(1)[:, 4].mean())


def test_unknown_pixels_count_for_nothing_and_a_stray_label_is_not_fake() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 2, 4)
    before = labelled_loss(logits, LABELS)
    changed = torch.where((LABELS == 255)[:, None], torch.randn(5)[None, :, None, None], logits)
    assert torch.allclose(labelled_loss(changed, LABELS), before)
    assert torch.allclose(labelled_loss(logits, LABELS.where(LABELS != 255, 4)), before)


def test_without_a_known_pixel_the_loss_is_zero_with_a_zero_gradient() -> None:
    logits = torch.randn(1, 5, 2, 2, requires_grad=True)
    loss = labelled_loss(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss == 0 and logits.grad is not None and not logits.grad.any()
