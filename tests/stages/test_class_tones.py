"""Tones of classes: medians counted image by image, and classes moved by what they lack."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kornia import color
from torch import Tensor

from uda.stages import _class_tones as class_tones


def painted(tones_K3: list[tuple[float, float, float]], size: int = 20) -> Tensor:
    """An image in [-1, 1] of as many stripes as there are LAB tones, each as wide as it is high."""
    lab = torch.tensor(tones_K3).repeat_interleave(size, dim=0).T[None, :, None, :].expand(1, 3, size, -1)
    rgb: Tensor = color.lab_to_rgb(lab.contiguous()) * 2 - 1
    return rgb


def stripes(classes: list[int], size: int = 20) -> Tensor:
    return torch.tensor(classes).repeat_interleave(size)[None, None].expand(1, size, -1).contiguous()


def lab(images_BCHW: Tensor) -> Tensor:
    found: Tensor = color.rgb_to_lab((images_BCHW + 1) / 2)
    return found


DARK, PALE, GREEN = (30.0, 2.0, -4.0), (70.0, 0.0, 5.0), (50.0, -20.0, 20.0)


def test_tones_are_medians_over_all_images_and_what_is_mistaken_does_not_count() -> None:
    # Of class 1 two stripes of five are something else; of what is unknown nothing is counted.
    images = [painted([DARK, PALE, GREEN]), painted([PALE, PALE, DARK]), painted([GREEN, DARK, DARK])]
    labels = [stripes([0, 1, 255]), stripes([1, 1, 1]), stripes([255, 1, 0])]
    tones = class_tones.measure(zip(images, labels, strict=True), 3)
    torch.testing.assert_close(tones[:2], torch.tensor([DARK, PALE]), atol=0.25, rtol=0)
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


def test_classes_are_moved_by_what_they_lack_where_both_tones_are_known() -> None:
    unknown = (float("nan"),) * 3
    shifts = class_tones.shifts(torch.tensor([DARK, PALE, unknown]), torch.tensor([PALE, unknown, GREEN]))
    torch.testing.assert_close(shifts, torch.tensor([[40.0, -2.0, 9.0], [0, 0, 0], [0, 0, 0]]))
    images, labels = painted([DARK, PALE, DARK, DARK]), stripes([0, 1, 255, 2])
    moved = lab(class_tones.move(images, labels, shifts))
    for stripe, tone in enumerate((PALE, PALE, DARK, DARK)):
        inside = moved[0, :, :, 20 * stripe + 3 : 20 * stripe + 17]
        torch.testing.assert_close(inside, torch.tensor(tone).view(3, 1, 1).expand_as(inside), atol=0.1, rtol=0)
    across = moved[0, 0, 10, 15:20]  # from the moved stripe to a pale one: no step up and down again beside the edge
    assert (across[:-1] >= across[1:] - 1e-3).all()


def test_what_is_moved_stays_in_range() -> None:
    shifts = torch.tensor([[500.0, 0, 0], [-500, 0, 0], [0, 300, 0]])
    moved = class_tones.move(painted([DARK, PALE, GREEN]), stripes([0, 1, 2]), shifts)
    assert moved.min() >= -1 and moved.max() <= 1 and moved.isfinite().all()


def test_autocast_changes_nothing() -> None:
    given = (painted([DARK, PALE]), stripes([0, 1]), torch.tensor([[20.0, 3, 0], [-10, 0, 7]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = class_tones.move(*given)
    assert torch.equal(inside, class_tones.move(*given))


def test_a_table_holds_what_classes_are_moved_by(tmp_path: Path) -> None:
    shifts = torch.tensor([[1 / 3, -2.5, 0], [0, 0, 1e-7]])
    file = tmp_path / "class_tones.csv"
    file.write_bytes(class_tones.as_table(shifts, ["road", "car, parked"]))
    assert file.read_text().startswith("class,L,a,b\nroad,0.3333")
    assert torch.equal(class_tones.read_table(file), shifts)
