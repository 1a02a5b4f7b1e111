from __future__ import annotations

import colorsys
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.data import fakes
from uda.data.augment import Geometry, augment_colors, augment_geometry
from uda.data.augment_config import AugmentConfig

VALUES = (0, 3, 7, 255)


def config(**settings_: object) -> AugmentConfig:
    return AugmentConfig.model_validate(settings_)


def batch(count: int = 4, size: tuple[int, int] = (16, 20)) -> Tensor:
    images = np.stack([fakes.picture(size, i) for i in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def colors(images: Tensor, seed: int = 0, **settings_: object) -> Tensor:
    return augment_colors(images, config(**settings_), torch.Generator().manual_seed(seed))


def test_all_is_off_by_default() -> None:
    image, label = fakes.picture((12, 20), 0), fakes.blocks((12, 20), VALUES, 0)
    same = augment_geometry(image, label, AugmentConfig(), np.random.default_rng(0))
    assert np.array_equal(same[0], image) and np.array_equal(same[1], label)
    images = batch()
    assert colors(images) is images


def test_settings_and_files_are_read_without_torch() -> None:
    code = "import sys, uda.data.augment_config, uda.data.index; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("settings_", [{"scale": (2, 1)}, {"blur": {"sigma": (2, 1)}}, {"flip": 1.5}, {"crop": (0, 5)}])
def test_impossible_settings_are_refused(settings_: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings_))):
        config(**settings_)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(5, 30), st.integers(5, 30)),
    st.tuples(st.floats(0.3, 1), st.floats(1, 2.5)),
    st.none() | st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 99),
)
def test_image_and_label_move_together_and_labels_stay_classes(
    size: tuple[int, int], scale: tuple[float, float], crop: tuple[int, int] | None, seed: int
) -> None:
    label = fakes.blocks(size, (10, 200), seed)
    image = np.repeat(label[..., None], 3, axis=-1)
    moved, moved_label = augment_geometry(
        image, label, config(flip=0.5, scale=scale, crop=crop), np.random.default_rng(seed)
    )
    assert moved_label.shape == moved.shape[:2] == (crop or size)
    assert set(np.unique(moved_label)) <= {10, 200, 255}
    inside = moved_label != 255
    assert inside.any()
    far = np.abs(moved[..., 0].astype(int) - moved_label) > 150  # a pixel shows the other class
    assert (far & inside).mean() < 0.1 or min(size) * scale[0] < 8


def test_a_third_of_a_label_is_the_middle_of_each_nine_and_so_is_the_image() -> None:
    label = np.arange(216, dtype=np.uint8).reshape(12, 18)
    third = Geometry(resized=(4, 6), window=(4, 6), start=(0, 0), mirrored=False)
    assert np.array_equal(third.label(label), label[1::3, 1::3])
    shown = third.image(np.repeat(label[..., None], 3, axis=-1))[..., 0].astype(int)
    assert np.abs(shown - label[1::3, 1::3]).max() <= 1


def test_a_crop_is_a_window_and_a_flip_is_a_mirror() -> None:
    image, label = fakes.picture((12, 20), 0), np.arange(240, dtype=np.uint8).reshape(12, 20)
    seen = set()
    for seed in range(40):
        part, marks = augment_geometry(image, label, config(crop=(4, 6)), np.random.default_rng(seed))
        top, left = divmod(int(marks[0, 0]), 20)
        assert np.array_equal(marks, label[top : top + 4, left : left + 6])
        assert np.array_equal(part, image[top : top + 4, left : left + 6])
        seen.add((top, left))
    assert max(top for top, _ in seen) == 8 and max(left for _, left in seen) == 14
    mirrored = augment_geometry(image, label, config(flip=1), np.random.default_rng(0))
    assert np.array_equal(mirrored[0], image[:, ::-1]) and np.array_equal(mirrored[1], label[:, ::-1])
    torch.from_numpy(mirrored[0])  # no negative strides


def test_what_a_crop_lacks_is_padded_with_mean_and_ignore() -> None:
    image, label = fakes.picture((6, 8), 1), np.full((6, 8), 3, np.uint8)
    padded, marks = augment_geometry(image, label, config(crop=(10, 5)), np.random.default_rng(3))
    outside = marks == 255
    assert outside.sum() == 4 * 5 and (marks[~outside] == 3).all()
    assert (padded[outside] == image.mean(axis=(0, 1)).round()).all()
    rows = np.flatnonzero(~outside[:, 0])
    assert rows.size == 6 and any(np.array_equal(padded[rows], image[:, left : left + 5]) for left in range(4))


