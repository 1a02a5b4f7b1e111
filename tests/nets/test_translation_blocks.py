from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uda.nets import blocks, ema, init, spectral
from uda.nets.patch_discriminator import MultiScaleDiscriminator
from uda.nets.spade_discriminator import MultiScalePatchDiscriminator
from uda.nets.translation import SpadeMaps


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_gives_each_channel_mean_0_and_variance_1(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    features = (torch.randn(2, 3, 8, 9) * 3 + 1).to(dtype).contiguous(memory_format=layout)
    normed = blocks.instance_norm(features)
    assert normed.dtype == dtype and normed.is_contiguous(memory_format=layout)
    raw = features.float()
    std, mean = torch.std_mean(raw, dim=(2, 3), keepdim=True, correction=0)
    assert torch.allclose(normed.float(), (raw - mean) / std, atol=1e-4 if dtype == torch.float32 else 3e-2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_halving_takes_means_of_what_lies_inside(layout: torch.memory_format) -> None:
    images = torch.arange(30.0).reshape(1, 1, 5, 6).repeat(2, 3, 1, 1).contiguous(memory_format=layout)
    halved = blocks.halved(images.requires_grad_())
    assert halved.shape == (2, 3, 3, 3) and halved.is_contiguous()  # in channels_last some GPUs' gradients are wrong
    assert halved[0, 0, 0, 0] == (0 + 1 + 6 + 7) / 4
    assert halved[1, 2, 1, 1] == images[1, 2, 1:4, 1:4].mean()
    halved[0, 0, 1, 1].backward()
    assert images.grad is not None
    wanted = torch.zeros(5, 6)
    wanted[1:4, 1:4] = 1 / 9
    torch.testing.assert_close(images.grad[0, 0], wanted)
    assert not images.grad[1].any()


@pytest.mark.parametrize(
    "discriminator",
    [MultiScaleDiscriminator(4, 2, 3, details=8.0), MultiScalePatchDiscriminator(3, 4, 2, 3)],
    ids=["munit", "spade"],
)
def test_discriminators_average_over_a_border_in_contiguous_memory_alone(
    discriminator: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    average, seen = F.avg_pool2d, []

    def watched(images: Tensor, kernel: int, stride: int, padding: int = 0, **more: Any) -> Tensor:
        if padding:
            seen.append(images.is_contiguous())
        return average(images, kernel, stride, padding, **more)

    monkeypatch.setattr(F, "avg_pool2d", watched)
    discriminator(torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last))
    assert seen == [True, True]


def test_modulation_scales_and_shifts_pixel_by_pixel() -> None:
    features, scale, shift = torch.randn(3, 2, 4, 5, 6).unbind(0)
    wanted = blocks.instance_norm(features) * scale + shift
    assert torch.allclose(blocks.instance_norm(features, (scale, shift)), wanted, atol=1e-6)


def test_spade_with_zero_gamma_and_beta_is_instance_norm() -> None:
    maps = SpadeMaps(num_classes=5, hidden=8, channels=4, norms=2)
    for layer in (*maps.gamma, *maps.beta):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    features = torch.randn(2, 4, 6, 8)
    for modulation in maps(torch.randn(2, 5, 24, 32)):
        assert torch.equal(modulation[0], torch.ones_like(features))
        assert torch.equal(blocks.instance_norm(features, modulation), blocks.instance_norm(features))


def test_spade_with_constant_gamma_and_beta_is_an_affine_instance_norm() -> None:
    maps = SpadeMaps(num_classes=5, hidden=8, channels=4, norms=1)
    for layer, value in ((maps.gamma[0], 0.5), (maps.beta[0], -2.0)):
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.constant_(layer.bias, value)
    features = torch.randn(2, 4, 6, 8)
    (modulation,) = maps(torch.randn(2, 5, 24, 32))
    wanted = 1.5 * blocks.instance_norm(features) - 2
    assert torch.allclose(blocks.instance_norm(features, modulation), wanted, atol=1e-6)


def test_spade_differs_where_the_logits_do() -> None:
    torch.manual_seed(0)
    maps = SpadeMaps(num_classes=2, hidden=8, channels=4, norms=1)
    logits = torch.zeros(1, 2, 64, 64)
    logits[:, 0, :, :32] = 5
    ((scale, _),) = maps(logits)
    assert torch.allclose(scale[..., 2:14, 2:5], scale[..., 2:3, 2:3].expand(1, 4, 12, 3), atol=1e-6)
    assert (scale[..., 8, 3] - scale[..., 8, 12]).abs().max() > 1e-3


def test_layer_norm_is_over_channels_and_pixels_of_each_image() -> None:
    norm, features = blocks.LayerNorm(3), torch.randn(2, 3, 7, 5) * 4 + 2
    torch.nn.init.constant_(norm.shift, 1.0)
    var, mean = torch.var_mean(features, dim=(1, 2, 3), keepdim=True, correction=0)
    wanted = (features - mean) / (var + 1e-5).sqrt() * norm.scale.view(1, 3, 1, 1) + 1
    assert torch.allclose(norm(features), wanted, atol=1e-5)
    munits = (features - mean) / (features.std((1, 2, 3), keepdim=True) + 1e-5) * norm.scale.view(1, 3, 1, 1) + 1
    assert torch.allclose(norm(features), munits, atol=0.03)
    assert norm.scale.min() >= 0 and norm.scale.max() <= 1


def test_a_residual_block_with_silent_convolutions_is_the_identity() -> None:
    block, features = blocks.ResidualBlock(4), torch.randn(1, 4, 6, 6)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(block(features), features)


def test_a_convolutions_border_is_reflected() -> None:
    layer = init.initialise(blocks.convolution(1, 1, 3), "kaiming")
    images = torch.rand(1, 1, 4, 4)
    kernel = next(p for p in layer.parameters() if p.dim() == 4)
    assert torch.allclose(layer(images), F.conv2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), kernel), atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert blocks.ReflectedBorder(1)(images.bfloat16()).dtype == torch.bfloat16
        assert blocks.doubled(images.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("kind", "deviation"), [("kaiming", (2 / 288) ** 0.5), ("normal", 0.02), ("xavier", 0.02 * (2 / 864) ** 0.5)]
)
def test_first_weights_have_the_named_deviation(kind: init.InitKind, deviation: float) -> None:
    layer = torch.nn.Conv2d(32, 64, 3)
    init.initialise(layer, kind)
    assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
    assert layer.bias is not None and not layer.bias.any()


def _largest_singular_value(weight: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2))


