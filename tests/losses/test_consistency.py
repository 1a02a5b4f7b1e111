from __future__ import annotations

import math

import pytest
import torch

from uda.losses.consistency import l1, symmetric_cross_entropy


def _logits(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log().view(1, -1, 1, 1)


def test_it_is_both_cross_entropies_added() -> None:
    q, p = (0.7, 0.2, 0.1), (0.5, 0.25, 0.25)
    wanted = -sum(a * math.log(b) + b * math.log(a) for a, b in zip(q, p, strict=True))
    assert symmetric_cross_entropy(_logits(*q), _logits(*p)).item() == pytest.approx(wanted, rel=1e-5)


def test_logits_need_no_normalisation_and_pixels_are_averaged() -> None:
    q, p = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    whole = symmetric_cross_entropy(q + 3, p - 2)
    single = [
        symmetric_cross_entropy(q[b, :, y, x].view(1, 5, 1, 1), p[b, :, y, x].view(1, 5, 1, 1))
        for b in range(2)
        for y in range(3)
        for x in range(4)
    ]
    assert torch.allclose(whole, torch.stack(single).mean(), atol=1e-6)


def test_equal_predictions_give_twice_the_entropy() -> None:
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert symmetric_cross_entropy(_logits(0.9, 0.1), _logits(0.9, 0.1)).item() == pytest.approx(2 * entropy, rel=1e-5)


def test_only_the_references_logarithm_is_floored() -> None:
    sure = torch.tensor([50.0, 0.0]).view(1, 2, 1, 1)
    value = symmetric_cross_entropy(sure, -sure, floor=1e-3).item()
    assert value == pytest.approx(50.0 - math.log(1e-3), rel=1e-4)


def test_gradients_reach_the_translated_side_only() -> None:
    q, p = torch.randn(2, 3, 2, 2, requires_grad=True), torch.randn(2, 3, 2, 2, requires_grad=True)
    symmetric_cross_entropy(q, p).backward()
    assert q.grad is None and p.grad is not None


def test_a_small_step_against_the_gradient_brings_predictions_together() -> None:
    q, p = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1), torch.zeros(1, 2, 1, 1, requires_grad=True)
    symmetric_cross_entropy(q, p).backward()
    assert p.grad is not None and p.grad[0, 0] < 0 < p.grad[0, 1]


def test_bfloat16_is_computed_in_float32() -> None:
    q, p = torch.randn(1, 4, 2, 2).bfloat16(), torch.randn(1, 4, 2, 2).bfloat16()
    value = symmetric_cross_entropy(q, p)
    assert value.dtype == torch.float32
    assert torch.equal(value, symmetric_cross_entropy(q.float(), p.float()))


def test_l1_is_the_mean_absolute_difference() -> None:
    assert l1(torch.tensor([1.0, -2.0]), torch.tensor([0.0, 2.0])).item() == pytest.approx(2.5)
    a, b = torch.randn(4), torch.randn(4, requires_grad=True)
    l1(a.bfloat16(), b).backward()
    assert b.grad is not None and torch.allclose(b.grad.abs(), torch.full((4,), 0.25))
