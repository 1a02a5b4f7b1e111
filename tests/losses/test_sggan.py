from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from uda.losses.sggan import gradient_sensitive, image_gradients, known_least_squares, label_edges

CLASSES = 3

LABELS = torch.zeros(1, 8, 8, dtype=torch.long)
LABELS[..., 4:] = 1


def step(height: float, column: int = 4) -> torch.Tensor:
    """An image of 8x8, dark on the left and brighter by `height` from a column on."""
    image = torch.zeros(1, 3, 8, 8)
    image[..., column:] = height
    return image


def test_gradients_are_sobels() -> None:
    images = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([across, across.T])[:, None]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect").flatten(0, 1)[:, None]
    wanted = F.conv2d(padded, kernels).view(2, 3, 2, 7, 9).transpose(1, 2)
    assert torch.allclose(image_gradients(images), wanted, atol=1e-6)


def test_a_step_has_four_times_its_height_on_either_side_and_no_gradient_along_it() -> None:
    gradients = image_gradients(step(0.5))
    assert gradients[0, 0, 0, 3].tolist() == [0, 0, 0, 2, 2, 0, 0, 0]
    assert not gradients[:, 1].any()
    assert torch.equal(image_gradients(step(0.5).transpose(2, 3)), gradients.flip(1).transpose(3, 4))


def test_edges_are_where_two_known_classes_meet() -> None:
    wanted = torch.zeros(8, 8)
    wanted[:, 3:5] = 1
    assert torch.equal(label_edges(LABELS, CLASSES)[0, 0], wanted)
    assert torch.equal(label_edges(LABELS.transpose(1, 2), CLASSES)[0, 0], wanted.T)
    assert not label_edges(torch.ones_like(LABELS), CLASSES).any()
    unknown = LABELS.clone()
    unknown[:, :5] = 255
    wanted[:5] = 0  # and none between known and unknown rows
    assert torch.equal(label_edges(unknown, CLASSES)[0, 0], wanted)


@pytest.mark.parametrize("softness", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("before", "after"), [(0.5, 0.5), (0.5, -0.5), (0.5, 0.2), (0.5, 0.0), (0.0, 0.7)])
def test_at_a_border_of_classes_the_difference_of_gradients_costs(before: float, after: float, softness: float) -> None:
    # 4 | |v| - |w| | on two of eight columns, in one of two directions: the border itself always has weight 1.
    got = gradient_sensitive(step(before), step(after), label_edges(LABELS, CLASSES), softness)
    assert got.item() == pytest.approx(abs(abs(before) - abs(after)) / 2, abs=1e-6)


@pytest.mark.parametrize("softness", [0.0, 0.1, 1.0])
def test_within_a_class_it_costs_by_the_softness_alone(softness: float) -> None:
    # Of the step at column 2 both columns lie within class 0.
    got = gradient_sensitive(step(0.5, column=2), torch.zeros(1, 3, 8, 8), label_edges(LABELS, CLASSES), softness)
    assert got.item() == pytest.approx(softness * 0.5 / 2, abs=1e-6)


def test_the_gradient_loss_teaches_the_translation_alone() -> None:
    image, made = step(0.5).requires_grad_(), step(0.2).requires_grad_()
    gradient_sensitive(image, made, label_edges(LABELS, CLASSES), 0.1).backward()
    assert image.grad is None
    assert made.grad is not None and made.grad.abs().max() > 0


def test_the_adversarial_loss_is_the_mean_over_what_is_known() -> None:
    scores, known = torch.tensor([[[[2.0, 0.5, 9.0]]]]), torch.tensor([[[[1.0, 0.5, 0.0]]]])
    assert known_least_squares(scores, known, real=True).item() == pytest.approx((1 + 0.5 * 0.25) / 1.5)
    assert known_least_squares(scores, known, real=False).item() == pytest.approx((4 + 0.5 * 0.25) / 1.5)
    everything = torch.ones_like(known)
    assert torch.allclose(known_least_squares(scores, everything, real=True), (scores - 1).square().mean())
    nothing = scores.clone().requires_grad_()
    loss = known_least_squares(nothing, torch.zeros_like(known), real=True)
    loss.backward()
    assert loss == 0 and nothing.grad is not None and not nothing.grad.any()
