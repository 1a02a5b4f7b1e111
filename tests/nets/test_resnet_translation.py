"""CycleGAN's generator: sizes, ranges, and parameter counts computed by hand from the published layout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uda.nets.resnet_translation import ResnetDecoder, ResnetEncoder, ResnetGenerator, Upsampling

BLOCK = 2 * (9 * 256 * 256 + 256)
DOWN = (49 * 3 * 64 + 64) + (9 * 64 * 128 + 128) + (9 * 128 * 256 + 256)
UP = (9 * 256 * 128 + 128) + (9 * 128 * 64 + 64) + (49 * 64 * 3 + 3)
BOTH: list[Upsampling] = ["transposed", "nearest"]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("upsampling", BOTH)
def test_nine_blocks_at_width_64_have_the_published_count(upsampling: Upsampling) -> None:
    with torch.device("meta"):
        generator = ResnetGenerator(64, 9, upsampling)
    assert count(generator) == DOWN + 9 * BLOCK + UP
    assert round(count(generator) / 1e6, 3) == 11.378


@pytest.mark.parametrize("upsampling", BOTH)
def test_images_keep_their_size_and_stay_in_range(upsampling: Upsampling) -> None:
    torch.manual_seed(0)
    images = ResnetGenerator(4, 2, upsampling)(torch.rand(2, 3, 16, 24) * 2 - 1)
    assert images.shape == (2, 3, 16, 24)
    assert images.abs().max() <= 1


def test_features_are_a_quarter_of_the_image_and_any_channels_go_in_and_out() -> None:
    features = ResnetEncoder(7, 4, 1)(torch.rand(1, 7, 16, 24))
    assert features.shape == (1, 16, 4, 6)
    assert ResnetDecoder(5, 4, "nearest")(features).shape == (1, 5, 16, 24)


@pytest.mark.parametrize("upsampling", BOTH)
def test_images_are_float32_under_autocast(upsampling: Upsampling) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert ResnetGenerator(4, 1, upsampling)(torch.rand(1, 3, 16, 16)).dtype == torch.float32


@pytest.mark.parametrize("upsampling", BOTH)
def test_every_parameter_gets_a_gradient(upsampling: Upsampling) -> None:
    torch.manual_seed(0)
    generator = ResnetGenerator(4, 2, upsampling)
    generator(torch.rand(1, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in generator.parameters())
    weights = [p for p in generator.parameters() if p.dim() > 1]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in weights)


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    generator, images = ResnetGenerator(4, 1), torch.rand(2, 3, 16, 16)
    assert torch.allclose(generator(images)[:1], generator(images[:1]), atol=1e-6)


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_without_norm_and_with_skips_contrast_comes_through(upsampling: Upsampling) -> None:
    torch.manual_seed(0)
    plain, short = ResnetGenerator(4, 0, upsampling), ResnetGenerator(4, 0, upsampling, norm=False, skips=True)
    images = torch.rand(1, 3, 16, 16) - 0.5
    for generator in (plain, short):
        for module in generator.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # each has one
    assert torch.allclose(plain(images), plain(0.5 * images), atol=1e-2)
    # Without biases and norms all is linear in a positive factor, up to the last tanh.
    assert torch.allclose(torch.atanh(short(0.5 * images)), 0.5 * torch.atanh(short(images)), atol=1e-4)
    short(images).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in short.decoder.merge.parameters() if p.dim() > 1)


def test_levels_are_the_features_before_each_halving_and_the_last() -> None:
    encoder, images = ResnetEncoder(3, 4, 1), torch.rand(2, 3, 16, 24)
    levels = encoder.levels(images)
    assert [tuple(level.shape) for level in levels] == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6)]
    assert torch.equal(levels[-1], encoder(images))


def test_a_generator_that_retouches_begins_near_its_image() -> None:
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        near, far = ((ResnetGenerator(4, 1, residual=how)(images) - images).abs().mean() for how in (True, False))
    assert near < 0.3 * far
