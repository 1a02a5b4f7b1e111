from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from uda.losses.cross_entropy import cross_entropy


def _some() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    labels = torch.randint(0, 3, (2, 4, 5), generator=generator)
    labels[0, :2] = 255
    return logits, labels


def test_two_pixels_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]]).view(1, 2, 1, 2)  # p = (1/2, 1/2) and (3/4, 1/4)
    labels = torch.tensor([[[0, 1]]])
    assert cross_entropy(logits, labels).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    weighted = cross_entropy(logits, labels, class_weights_N=torch.tensor([2.0, 0.5]))
    assert weighted.item() == pytest.approx((2 * math.log(2) + 0.5 * math.log(4)) / 2)
    masked = cross_entropy(logits, labels, pixel_weights_BHW=torch.tensor([[[0.0, 1.0]]]))
    assert masked.item() == pytest.approx(math.log(4) / 2)


def test_it_is_the_mean_over_pixels_that_count() -> None:
    logits, labels = _some()
    assert torch.allclose(cross_entropy(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))
    changed = logits.clone()
    changed[0, :, :2] += 100 * torch.randn(3, 2, 5)
    assert torch.equal(cross_entropy(logits, labels), cross_entropy(changed, labels))


def test_all_pixels_ignored_gives_zero_and_zero_gradients() -> None:
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.full((2, 4, 5), 255)
    assert F.cross_entropy(logits, labels, ignore_index=255).isnan()  # the trap
    loss = cross_entropy(logits, labels, class_weights_N=torch.ones(3), pixel_weights_BHW=torch.ones(2, 4, 5))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and logits.grad.abs().sum() == 0


def test_bfloat16_logits_are_summed_in_float32() -> None:
    logits, labels = _some()
    loss = cross_entropy(logits.bfloat16(), labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cross_entropy(logits.bfloat16().float(), labels))


def test_cross_entropy_is_the_same_in_both_memory_formats() -> None:
    raw = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 5, (2, 4, 3), generator=torch.Generator().manual_seed(1))
    labels[0, 0] = 255
    weights, pixels = torch.rand(5), torch.rand(2, 4, 3)
    formats = (torch.contiguous_format, torch.channels_last)
    plain, last = (raw.clone(memory_format=one).requires_grad_() for one in formats)
    losses = [cross_entropy(logits, labels, weights, pixels) for logits in (plain, last)]
    torch.stack(losses).sum().backward()
    assert torch.allclose(losses[0], losses[1])
    assert plain.grad is not None and last.grad is not None
    assert torch.allclose(plain.grad, last.grad, atol=1e-7)
    assert last.grad.is_contiguous(memory_format=torch.channels_last)
