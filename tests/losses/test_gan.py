from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from uda.losses.gan import discriminator_loss, generator_loss


def test_lsgan_is_the_mean_squared_distance_to_one_and_zero() -> None:
    raw = torch.tensor([2.0, -1.0])
    assert discriminator_loss("lsgan", raw, real=True) == pytest.approx((1 + 4) / 2)
    assert discriminator_loss("lsgan", raw, real=False) == pytest.approx((4 + 1) / 2)
    assert generator_loss("lsgan", raw) == discriminator_loss("lsgan", raw, real=True)


def test_bce_is_the_negative_log_of_the_sigmoid() -> None:
    raw = torch.tensor([0.3])
    p = 1 / (1 + math.exp(-0.3))
    assert discriminator_loss("bce", raw, real=True).item() == pytest.approx(-math.log(p), rel=1e-5)
    assert discriminator_loss("bce", raw, real=False).item() == pytest.approx(-math.log(1 - p), rel=1e-5)


def test_hinge_stops_at_the_margin() -> None:
    raw = torch.tensor([0.5, 3.0])
    assert discriminator_loss("hinge", raw, real=True) == pytest.approx(0.25)
    assert discriminator_loss("hinge", raw, real=False) == pytest.approx((1.5 + 4) / 2)
    assert generator_loss("hinge", raw) == pytest.approx(-1.75)


def test_bce_is_stylegan2s_logistic_loss() -> None:
    scores = torch.tensor([[-2.0], [0.5], [30.0]])
    assert torch.allclose(discriminator_loss("bce", scores, real=True), F.softplus(-scores).mean())
    assert torch.allclose(discriminator_loss("bce", scores, real=False), F.softplus(scores).mean())
    assert torch.equal(generator_loss("bce", scores), discriminator_loss("bce", scores, real=True))
