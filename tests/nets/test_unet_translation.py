"""pix2pix's U-Net: the published parameter count, its noise, its norms."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import nn

from uda.core.errors import ConfigError
from uda.nets.unet_translation import UnetGenerator

WIDTHS = [64, 128, 256, 512, 512, 512, 512, 512]
DOWN = 16 * sum(a * b for a, b in zip([3, *WIDTHS], WIDTHS, strict=False))
UP = 16 * (512 * 512 + 3 * 1024 * 512 + 1024 * 256 + 512 * 128 + 256 * 64) + (16 * 128 * 3 + 3)
NORMS = 2 * (128 + 256 + 4 * 512) + 2 * (4 * 512 + 256 + 128 + 64)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(**settings: object) -> UnetGenerator:
    torch.manual_seed(0)
    given = {"in_channels": 2, "width": 4, "levels": 3, "norm": "batch", "dropout": 0.5} | settings
    return UnetGenerator(**given)  # type: ignore[arg-type]  # of several types


def test_eight_levels_at_width_64_have_the_published_count() -> None:
    with torch.device("meta"):
        generator = UnetGenerator(3, 64, 8, "batch", 0.5)
    assert sum(p.numel() for p in generator.parameters()) == DOWN + UP + NORMS
    assert round((DOWN + UP + NORMS) / 1e6, 2) == 54.41


def test_the_first_and_the_innermost_convolution_have_no_norm() -> None:
    generator = make(levels=4)
    kinds = [isinstance(norm, nn.Identity) for norm in generator.down_norms]
    assert kinds == [True, False, False, True]
    assert not any(isinstance(norm, nn.Identity) for norm in generator.up_norms)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_images_have_the_maps_size_down_to_a_bottleneck_of_one_pixel(norm: str) -> None:
    for size in ((8, 8), (16, 24)):
        images = make(norm=norm)(torch.rand(1, 2, *size))
        assert images.shape == (1, 3, *size)
        assert images.abs().max() <= 1


def test_other_sizes_are_refused_with_the_settings_that_mend_it() -> None:
    with pytest.raises(ConfigError, match=r"24x12 are not divisible by 8.*render_size.*translator\.levels"):
        make()(torch.rand(1, 2, 12, 24))


@torch.no_grad()
def test_noise_comes_from_the_generator_also_in_evaluation() -> None:
    generator, maps = make().eval(), torch.rand(2, 2, 16, 16)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, again, other = (generator(maps, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert (one - other).abs().max() > 1e-4
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(1)
    assert torch.equal(one, generator(maps)), "without a generator torch's own draws"
    generator.train()
    assert torch.equal(one, generator(maps, draws(1))), "training and evaluation are the same"


@torch.no_grad()
def test_noise_differs_from_image_to_image() -> None:
    map_ = torch.rand(1, 2, 16, 16)
    one, two = make(norm="instance")(torch.cat([map_, map_]), draws(1))
    assert (one - two).abs().max() > 1e-4


@torch.no_grad()
def test_without_dropout_it_is_deterministic() -> None:
    generator, maps = make(dropout=0.0), torch.rand(1, 2, 16, 16)
    assert torch.equal(generator(maps, draws(1)), generator(maps, draws(2)))


@torch.no_grad()
def test_dropout_zeroes_its_part_and_keeps_the_mean() -> None:
    dropped = make(dropout=0.25)._with_noise(torch.ones(4, 16, 32, 32), draws(0))
    assert abs(float((dropped == 0).float().mean()) - 0.25) < 0.01
    assert abs(float(dropped.mean()) - 1) < 0.02
    assert torch.allclose(dropped.max(), torch.tensor(1 / 0.75))


@torch.no_grad()
def test_only_the_innermost_levels_are_noisy() -> None:
    sizes: list[tuple[int, ...]] = []
    generator = make(levels=6, dropout_levels=3)

    def noted(features: torch.Tensor, draw: torch.Generator | None) -> torch.Tensor:
        sizes.append(tuple(features.shape[-2:]))
        return features

    with mock.patch.object(generator, "_with_noise", side_effect=noted):
        generator(torch.rand(1, 2, 64, 64))
    assert sizes == [(2, 2), (4, 4), (8, 8)]


@torch.no_grad()
def test_with_instance_norm_an_image_does_not_depend_on_its_neighbours() -> None:
    maps = torch.rand(2, 2, 16, 16)
    alone = make(norm="instance", dropout=0.0)
    assert torch.allclose(alone(maps)[:1], alone(maps[:1]), atol=1e-5)
    together = make(norm="batch", dropout=0.0)
    assert not torch.allclose(together(maps)[:1], together(maps[:1]), atol=1e-5)


def test_every_weight_gets_a_gradient() -> None:
    generator = make(levels=4, dropout=0.0)
    generator(torch.rand(1, 2, 32, 32)).square().sum().backward()
    weights = [p for p in generator.parameters() if p.dim() > 1]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in weights)


def test_images_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert make()(torch.rand(1, 2, 16, 16)).dtype == torch.float32
