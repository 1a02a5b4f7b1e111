from __future__ import annotations

import pytest
import torch

from uda.losses.perceptual import feature_matching, kl_to_prior, perceptual


def test_feature_matching_sums_layers_averages_scales_and_leaves_the_output_out() -> None:
    def scale(*values: float) -> list[torch.Tensor]:
        return [torch.full((1, 2), float(value), requires_grad=True) for value in values]

    made, real = [scale(1, 2, 9), scale(0, 0, 9)], [scale(0, 5, 0), scale(0, -1, 0)]
    loss = feature_matching(made, real)
    assert loss.item() == pytest.approx((1 + 3 + 0 + 1) / 2)
    loss.backward()
    assert made[0][0].grad is not None and made[0][2].grad is None
    assert all(features.grad is None for one in real for features in one)


def test_the_perceptual_loss_weights_deep_stages_most() -> None:
    made, real = [torch.full((1, 3), 2.0) for _ in range(5)], [torch.zeros(1, 3) for _ in range(5)]
    assert perceptual(made, real) == pytest.approx(2 * (1 / 32 + 1 / 16 + 1 / 8 + 1 / 4 + 1))


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    mean, log_variance = torch.tensor([[0.5, -1.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [-1.0, 0.3]])
    wanted = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    assert torch.allclose(kl_to_prior(mean, log_variance), wanted.sum(1).mean())
    assert kl_to_prior(torch.zeros(2, 3), torch.zeros(2, 3)) == 0
