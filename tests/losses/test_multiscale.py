from __future__ import annotations

import pytest
import torch

from uda.losses.multiscale import multiscale_discriminator_loss, multiscale_generator_loss


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
