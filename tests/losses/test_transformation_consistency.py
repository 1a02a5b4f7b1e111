from __future__ import annotations

import pytest
import torch

from uda.losses.transformation_consistency import (
    Moves,
    consistency,
    draw_moves,
    inside,
    move_images,
    move_labels,
    sampling_grid,
)

NONE = Moves(rotation=0, translation=0, zoom=(1, 1), flip=0)


def picture(height: int = 4, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(1, 3, height, width), torch.randint(0, 3, (1, height, width))


def maps(*rows: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).view(1, 2, 3)


def test_without_moves_nothing_changes() -> None:
    images, labels = picture()
    grid = sampling_grid(draw_moves(NONE, 1, images.device), (4, 6))
    assert torch.allclose(move_images(images, grid), images, atol=1e-5)
    assert torch.equal(move_labels(labels, grid), labels)
    assert inside(grid).shape == (1, 1, 4, 6) and inside(grid).all()


def test_a_mirrored_picture_is_the_flipped_one() -> None:
    images, labels = picture()
    mirrored = Moves(rotation=0, translation=0, zoom=(1, 1), flip=1)
    grid = sampling_grid(draw_moves(mirrored, 1, images.device), (4, 6))
    assert torch.allclose(move_images(images, grid), images.flip(-1), atol=1e-5)
    assert torch.equal(move_labels(labels, grid), labels.flip(-1))


def test_translations_are_in_pixels_and_what_comes_from_outside_is_unknown() -> None:
    images, labels = picture()
    grid = sampling_grid(maps((1, 0, 2), (0, 1, -1)), (4, 6))  # from two pixels to the right and one above
    moved, seen = move_labels(labels, grid), inside(grid)[0, 0]
    assert torch.equal(moved[:, 1:, :4], labels[:, :-1, 2:])
    assert (moved[:, 0] == 255).all() and (moved[:, :, 4:] == 255).all()
    assert torch.equal(seen, moved[0] != 255)
    assert torch.allclose(move_images(images, grid)[:, :, 1:, :4], images[:, :, :-1, 2:], atol=1e-5)


def test_a_quarter_turn_keeps_its_scale_on_pictures_that_are_not_square() -> None:
    images, labels = picture(4, 6)
    grid = sampling_grid(maps((0, -1, 0), (1, 0, 0)), (4, 6))
    # The middle 4x4 pixels turn on themselves.
    assert torch.equal(move_labels(labels, grid)[:, :, 1:5], torch.rot90(labels[:, :, 1:5], 1, (1, 2)))
    turned = torch.rot90(images[:, :, :, 1:5], 1, (2, 3))
    assert torch.allclose(move_images(images, grid)[:, :, :, 1:5], turned, atol=1e-5)
    assert not inside(grid)[..., 0].any() and not inside(grid)[..., 5].any()


def test_unknown_pixels_stay_unknown() -> None:
    labels = torch.full((1, 4, 6), 255)
    labels[:, 1, 1] = 2
    moved = move_labels(labels, sampling_grid(maps((1, 0, 1), (0, 1, 0)), (4, 6)))
    assert moved[0, 1, 0] == 2 and (moved == 255).sum() == 23


def test_moves_are_drawn_evenly_within_their_ranges() -> None:
    torch.manual_seed(0)
    moves = Moves(rotation=30, translation=6, zoom=(0.5, 2), flip=0.25)
    drawn = draw_moves(moves, 4000, torch.device("cpu")).double()
    assert drawn.shape == (4000, 2, 3)
    shifts = drawn[:, :, 2]
    assert shifts.abs().max() <= 6 and shifts.abs().mean() == pytest.approx(3, abs=0.2)
    determinant = torch.linalg.det(drawn[:, :, :2])
    assert (determinant < 0).double().mean() == pytest.approx(0.25, abs=0.03)
    zoom = determinant.abs() ** -0.5
    assert zoom.min() >= 0.5 - 1e-5 and zoom.max() <= 2 + 1e-5 and zoom.mean() == pytest.approx(1.25, abs=0.05)
    angle = torch.rad2deg(torch.atan2(-drawn[:, 0, 1], drawn[:, 1, 1]))
    assert angle.abs().max() <= 30 + 1e-3 and angle.mean() == pytest.approx(0, abs=1.5)


def test_consistency_is_the_mean_difference_of_the_pixels_that_count() -> None:
    made, moved = torch.full((1, 3, 1, 2), 2.0), torch.tensor([1.0, -9.0]).expand(1, 3, 1, 2)
    counts = torch.tensor([[[[True, False]]]])
    assert consistency(made, moved, counts) == 1
    assert consistency(made, moved, torch.ones_like(counts)) == 6
    given = made.clone().requires_grad_(True)
    loss = consistency(given, moved, torch.zeros_like(counts))
    loss.backward()
    assert loss == 0 and given.grad is not None and not given.grad.any()


def test_both_sides_get_gradients() -> None:
    made, image = torch.rand(1, 3, 4, 6, requires_grad=True), torch.rand(1, 3, 4, 6, requires_grad=True)
    grid = sampling_grid(maps((1, 0, 1), (0, 1, 0)), (4, 6))
    consistency(made, move_images(image, grid), inside(grid)).backward()
    assert made.grad is not None and image.grad is not None
    assert made.grad[..., :5].all() and not made.grad[..., 5].any()
    # Places are exact up to rounding, so that a neighbour may get a trace.
    assert (image.grad[..., 1:].abs() > 1e-3).all() and (image.grad[..., 0].abs() < 1e-5).all()
