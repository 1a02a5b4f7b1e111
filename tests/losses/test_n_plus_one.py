from __future__ import annotations

import math

import pytest
import torch

from uda.losses.label_mix import label_mix, label_mix_consistency, label_mix_mask
from uda.losses.n_plus_one import class_balance, fake_loss, labelled_loss
from uda.losses.perceptual import feature_matching, kl_to_prior, perceptual

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


def test_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    # The losses compute in float32; gradcheck wants float64, so the cast is taken away.
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: labelled_loss(x, LABELS), logits)
    assert torch.autograd.gradcheck(fake_loss, logits)
    mask = torch.tensor([True, False, True, True]).view(1, 1, 1, 4)
    three = torch.randn(3, 1, 2, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: label_mix_consistency(mask, *x), three)
    features = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    other = features.detach() + torch.tensor(0.3)
    assert torch.autograd.gradcheck(lambda x: feature_matching([[x, x.sum()]], [[other, other]]), features)
    assert torch.autograd.gradcheck(lambda x: perceptual([x] * 5, [other] * 5), features)
    assert torch.autograd.gradcheck(lambda x: kl_to_prior(x, x - 1), features)


def test_a_mask_is_constant_on_each_class_of_each_image() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (6, 8, 8))
    labels[:, 0] = 255
    mask = label_mix_mask(labels, 4)
    assert mask.shape == (6, 1, 8, 8) and mask.dtype == torch.bool
    for image, own in zip(labels, mask[:, 0], strict=True):
        for value in (0, 1, 2, 3, 255):
            assert own[image == value].unique().numel() == 1


def test_a_mask_is_drawn_once_for_each_image_and_each_of_its_classes() -> None:
    # One map in 4,000 images: all five coins fall apart, evenly, and no two of them together.
    torch.manual_seed(0)
    labels = torch.tensor([0, 1, 2, 3, 255]).expand(4000, 1, 5)
    coins = label_mix_mask(labels, 4)[:, 0, 0].double()
    assert torch.allclose(coins.mean(0), torch.full((5,), 0.5, dtype=torch.float64), atol=0.04)
    assert (torch.corrcoef(coins.T) - torch.eye(5)).abs().max() < 0.08
    assert len(coins.unique(dim=0)) == 32


def test_mixing_takes_real_pixels_where_the_mask_says() -> None:
    mask = torch.tensor([[[[True, False]]]])
    real, fake = torch.full((1, 3, 1, 2), 2.0), torch.full((1, 3, 1, 2), -1.0)
    assert torch.equal(label_mix(mask, real, fake), torch.tensor([2.0, -1.0]).expand(1, 3, 1, 2))


def test_consistency_is_the_mean_square_over_pixels_and_logits() -> None:
    mask = torch.tensor([[[[True, False]]]])
    real, fake = torch.full((1, 2, 1, 2), 2.0), torch.full((1, 2, 1, 2), -1.0)
    assert label_mix_consistency(mask, label_mix(mask, real, fake), real, fake) == 0
    mixed = torch.tensor([[[[2.0, 1.0]], [[5.0, -1.0]]]])
    assert label_mix_consistency(mask, mixed, real, fake) == pytest.approx((0 + 4 + 9 + 0) / 4)


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
