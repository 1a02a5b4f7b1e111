from __future__ import annotations

import math

import pytest
import torch

from uda.losses.gan import GanKind, discriminator_loss, generator_loss
from uda.losses.multiscale import multiscale_discriminator_loss, multiscale_generator_loss

KINDS: tuple[GanKind, ...] = ("lsgan", "bce", "hinge")


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("real", [True, False])
def test_discriminator_gradients(kind: GanKind, real: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # The losses compute in float32; gradcheck wants float64, so the cast is taken away.
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    raw = torch.tensor([0.3, -0.6, 1.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: discriminator_loss(kind, x, real=real), raw)
    assert torch.autograd.gradcheck(lambda x: generator_loss(kind, x), raw)


def _two_scales(images: torch.Tensor) -> list[torch.Tensor]:
    return [images[:, :1], 2 * images[:, :1, ::2, ::2]]


def test_scales_are_summed_and_fakes_get_no_gradient() -> None:
    real, fake = torch.rand(2, 3, 4, 4), torch.rand(3, 3, 4, 4, requires_grad=True)
    wanted = sum(
        (a - 1).square().mean() + b.square().mean()
        for a, b in zip(_two_scales(real), _two_scales(fake.detach()), strict=True)
    )
    together = multiscale_discriminator_loss("lsgan", _two_scales, real, fake)
    assert torch.allclose(together, torch.as_tensor(wanted))
    assert not together.requires_grad
    other_size = multiscale_discriminator_loss("lsgan", _two_scales, real, fake.repeat(1, 1, 2, 2))
    assert torch.allclose(other_size, together)


def test_the_generators_loss_sums_scales_and_reaches_the_images() -> None:
    fake = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = multiscale_generator_loss("lsgan", _two_scales, fake)
    loss.backward()
    assert loss.item() == pytest.approx(2.0)
    assert fake.grad is not None and fake.grad.abs().sum() > 0
