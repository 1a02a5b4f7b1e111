"""The transform and what is built on it: closed forms, sizes, parameter counts computed by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from uda.core.errors import ConfigError
from uda.nets.spade_resnet import Spade
from uda.nets.spectral import spectral_normalise
from uda.nets.wavelet import haar, haar_inverse
from uda.nets.wavelet_discriminator import WaveletDiscriminator, _Convolution, _deviation, _Linear, blurred
from uda.nets.wavelet_spade import WaveletSpade, WaveletSpadeBlock, _doubled_as_image, make_wavelet_generator


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def conv(before: int, after: int, kernel: int = 3) -> int:
    return kernel * kernel * before * after + after


def test_the_four_coefficients_of_a_block() -> None:
    block = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]])
    assert haar(block).flatten().tolist() == [7.5, -4.5, -2.5, 1.5]


def test_bands_come_one_after_the_other_with_all_channels_each() -> None:
    images = torch.randn(2, 3, 4, 6)
    coefficients = haar(images)
    assert coefficients.shape == (2, 12, 2, 3)
    for channel in range(3):
        own = haar(images[:, channel : channel + 1])
        assert torch.equal(coefficients[:, channel::3], own)
    assert torch.allclose(coefficients[:, :3], 2 * F.avg_pool2d(images, 2), atol=1e-6)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("size", [(2, 2), (4, 10), (64, 32)])
def test_reconstruction_is_perfect_both_ways(dtype: torch.dtype, error: float, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, dtype=dtype) * 2 - 1
    assert (haar_inverse(haar(images)) - images).abs().max() <= error
    coefficients = torch.rand(2, 12, *size, dtype=dtype) * 2 - 1
    assert (haar(haar_inverse(coefficients)) - coefficients).abs().max() <= error


def test_the_transform_is_orthonormal() -> None:
    basis = torch.eye(16, dtype=torch.float64).view(16, 1, 4, 4)
    matrix = haar(basis).flatten(1)
    assert torch.allclose(matrix @ matrix.T, torch.eye(16, dtype=torch.float64), atol=1e-15)


def test_gradients_and_their_gradients() -> None:
    images = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    for transform in (haar, lambda x: haar_inverse(haar(x) ** 2)):
        assert torch.autograd.gradcheck(transform, images)
        assert torch.autograd.gradgradcheck(transform, images)
    coefficients = torch.randn(1, 8, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(haar_inverse, coefficients)


def test_odd_sides_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[4, 5\] has an odd side; use \[4, 6\]"):
        haar(torch.zeros(1, 1, 4, 5))


def spade(channels: int, condition: int) -> int:
    return conv(condition, 128) + 2 * conv(128, channels)


def test_the_generator_has_the_parameters_of_the_authors_sizes() -> None:
    channels, condition = [1024, 1024, 1024, 512, 256, 128, 64], 35 + 64
    blocks = 0
    for a, b in pairwise(channels):
        middle = min(a, b)
        blocks += conv(a, middle) + conv(middle, b) + (a * b if a != b else 0)
        blocks += spade(a // 4, condition) + spade(middle // 4, condition)
    with torch.device("meta"):
        counted = count(make_wavelet_generator(condition))
    assert counted == conv(condition, 1024) + blocks + conv(64, 12, 1) == 54_157_356


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_generator_makes_images_of_the_maps_size(norm: Any) -> None:
    torch.manual_seed(0)
    network = make_wavelet_generator(3, 4, hidden=2, norm=norm)
    made = network(torch.rand(1, 3, 64, 128))
    assert made.shape == (1, 3, 64, 128) and made.dtype == torch.float32
    assert made.abs().max() <= 1
    with pytest.raises(ConfigError, match=r"\[64, 100\] is not divisible by 64.*use \[64, 128\]"):
        network(torch.rand(1, 3, 64, 100))


def test_modulation_happens_in_the_image_domain() -> None:
    torch.manual_seed(0)
    layer = WaveletSpade(8, 3, 4, "instance")
    coefficients, condition = torch.randn(2, 8, 3, 5), torch.rand(2, 3, 6, 10)
    assert isinstance(layer.spade, Spade)
    assert torch.equal(layer(coefficients, condition), haar(layer.spade(haar_inverse(coefficients), condition)))


def test_each_block_sees_the_map_at_twice_its_features_size() -> None:
    network, seen = make_wavelet_generator(3, 4, hidden=2), list[tuple[Tensor, ...]]()
    for one in network.blocks:
        one.register_forward_pre_hook(lambda _, given: seen.append(given))
    condition = torch.rand(2, 3, 64, 128)
    network(condition)
    assert [given[0].shape[-2:] for given in seen] == [(2**n, 2 * 2**n) for n in range(6)]
    for features, small in seen:
        size = [2 * side for side in features.shape[-2:]]
        assert torch.equal(small, F.interpolate(condition, size=size, mode="nearest"))


def test_skips_are_doubled_as_the_images_that_they_stand_for() -> None:
    coefficients = torch.randn(2, 8, 3, 5)
    image = F.interpolate(haar_inverse(coefficients), scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(haar_inverse(_doubled_as_image(coefficients)), image, atol=1e-6)


def test_spectral_norm_is_on_the_blocks_convolutions() -> None:
    network = make_wavelet_generator(3, 4, hidden=2)
    for part in network.normalised():
        spectral_normalise(part)
    found = {name for name, module in network.named_modules() if parametrize.is_parametrized(module)}
    skips = {f"blocks.{n}.skip" for n in range(2, 6)}
    assert found == {f"blocks.{n}.{part}" for n in range(6) for part in ("first", "second")} | skips


def test_the_discriminator_has_the_parameters_of_the_authors_sizes() -> None:
    widths = [64, 256, 512, 512, 512, 512, 512]
    read = sum(conv(12, after, 1) for after in widths)
    blocks = sum(conv(a, a) + conv(a, b) for a, b in pairwise(widths))
    ends = conv(513, 512) + (512 * 2 * 4 * 512 + 512) + 513
    with torch.device("meta"):
        assert count(WaveletDiscriminator()) == read + blocks + ends == 25_333_377


def test_the_discriminator_scores_images_of_any_fitting_size() -> None:
    torch.manual_seed(0)
    network = WaveletDiscriminator(2, levels=2, grid=(1, 2))
    for size in ((8, 16), (16, 8), (24, 24)):
        scores = network(torch.rand(2, 3, *size))
        assert scores.shape == (2, 1) and scores.dtype == torch.float32
    with pytest.raises(ConfigError, match=r"\[8, 12\] is not divisible by 8.*use \[8, 16\], or fewer levels"):
        network(torch.rand(1, 3, 8, 12))


def test_every_level_reads_the_image_at_its_size() -> None:
    network, seen = WaveletDiscriminator(2, levels=2, grid=(2, 2)), list[Tensor]()
    for layer in network.from_image:
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.rand(1, 3, 16, 16)
    network(images)
    smaller = blurred(images, border=1, every=2)
    wanted = [images, smaller, blurred(smaller, border=1, every=2)]
    assert [tuple(one.shape) for one in seen] == [(1, 12, 8, 8), (1, 12, 4, 4), (1, 12, 2, 2)]
    assert all(torch.allclose(haar_inverse(one), other, atol=1e-6) for one, other in zip(seen, wanted, strict=True))


def test_blurring_keeps_what_is_even_and_halving_is_exact() -> None:
    even = torch.ones(1, 2, 8, 8)
    assert torch.allclose(blurred(even, border=1, every=2)[:, :, 1:-1, 1:-1], torch.ones(1, 2, 2, 2))
    assert blurred(even, border=1, every=2).shape == (1, 2, 4, 4)
    line = torch.zeros(1, 1, 9, 9)
    line[..., 4, 4] = 64
    spread = blurred(line, border=2)[0, 0, 3:7, 3:7]
    weights = torch.tensor([1.0, 3, 3, 1])
    assert torch.allclose(spread, torch.outer(weights, weights))


def test_the_deviation_is_taken_within_groups() -> None:
    # Six images make two groups of three: images 0, 2, 4 and 1, 3, 5.
    features = torch.zeros(6, 2, 2, 2)
    features[0::2] = torch.tensor([0.0, 3.0, 6.0]).view(3, 1, 1, 1)
    channel = _deviation(features, 4)
    assert channel.shape == (6, 1, 2, 2)
    assert torch.allclose(channel[0::2], torch.full((3, 1, 2, 2), 6.0**0.5))
    assert torch.allclose(channel[1::2], torch.full((3, 1, 2, 2), 1e-4))


def test_layers_of_the_wavelet_discriminator_keep_the_variance_from_first_weights_of_1() -> None:
    torch.manual_seed(0)
    # A leaky ReLU of slope 0.2 leaves (1 + 0.04) / 2 of the mean square, and the gain doubles it.
    made = _Convolution(64, 64, 3)(torch.randn(8, 64, 16, 16))[..., 1:-1, 1:-1]
    assert made.square().mean().item() == pytest.approx(1.04, rel=0.1)
    assert _Linear(512, 512)(torch.randn(64, 512)).std().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("after", [8, 12])
def test_a_wavelet_block_changes_behind_spade_and_skips_as_it_is(after: int) -> None:
    torch.manual_seed(0)
    block, map_ = WaveletSpadeBlock(8, after, 3, 5, "instance"), torch.rand(1, 3, 16, 16)
    coefficients = torch.randn(1, 8, 8, 8)
    skipped, changed = block(coefficients, map_)
    assert torch.equal(skipped, coefficients if block.skip is None else block.skip(coefficients))
    assert (block.skip is None) is (after == 8)
    hidden = block.first(F.leaky_relu(block.norm_first(coefficients, map_), 0.2))
    torch.testing.assert_close(changed, block.second(F.leaky_relu(block.norm_second(hidden, map_), 0.2)))
