from __future__ import annotations

import pytest
import torch

from uda.losses.label_mix import label_mix, label_mix_consistency, label_mix_mask


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
