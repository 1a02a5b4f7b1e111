from __future__ import annotations

import pytest
import torch
from torch import nn

from uda.losses.logistic import r1_penalty


def test_of_a_linear_score_it_is_half_the_squared_norm_of_its_weights() -> None:
    torch.manual_seed(0)
    weights = torch.randn(3, 4, 4, requires_grad=True)
    penalty = r1_penalty(lambda images: (images * weights).sum((1, 2, 3)), torch.rand(5, 3, 4, 4))
    assert torch.allclose(penalty, 0.5 * weights.square().sum())
    penalty.backward()
    assert weights.grad is not None
    assert torch.allclose(weights.grad, weights.detach())


def test_it_is_averaged_over_images_and_leaves_them_alone() -> None:
    images = torch.rand(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty(lambda given: 0.5 * given.square().flatten(1).sum(1, keepdim=True), images)
    assert penalty.item() == pytest.approx(0.5 * images.square().sum().item() / 5, rel=1e-5)
    with torch.no_grad():
        assert r1_penalty(lambda given: given.sum(), images) == 0.5 * 3 * 4 * 4


def test_it_runs_in_float32_whatever_is_around_it() -> None:
    torch.manual_seed(0)
    network, images, seen = nn.Conv2d(3, 1, 3), torch.rand(2, 3, 8, 8), list[torch.dtype]()
    network.register_forward_hook(lambda _, given, made: seen.append(made.dtype))
    exact = r1_penalty(network, images)
    with torch.autocast("cpu", torch.bfloat16):
        within = r1_penalty(network, images.bfloat16().float())
        assert network(images).dtype == torch.bfloat16
    assert seen[:2] == [torch.float32, torch.float32]
    assert torch.allclose(exact, within) and within.dtype == torch.float32
