from __future__ import annotations

import pytest
import torch

from uda.losses.semgan import objects_distance, pair_distance, transfigured, without
from uda.translators._maps import one_hot

CLASSES = 4


def test_the_distance_of_pairs_adds_image_and_map() -> None:
    images, labels = torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 1], [255, 1]]])
    flat = torch.zeros(1, CLASSES, 2, 2)
    wanted = 0.25 + torch.tensor(float(CLASSES)).log()
    assert torch.allclose(pair_distance(images + 0.25, flat, images, labels), wanted)
    sure = 100 * one_hot(labels, CLASSES)
    assert pair_distance(images, sure, images, labels).item() == pytest.approx(0, abs=1e-6)


def test_the_objects_loss_keeps_the_background_or_the_changed_pixels() -> None:
    before = torch.tensor([[[0, 1, 2, 255]]])
    after = torch.tensor([[[0, 1, 3, 3]]])
    real = torch.zeros(1, 3, 1, 4)
    fake = torch.tensor([0.1, 0.2, 0.4, 0.8]).expand(1, 3, 1, 4)
    # The mean over all four pixels; the unknown one counts in neither.
    assert objects_distance(fake, real, before, after, changed=False).item() == pytest.approx((0.1 + 0.2) / 4)
    assert objects_distance(fake, real, before, after, changed=True).item() == pytest.approx(0.4 / 4)
    assert objects_distance(fake, real, before, before, changed=True).item() == 0


def test_only_the_two_classes_give_and_take_pixels() -> None:
    old, new = 1, 2
    labels = torch.tensor([[[1, 1, 1, 0, 0, 0, 3, 2, 2, 255, 255]]])
    predicted = torch.tensor([[[2, 0, 1, 2, 3, 1, 3, 2, 0, 2, 1]]])
    got = transfigured(labels, predicted, old, new)
    # Turned, uncovered, left over; covered, kept, kept; kept; stays, kept; unknown, unknown.
    assert got.tolist() == [[[2, 0, 1, 2, 0, 0, 3, 2, 2, 255, 255]]]


def test_whatever_is_predicted_other_classes_only_lose_to_the_new_one() -> None:
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (4, 16, 16), generator=draws)
    labels[:, :2] = 255
    predicted = torch.randint(0, CLASSES, (4, 16, 16), generator=draws)
    got = transfigured(labels, predicted, 1, 2)
    changed = got != labels
    assert changed.any()
    assert ((labels[changed] == 1) | (got[changed] == 2)).all()
    assert torch.equal(got == 255, labels == 255)
    assert not (got[labels != 1] == 1).any()


def test_pixels_of_the_named_classes_become_unknown() -> None:
    labels = torch.tensor([[[0, 1, 2, 3, 255]]])
    assert without(labels, (1, 2)).tolist() == [[[0, 255, 255, 3, 255]]]
    assert without(labels, ()).tolist() == labels.tolist()