def test_spectral_normalisation_brings_the_largest_singular_value_to_1() -> None:
    torch.manual_seed(0)
    first, second = torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 1)
    network = torch.nn.Sequential(first, torch.nn.Sequential(second))
    spectral.spectral_normalise(network)
    for _ in range(30):
        network(torch.rand(1, 3, 5, 5))
    for layer in (first, second):
        assert _largest_singular_value(layer.weight) == pytest.approx(1, abs=1e-3)


def test_weights_are_normalised_once_in_float32_and_gradients_add_up() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 8, 3)
    spectral.spectral_normalise(layer)
    images = torch.rand(1, 3, 5, 5)
    with torch.autocast("cpu", torch.bfloat16), spectral.weights_once([layer]):
        estimate = layer.get_buffer("parametrizations.weight.0._u").clone()
        first = layer.weight
        layer(images)
        assert layer.weight is first and first.dtype == torch.float32
        assert torch.equal(estimate, layer.get_buffer("parametrizations.weight.0._u"))
    assert layer.weight is not first
    layer.eval()
    gradients, original = list[Tensor](), layer.get_parameter("parametrizations.weight.original")
    for together in (True, False):
        layer.zero_grad()
        if together:
            with spectral.weights_once([layer]):
                (layer(images).sum() + layer(2 * images).square().sum()).backward()
        else:
            (layer(images).sum() + layer(2 * images).square().sum()).backward()
        assert original.grad is not None
        gradients.append(original.grad.clone())
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)


def test_the_average_follows_the_closed_form() -> None:
    network = torch.nn.BatchNorm2d(2)
    average = ema.averaged_copy(network)
    assert isinstance(average, torch.nn.BatchNorm2d) and average.running_mean is not None
    assert network.running_mean is not None
    assert not any(p.requires_grad for p in average.parameters())
    for value in (2.0, 4.0):
        torch.nn.init.constant_(network.weight, value)
        network.running_mean += 1
        ema.update_average(average, network, 0.75)
    assert torch.allclose(average.weight, torch.full((2,), 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 4))
    assert torch.equal(average.running_mean, network.running_mean)


def test_an_average_of_spectrally_normalised_weights_can_be_kept() -> None:
    network = spectral.spectral_normalise(torch.nn.Conv2d(3, 4, 3))
    average = ema.averaged_copy(network)
    images = torch.rand(1, 3, 5, 5)
    network(images)
    ema.update_average(average, network, 0.0)
    assert torch.allclose(average.eval()(images), network.eval()(images))
    average.load_state_dict(network.state_dict())


def test_averaged_weights_are_divided_by_their_own_largest_singular_value() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(8, 8, 3)
    spectral.spectral_normalise(network)
    average = ema.averaged_copy(network).eval()
    assert isinstance(average, torch.nn.Conv2d)
    for _ in range(20):
        torch.nn.init.orthogonal_(network.get_parameter("parametrizations.weight.original"))
        network(torch.rand(1, 8, 3, 3))
        ema.update_average(average, network, 0.9)
    assert _largest_singular_value(average.weight) > 1.02
    spectral.settle(average)
    assert _largest_singular_value(average.weight) == pytest.approx(1, abs=1e-3)
    assert not average.training and not average.get_submodule("parametrizations.weight.0").training


def test_the_decay_ramps_up() -> None:
    assert [ema.ramped(0.6, step) for step in range(4)] == pytest.approx([0, 0.5, 0.6, 0.6])
