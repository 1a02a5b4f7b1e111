"""Tones of classes: medians counted image by image, and classes that get them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from uda.stages import _class_tones as class_tones


def painted(tones_K3: list[tuple[float, float, float]], size: int = 20) -> Tensor:
    """An image in [-1, 1] of as many stripes as there are RGB tones, each as wide as it is high."""
    rgb = torch.tensor(tones_K3).repeat_interleave(size, dim=0).T[None, :, None, :].expand(1, 3, size, -1)
    return rgb * 2 - 1


def stripes(classes: list[int], size: int = 20) -> Tensor:
    return torch.tensor(classes).repeat_interleave(size)[None, None].expand(1, size, -1).contiguous()


def light(images: Tensor) -> Tensor:
    """Linear light of sRGB in [-1, 1] (IEC 61966-2-1)."""
    rgb = (images + 1) / 2
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def inside(images: Tensor, stripe: int) -> Tensor:
    """A stripe's pixels, away from its borders."""
    return images[0, :, :, 20 * stripe + 3 : 20 * stripe + 17]


DARK, SOFT, PALE, GREEN = (0.30, 0.25, 0.32), (0.38, 0.33, 0.36), (0.70, 0.68, 0.62), (0.35, 0.55, 0.25)


def test_tones_are_medians_over_all_images_and_what_is_mistaken_does_not_count() -> None:
    # Of class 1 two stripes of five are something else; of what is unknown nothing is counted.
    images = [painted([DARK, PALE, GREEN]), painted([PALE, PALE, DARK]), painted([GREEN, DARK, DARK])]
    labels = [stripes([0, 1, 255]), stripes([1, 1, 1]), stripes([255, 1, 0])]
    tones = class_tones.measure(zip(images, labels, strict=True), 3)
    torch.testing.assert_close(tones[:2], torch.tensor([DARK, PALE]), atol=1e-3, rtol=0)
    assert tones[2].isnan().all()


def test_one_batch_or_many_tell_the_same() -> None:
    images, labels = torch.cat([painted([DARK, PALE]), painted([GREEN, PALE])]), stripes([0, 1]).expand(2, -1, -1)
    whole = class_tones.measure([(images, labels)], 2)
    assert torch.equal(whole, class_tones.measure(zip(images.split(1), labels.split(1), strict=True), 2))


@pytest.mark.parametrize(("pixels", "known"), [(3, False), (4, True)])
def test_a_class_of_less_than_a_hundredth_of_the_pixels_has_no_tone(pixels: int, known: bool) -> None:
    labels = torch.zeros(1, 20, 20, dtype=torch.long)
    labels[0, 0, :pixels] = 1
    tones = class_tones.measure([(painted([DARK]), labels)], 2)
    assert bool(tones[1].isfinite().all()) is known


def test_classes_get_the_tones_that_are_known_of_both_sides() -> None:
    unknown = (float("nan"),) * 3
    gains = class_tones.gains(torch.tensor([DARK, PALE, unknown]), torch.tensor([SOFT, unknown, GREEN]))
    factors = light(torch.tensor(SOFT) * 2 - 1) / light(torch.tensor(DARK) * 2 - 1)
    torch.testing.assert_close(gains, torch.stack([factors, torch.ones(3), torch.ones(3)]))
    images, labels = painted([DARK, PALE, DARK, DARK]), stripes([0, 1, 255, 2])
    moved = class_tones.move(images, labels, gains)
    for stripe, tone in enumerate((SOFT, PALE, DARK, DARK)):
        found = (inside(moved, stripe) + 1) / 2
        torch.testing.assert_close(found, torch.tensor(tone).view(3, 1, 1).expand_as(found), atol=2e-3, rtol=0)
        if stripe:
            assert torch.equal(inside(moved, stripe), inside(images, stripe))  # what is not moved, not at all
    across = moved[0, 0, 10, 15:20]  # from the moved stripe to a pale one: no step up and down again beside the edge
    assert (across[:-1] >= across[1:] - 1e-3).all()


def test_shadows_on_a_class_that_gets_darker_keep_their_contrast() -> None:
    sunny, shade = (0.7, 0.7, 0.6), (0.3, 0.3, 0.28)
    images, gains = painted([sunny, shade]), torch.tensor([[0.25, 0.25, 0.25]])
    moved = class_tones.move(images, stripes([0, 0]), gains)
    contrasts = [inside(light(one), 0) / inside(light(one), 1) for one in (images, moved)]
    torch.testing.assert_close(contrasts[1], contrasts[0], rtol=1e-3, atol=0)


@pytest.mark.parametrize("black", [(0.0, 0.0, 0.0), (0.0, 1e-6, 0.01)])
def test_light_is_doubled_or_halved_at_most(black: tuple[float, float, float]) -> None:
    dark, white = torch.tensor([black, black]), torch.tensor([[1.0, 1, 1], [0.0, 0, 0]])
    assert class_tones.gains(dark, white).tolist() == [[2, 2, 2], [1, 1, 1]]  # black is as good as black
    assert class_tones.gains(white, dark).tolist() == [[0.5, 0.5, 0.5], [1, 1, 1]]


def test_what_is_moved_stays_in_range() -> None:
    gains = torch.tensor([[300.0, 1, 1], [1e-3, 1, 2], [1, 50, 1]])
    moved = class_tones.move(painted([DARK, PALE, GREEN]), stripes([0, 1, 2]), gains)
    assert moved.min() >= -1 and moved.max() <= 1 and moved.isfinite().all()


def test_autocast_changes_nothing() -> None:
    given = (painted([DARK, PALE]), stripes([0, 1]), torch.tensor([[2.0, 1.1, 1], [0.7, 1, 0.9]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = class_tones.move(*given)
    assert torch.equal(found, class_tones.move(*given))


def test_a_table_holds_what_classes_are_multiplied_by(tmp_path: Path) -> None:
    gains = torch.tensor([[1 / 3, 2.5, 1], [1, 1, 1e-7]])
    file = tmp_path / "class_gains.csv"
    file.write_bytes(class_tones.as_table(gains, ["road", "car, parked"]))
    assert file.read_text().startswith("class,R,G,B\nroad,0.3333")
    assert torch.equal(class_tones.read_table(file), gains)