def test_a_single_mirror_probability_is_kept() -> None:
    image, label = fakes.picture((4, 4), 0), np.arange(16, dtype=np.uint8).reshape(4, 4)
    rng = np.random.default_rng(0)
    flips = sum(augment_geometry(image, label, config(flip=0.3), rng)[1][0, 0] == 3 for _ in range(1000))
    assert 250 < flips < 350


JITTER: dict[str, Any] = {"color_jitter": {"probability": 1}, "blur": {"probability": 1}, "noise": 0.1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_size_type_and_range_are_kept_and_the_seed_decides(dtype: torch.dtype) -> None:
    images = batch().to(dtype)
    before = images.clone()
    out = colors(images, **JITTER)
    assert out.shape == images.shape and out.dtype == dtype
    assert out.min() >= -1 and out.max() <= 1
    assert torch.equal(images, before) and not torch.equal(out, images)
    assert torch.equal(out, colors(images, **JITTER))
    assert not torch.equal(out, colors(images, seed=1, **JITTER))


def test_the_global_generator_is_left_alone() -> None:
    state = torch.random.get_rng_state()
    colors(batch(), **JITTER)
    assert torch.equal(state, torch.random.get_rng_state())


def test_autocast_changes_nothing() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = colors(batch(), **JITTER)
    assert torch.equal(inside, colors(batch(), **JITTER))


def test_probability_is_that_of_each_image_on_its_own() -> None:
    images = batch(count=1).expand(400, -1, -1, -1)[:, :, :2, :2].contiguous()
    out = colors(images, color_jitter={"probability": 0.25})
    changed = (out - images).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert 70 < changed.sum() < 130
    assert out[changed].std(dim=0).max() > 0.01


@pytest.mark.parametrize("only", ["brightness", "contrast", "saturation", "hue"])
def test_each_strength_changes_its_own_quantity(only: str) -> None:
    images = batch() * 0.3  # far from the ends of the range, so that nothing is cut off
    strengths = {**dict.fromkeys(["brightness", "contrast", "saturation", "hue"], 0), only: 0.3}
    out = colors(images, color_jitter={"probability": 1, **strengths})
    assert not torch.allclose(out, images, atol=1e-3)
    unit, before = out / 2 + 0.5, images / 2 + 0.5
    if only == "brightness":
        ratio = unit / before
        assert (ratio.amax(dim=(1, 2, 3)) - ratio.amin(dim=(1, 2, 3)) < 1e-3).all()
    if only == "hue":  # the hexcone's value, the largest channel, does not change
        torch.testing.assert_close(unit.amax(dim=1), before.amax(dim=1), atol=1e-3, rtol=0)
    if only == "contrast":
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        grey, grey_before = ((x * weights).sum(1).mean(dim=(1, 2)) for x in (unit, before))
        torch.testing.assert_close(grey, grey_before, atol=1e-3, rtol=0)
    off = colors(images, color_jitter={"probability": 1, **dict.fromkeys(strengths, 0)})
    torch.testing.assert_close(off, images)


def drawn(
    only: str, color: tuple[float, float, float] = (0.2, 0.3, 0.25), strength: float = 0.3, count: int = 500
) -> tuple[Tensor, Tensor]:
    """Many images of one colour and what one kind of jitter makes of them, RGB in [0, 1], (count, 3)."""
    same = torch.tensor(color).view(1, 3, 1, 1).expand(count, 3, 2, 2).contiguous()
    strengths = {**dict.fromkeys(["brightness", "contrast", "saturation", "hue"], 0), only: strength}
    out = colors(same * 2 - 1, color_jitter={"probability": 1, **strengths})
    return same[:, :, 0, 0], (out / 2 + 0.5)[:, :, 0, 0]


def spread_evenly(amounts: Tensor, low: float, high: float) -> None:
    assert low - 1e-3 <= amounts.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < amounts.max() <= high + 1e-3
    assert abs(amounts.mean() - (low + high) / 2) < 0.05 * (high - low)


def test_amounts_of_brightness_and_saturation_are_drawn_from_one_less_to_one_more_than_the_strength() -> None:
    before, after = drawn("brightness")
    spread_evenly(after.mean(1) / before.mean(1), 0.7, 1.3)
    before, after = drawn("saturation")
    # The distance of two channels is what saturation scales, whichever grey it is measured from.
    spread_evenly((after[:, 1] - after[:, 0]) / (before[:, 1] - before[:, 0]), 0.7, 1.3)


def test_contrast_scales_the_distances_from_an_images_mean() -> None:
    half = torch.full((500, 3, 2, 2), 0.4)
    half[..., 1] = 0.6
    out = colors(
        half * 2 - 1, color_jitter={"probability": 1, "brightness": 0, "saturation": 0, "hue": 0, "contrast": 0.3}
    )
    spread_evenly((out[..., 1] - out[..., 0])[:, 0, 0] / 2 / 0.2, 0.7, 1.3)


CLASSES: dict[str, Any] = {"probability": 1, "brightness": 0, "cast": 0, "saturation": 0}


def by_class(images: Tensor, labels: Tensor | None, **strengths: float) -> Tensor:
    out = augment_colors(
        images, config(class_colors={**CLASSES, **strengths}), torch.Generator().manual_seed(0), labels
    )
    return out / 2 + 0.5


def test_each_class_of_each_image_gets_a_brightness_of_its_own() -> None:
    labels = torch.arange(200).view(1, 10, 20).expand(2, -1, -1).repeat_interleave(2, dim=2)
    images = torch.full((2, 3, 10, 40), -0.9)  # dark, so that nothing is cut off
    factors = by_class(images, labels, brightness=0.5) / 0.05
    assert torch.equal(factors[..., ::2], factors[..., 1::2])  # within a class the same
    torch.testing.assert_close(factors[:, 0], factors[:, 2])
    logs = factors[:, 0, :, ::2].log().flatten()
    assert abs(logs.std() - 0.5) < 0.05 and abs(logs.mean()) < 0.05 and len(logs.unique()) > 390


def test_a_class_gets_a_cast_and_fades_towards_grey_and_one_without_a_label_is_changed_like_others() -> None:
    labels = torch.tensor([0, 1, 255, 255]).view(1, 1, 4).expand(300, -1, -1)
    images = (torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1).expand(300, -1, 1, 4) * 2 - 1).contiguous()
    cast = by_class(images, labels, cast=0.3)
    assert abs((cast[:, 0] / cast[:, 1] * 2).log().std() - 0.3 * 2**0.5) < 0.04
    assert torch.equal(cast[..., 2], cast[..., 3]) and not torch.allclose(cast[..., 2], images[..., 2] / 2 + 0.5)
    faded = by_class(images, labels, saturation=0.6)
    torch.testing.assert_close(faded.mean(dim=1), torch.full((300, 1, 4), 0.2))
    spread_evenly((faded[:, 2] - faded[:, 0])[:, 0, 0] / 0.2, 0.4, 1.0)


