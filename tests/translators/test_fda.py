from __future__ import annotations

import numpy as np
import pytest
import torch

from uda.core.errors import DataError
from uda.data.batch import Batch
from uda.translators.base import Setting
from uda.translators.fda import Fda, FdaConfig, swap_amplitudes


def mild(seed: int, height: int = 24, width: int = 32, low: float = -0.5, high: float = 0.4) -> torch.Tensor:
    """Two images whose spectrum has no zeros and whose swapped versions need no clipping."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, height, width, generator=generator) * (high - low) + low


def spectrum(images: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = torch.fft.fft2((images.double() + 1) / 2)
    return made


def by_the_paper(image: np.ndarray, reference: np.ndarray, reach: int) -> np.ndarray:
    """The amplitude swap of one channel in [0, 1] on the whole, centred spectrum."""
    source, target = (np.fft.fftshift(np.fft.fft2(channel)) for channel in (image, reference))
    mask = np.zeros(image.shape, dtype=bool)
    row, column = image.shape[0] // 2, image.shape[1] // 2
    mask[row - reach : row + reach + 1, column - reach : column + reach + 1] = True
    amplitude = np.where(mask, np.abs(target), np.abs(source))
    swapped: np.ndarray = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(source)))).real
    return swapped


def test_beta_0_changes_nothing() -> None:
    assert torch.equal(swap_amplitudes(mild(0), mild(1), 0.0), mild(0))


@pytest.mark.parametrize("beta", [0.01, 0.1, 0.5])
def test_an_image_is_its_own_reference(beta: float) -> None:
    assert torch.allclose(swap_amplitudes(mild(0), mild(0), beta), mild(0), atol=1e-5)


@pytest.mark.parametrize("beta", [0.02, 0.09, 0.25])
@pytest.mark.parametrize(("height", "width"), [(24, 32), (25, 33)])
def test_it_is_the_papers_formula(beta: float, height: int, width: int) -> None:
    images, references = mild(0, height, width), mild(1, height, width)
    made = (swap_amplitudes(images, references, beta) + 1) / 2
    reach = int(beta * height)
    for own, reference, got in zip(images.flatten(0, 1), references.flatten(0, 1), made.flatten(0, 1), strict=True):
        wanted = by_the_paper(((own + 1) / 2).numpy(), ((reference + 1) / 2).numpy(), reach)
        assert np.allclose(got.numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("beta", [0.01, 0.09, 0.3])
def test_the_phase_is_kept(beta: float) -> None:
    before, after = spectrum(mild(0)), spectrum(swap_amplitudes(mild(0), mild(1), beta))
    turn = after * before.conj()
    assert (turn.imag.abs() <= 1e-4 * turn.abs() + 1e-5).all()
    assert (turn.real > -1e-5).all()


def test_amplitudes_are_the_references_within_the_window_and_its_own_beyond() -> None:
    own, other = spectrum(mild(0)).abs(), spectrum(mild(1)).abs()
    made = spectrum(swap_amplitudes(mild(0), mild(1), 0.09)).abs()
    frequency_rows, frequency_columns = (torch.fft.fftfreq(n) * n for n in (24, 32))
    window = (frequency_rows.abs() <= 2)[:, None] & (frequency_columns.abs() <= 2)  # 0.09 * 24 = 2.16
    assert int(window.sum()) == 25
    assert torch.allclose(made[..., window], other[..., window], atol=1e-3)
    assert torch.allclose(made[..., ~window], own[..., ~window], atol=1e-3)


@pytest.mark.parametrize("beta", [0.001, 0.05])
def test_the_mean_colour_becomes_the_references(beta: float) -> None:
    references = mild(1, low=0.1, high=0.8)
    made = swap_amplitudes(mild(0), references, beta)
    assert torch.allclose(made.mean((2, 3)), references.mean((2, 3)), atol=1e-5)


def test_a_tiny_beta_moves_the_mean_colour_alone() -> None:
    images, references = mild(0), mild(1, low=0.1, high=0.8)
    made = swap_amplitudes(images, references, 1e-3)
    own, other = (2 * (rgb + 1).mean((2, 3), keepdim=True) / 2 for rgb in (images, references))
    assert torch.allclose(made, images - own + other, atol=1e-5)


def test_a_black_image_takes_the_mean_colour_without_a_phase() -> None:
    made = swap_amplitudes(torch.full((2, 3, 8, 8), -1.0), torch.full((2, 3, 8, 8), 0.3), 0.1)
    assert torch.allclose(made, torch.full_like(made, 0.3), atol=1e-5)


def test_frequencies_are_cycles_per_image_whatever_the_references_size() -> None:
    def wave(height: int, width: int) -> torch.Tensor:
        rows = torch.cos(2 * torch.pi * torch.arange(height) / height)[:, None]
        columns = torch.cos(4 * torch.pi * torch.arange(width) / width)
        return (0.2 + 0.3 * rows + 0.1 * columns).expand(2, 3, height, width)

    same = swap_amplitudes(mild(0), wave(24, 32), 0.1)
    assert torch.allclose(swap_amplitudes(mild(0), wave(48, 80), 0.1), same, atol=1e-5)
    small = swap_amplitudes(mild(0), wave(8, 8), 0.5)
    assert torch.isfinite(small).all()


def test_image_i_takes_after_target_i_and_what_leaves_the_range_is_clipped() -> None:
    translator = Fda(FdaConfig(beta=0.05), Setting(2))
    dark, bright = torch.full((1, 3, 24, 32), -0.9), torch.full((1, 3, 24, 32), 0.9)
    batch = Batch(mild(0), None, torch.cat([dark, bright]))
    made = translator.translate(batch, generator=torch.Generator()).images_BCHW
    assert made[0].mean() < -0.7 and made[1].mean() > 0.7
    assert made.abs().max() == 1
    fewer = Batch(batch.source_images_BCHW, None, bright)
    assert translator.translate(fewer, generator=torch.Generator()).images_BCHW.mean() > 0.7


def test_it_goes_both_ways_and_carries_labels_along() -> None:
    translator, labels = Fda(FdaConfig(), Setting(2)), torch.zeros(2, 24, 32, dtype=torch.long)
    batch = Batch(mild(0), labels, mild(1))
    there = translator.translate(batch, generator=torch.Generator())
    back = translator.translate(batch, generator=torch.Generator(), direction="target_to_source")
    assert there.labels_BHW is labels and back.labels_BHW is None
    assert torch.allclose(there.images_BCHW, swap_amplitudes(mild(0), mild(1), 0.01))
    assert torch.allclose(back.images_BCHW, swap_amplitudes(mild(1), mild(0), 0.01))


def test_it_says_which_images_are_missing() -> None:
    with pytest.raises(DataError, match=r"fda: no target images.*--target"):
        Fda(FdaConfig(), Setting(2)).translate(Batch(mild(0)), generator=torch.Generator())


@pytest.mark.parametrize("beta", [-0.1, 0.6])
def test_a_window_larger_than_the_spectrum_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        FdaConfig(beta=beta)
