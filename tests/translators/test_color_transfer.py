from __future__ import annotations

import kornia.color
import pytest
import torch

from uda.core.errors import DataError
from uda.data.batch import Batch
from uda.translators.base import Setting
from uda.translators.color_transfer import (
    LEAST_DEVIATION,
    ColorTransfer,
    ColorTransferConfig,
    match_histograms,
    match_statistics,
)
from uda.translators.identity import Identity, IdentityConfig


def greyish(seed: int, low: float, high: float, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, size, size, generator=generator) * (high - low) + low


def lab_of(images: torch.Tensor) -> torch.Tensor:
    lab: torch.Tensor = kornia.color.rgb_to_lab((images + 1) / 2)
    return lab


def test_statistics_become_the_references() -> None:
    # Mild colours on both sides, so that nothing is clipped.
    made = match_statistics(greyish(0, -0.4, 0.0), greyish(1, -0.1, 0.2, size=24))
    lab, wanted = (kornia.color.rgb_to_lab((x + 1) / 2) for x in (made, greyish(1, -0.1, 0.2, size=24)))
    assert torch.allclose(lab.mean((2, 3)), wanted.mean((2, 3)), atol=0.1)
    assert torch.allclose(lab.std((2, 3)), wanted.std((2, 3)), atol=0.1)


def test_an_image_is_its_own_statistics() -> None:
    images = greyish(0, -0.8, 0.8)
    assert torch.allclose(match_statistics(images, images), images, atol=1e-3)


def test_a_flat_image_takes_the_mean_colour_without_dividing_by_zero() -> None:
    made = match_statistics(torch.zeros(1, 3, 4, 4), greyish(1, -0.1, 0.1)[:1])
    assert torch.isfinite(made).all()
    assert (made[..., 0, 0] - made[..., 3, 3]).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["ramp", "noise"])
def test_a_grey_image_takes_the_mean_colour_and_no_coloured_noise(kind: str) -> None:
    draws = torch.Generator().manual_seed(0)
    levels = torch.arange(256) if kind == "ramp" else torch.randint(0, 256, (256,), generator=draws)
    grey = (levels / 255 * 2 - 1).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    colourful = greyish(1, -0.5, 0.5)[:1]
    wanted = lab_of(colourful)
    assert wanted.std((2, 3)).min() > 10
    made = match_statistics(grey, colourful)
    lab = lab_of(made)
    assert torch.allclose(lab.mean((2, 3)), wanted.mean((2, 3)), atol=0.3)
    assert lab[:, 1:].std((2, 3)).max() < 0.2  # LAB units: rounding errors scaled up to the reference's would be 10
    assert lab[:, 0].std() == pytest.approx(float(wanted[:, 0].std()), abs=0.1)


def test_pale_images_are_scaled_in_full_down_to_the_bound_and_by_no_more_below_it() -> None:
    pattern = (greyish(3, -1, 1)[:1] - greyish(3, -1, 1)[:1].mean((2, 3), keepdim=True)) / 2
    colourful = greyish(1, -0.1, 0.1)[:1]
    wanted = lab_of(colourful).std((2, 3), correction=0)
    for strength in (0.1, 0.01, 0.001):
        pale = pattern * strength
        std = lab_of(pale).std((2, 3), correction=0)
        made = lab_of(match_statistics(pale, colourful)).std((2, 3), correction=0)
        assert torch.allclose(made, wanted * (std / LEAST_DEVIATION).clamp(max=1), rtol=0.02, atol=0.02)


def test_histograms_become_the_references() -> None:
    images, references = greyish(0, -1, 1, size=64), greyish(1, -0.5, 0.9, size=64) ** 3
    made = match_histograms(images, references)
    quantiles = torch.linspace(0.02, 0.98, 25)
    for row, wanted in zip(made.flatten(0, 1).flatten(1), references.flatten(0, 1).flatten(1), strict=True):
        assert torch.allclose(row.quantile(quantiles), wanted.quantile(quantiles), atol=0.02)


def test_histogram_matching_keeps_order_and_maps_equal_values_alike() -> None:
    levels = torch.tensor([0, 0, 100, 100, 100, 255]) / 255 * 2 - 1
    images = levels.view(1, 1, 2, 3).expand(1, 3, 2, 3)
    made = match_histograms(images, greyish(0, -1, 1)[:1])[0, 0].flatten()
    assert made[0] == made[1] and made[2] == made[3] == made[4]
    assert made[0] < made[2] < made[5]


def test_a_two_level_image_takes_the_two_levels_of_its_reference() -> None:
    def two(low: int, high: int) -> torch.Tensor:
        return (torch.tensor([low, low, high, high]) / 255 * 2 - 1).view(1, 1, 2, 2).expand(1, 3, 2, 2)

    assert torch.allclose(match_histograms(two(0, 255), two(10, 20)), two(10, 20), atol=1e-6)


def test_where_all_levels_differ_rank_r_takes_the_references_rank_r() -> None:
    def distinct(seed: int, lowest: int, step: int) -> torch.Tensor:
        draws = torch.Generator().manual_seed(seed)
        rows = [torch.randperm(16, generator=draws) * step + lowest for _ in range(6)]
        return torch.stack(rows).view(2, 3, 4, 4) / 255 * 2 - 1

    images, references = distinct(0, 3, 7), distinct(1, 100, 9)
    made = match_histograms(images, references).flatten(2)
    order = images.flatten(2).argsort(-1)
    assert torch.allclose(made.gather(-1, order), references.flatten(2).sort(-1).values, atol=1e-5)


def test_histograms_are_shares_of_pixels_whatever_the_references_size() -> None:
    images, references = greyish(0, -1, 1), greyish(1, -0.5, 0.9)
    larger = references.repeat_interleave(2, -1).repeat_interleave(3, -2)
    assert torch.allclose(match_histograms(images, larger), match_histograms(images, references), atol=1e-5)


def test_an_image_matches_itself() -> None:
    images = (torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255) * 2 - 1
    assert torch.allclose(match_histograms(images, images), images, atol=1e-5)


@pytest.mark.parametrize("mode", ["statistics", "histogram"])
def test_image_i_takes_the_colours_of_target_i(mode: str) -> None:
    translator = ColorTransfer(ColorTransferConfig.model_validate({"mode": mode}), Setting(2))
    dark, bright = torch.full((1, 3, 8, 8), -0.8), torch.full((1, 3, 8, 8), 0.8)
    batch = Batch(greyish(0, -0.3, 0.3, size=8), None, torch.cat([dark, bright]))
    made = translator.translate(batch, generator=torch.Generator()).images_BCHW
    assert made[0].mean() < -0.7 and made[1].mean() > 0.7
    fewer = Batch(batch.source_images_BCHW, None, bright)
    assert translator.translate(fewer, generator=torch.Generator()).images_BCHW.mean() > 0.7


def test_it_says_which_images_are_missing() -> None:
    translator = ColorTransfer(ColorTransferConfig(), Setting(2))
    with pytest.raises(DataError, match=r"no target images.*--target"):
        translator.translate(Batch(greyish(0, -1, 1)), generator=torch.Generator())


def test_identity_returns_its_input() -> None:
    images = greyish(0, -1, 1)
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    made = Identity(IdentityConfig(), Setting(2)).translate(Batch(images, labels), generator=torch.Generator())
    assert torch.equal(made.images_BCHW, images) and made.labels_BHW is labels
