"""The patch discriminator of CycleGAN and pix2pix: what it sees, how large it is, how it starts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uda.core.errors import ConfigError
from uda.nets.patch_discriminator import fine_details
from uda.nets.patchgan import InstanceNorm, NormKind, PatchDiscriminator, initialise_gan, make_norm, receptive_field
from uda.nets.unet_translation import UnetGenerator

INSTANCE = (16 * 3 * 64 + 64) + (16 * 64 * 128 + 128) + (16 * 128 * 256 + 256) + (16 * 256 * 512 + 512) + (16 * 512 + 1)
BATCH = (16 * 6 * 64 + 64) + 16 * (64 * 128 + 128 * 256 + 256 * 512) + 2 * (128 + 256 + 512) + (16 * 512 + 1)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_of_the_70_pixel_discriminators_at_full_width() -> None:
    with torch.device("meta"):
        cyclegan, pix2pix = PatchDiscriminator(3, 64, 3, "instance"), PatchDiscriminator(6, 64, 3, "batch")
    assert count(cyclegan) == INSTANCE
    assert count(pix2pix) == BATCH
    assert [round(n / 1e6, 2) for n in (INSTANCE, BATCH)] == [2.76, 2.77]


def test_channels_grow_to_eight_times_the_width_as_in_the_paper() -> None:
    def widths(layers: int) -> list[int]:
        convolutions = [m for m in PatchDiscriminator(3, 64, layers, "batch").body if isinstance(m, nn.Conv2d)]
        return [layer.out_channels for layer in convolutions]

    with torch.device("meta"):
        assert widths(0) == [64, 128, 1]
        assert widths(1) == [64, 128, 1]
        assert widths(3) == [64, 128, 256, 512, 1]
        assert widths(5) == [64, 128, 256, 512, 512, 512, 1]


@pytest.mark.parametrize(("layers", "side"), [(0, 1), (1, 16), (2, 34), (3, 70), (5, 286)])
def test_one_output_sees_a_patch_of_the_side_that_is_said(layers: int, side: int) -> None:
    discriminator = PatchDiscriminator(1, 1, layers, "batch")
    for index, module in enumerate(discriminator.body):
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
        else:  # norms would let it see everything, and a negative slope is no matter here
            discriminator.body[index] = nn.Identity()
    images = torch.zeros(1, 1, 2 * side + 64, 2 * side + 64, requires_grad=True)
    raw = discriminator(images)
    raw[0, 0, raw.shape[2] // 2, raw.shape[3] // 2].backward()
    assert images.grad is not None
    seen = images.grad[0, 0].abs() > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == side == receptive_field(layers)


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_the_smallest_image_gives_one_output_and_a_smaller_one_is_refused(layers: int, norm: NormKind) -> None:
    discriminator = PatchDiscriminator(3, 2, layers, norm)
    side = discriminator.smallest
    if layers:
        assert discriminator(torch.rand(2, 3, side, side)).shape == (2, 1, 1, 1)
        with pytest.raises(ConfigError, match=rf"{side - 1}x{side - 1} are too small.*train at {side} pixels"):
            discriminator(torch.rand(2, 3, side - 1, side - 1))
    else:
        assert discriminator(torch.rand(2, 3, 4, 4)).shape == (2, 1, 4, 4)


def test_batch_norm_takes_the_statistics_of_the_batch_in_hand_also_in_evaluation() -> None:
    norm, features = make_norm("batch", 2).eval(), torch.rand(3, 2, 8, 8) * 3 + 5
    normed = norm(features)
    assert torch.allclose(normed.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(normed.var((0, 2, 3), correction=0), torch.ones(2), atol=1e-4)
    assert not list(norm.buffers())


def test_instance_norm_brings_every_channel_of_every_image_to_mean_0_and_deviation_1() -> None:
    norm = make_norm("instance", 2)
    assert isinstance(norm, InstanceNorm)
    normed = norm(torch.rand(3, 2, 8, 8) * 3 + 5)
    assert torch.allclose(normed.mean((2, 3)), torch.zeros(3, 2), atol=1e-5)
    assert torch.allclose(normed.var((2, 3), correction=0), torch.ones(3, 2), atol=1e-4)


@torch.no_grad()
def test_without_a_norm_every_convolution_has_a_bias() -> None:
    convolutions = [m for m in PatchDiscriminator(3, 2, 3, "none").modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 5
    assert all(layer.bias is not None for layer in convolutions)


def test_all_convolutions_start_with_deviation_002_and_no_bias() -> None:
    torch.manual_seed(0)
    network = initialise_gan(UnetGenerator(3, 32, 4, "batch", 0.5))
    kinds: set[type[nn.Module]] = set()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            kinds.add(type(module))
            assert abs(float(module.weight.detach().std()) - 0.02) < 0.002
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.BatchNorm2d):
            kinds.add(type(module))
            assert 0 < float((module.weight.detach() - 1).abs().max()) < 0.1
            assert not module.bias.any()
    assert kinds == {nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d}


def test_fine_details_come_as_three_channels_more() -> None:
    network, images = PatchDiscriminator(5, 4, 1, "none", details=8.0), torch.rand(2, 5, 16, 16)
    first = network.body[0]
    assert isinstance(first, nn.Conv2d) and first.in_channels == 8
    seen = torch.cat([images, 8 * fine_details(images[:, :3])], dim=1)
    assert torch.equal(network(images), network.body(seen))