def test_classes_keep_their_colours_without_labels_and_in_the_images_that_are_not_drawn() -> None:
    images, labels = batch(count=1).expand(400, -1, -1, -1)[:, :, :2, :2].contiguous(), torch.zeros(400, 2, 2).long()
    assert torch.equal(by_class(images, None, brightness=0.5), images / 2 + 0.5)
    changed = (by_class(images, labels, brightness=0.5, probability=0.25) - images / 2 - 0.5).abs().amax(dim=(1, 2, 3))
    assert 70 < (changed > 1e-3).sum() < 130


def test_hue_is_turned_by_a_part_of_a_whole_turn() -> None:
    _, after = drawn("hue", color=(0.6, 0.3, 0.3), strength=0.15)
    hues = torch.tensor([colorsys.rgb_to_hsv(*color)[0] for color in after.tolist()])  # in turns, red at 0
    spread_evenly((hues + 0.5) % 1 - 0.5, -0.15, 0.15)


def test_blur_keeps_flat_images_and_smooths_others_also_tiny_ones() -> None:
    flat = torch.full((2, 3, 9, 9), 0.25)
    torch.testing.assert_close(colors(flat, blur={"probability": 1, "sigma": (2, 2)}), flat)
    rough = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert colors(rough, blur={"probability": 1, "sigma": (2, 2)}).std() < 0.3 * rough.std()
    tiny = batch(count=1)[:, :, :2, :2]
    torch.testing.assert_close(colors(tiny, blur={"probability": 1}), tiny)


def test_noise_has_the_strength_that_was_asked_for() -> None:
    noisy = colors(torch.zeros(4, 3, 32, 32), noise=0.1)
    assert abs(noisy.std().item() - 0.1) < 0.005 and abs(noisy.mean().item()) < 0.005
