"""Sizes and parameter counts, computed by hand from the published tables."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from uda.core.errors import ConfigError
from uda.nets.blocks import Lens
from uda.nets.patch_discriminator import MultiScaleDiscriminator, fine_details
from uda.nets.translation import ContentEncoder, Decoder, SpadeMaps, StyleEncoder, StyleModulations

BLOCK = 2 * (3 * 3 * 256 * 256 + 256)
ENCODER = (7 * 7 * 3 * 64 + 64) + (4 * 4 * 64 * 128 + 128) + (4 * 4 * 128 * 256 + 256) + 4 * BLOCK
DECODER = 4 * BLOCK + (5 * 5 * 256 * 128 + 128) + 2 * 128 + (5 * 5 * 128 * 64 + 64) + 2 * 64 + (7 * 7 * 64 * 3 + 3)
STYLE = (
    (7 * 7 * 3 * 64 + 64) + (16 * 64 * 128 + 128) + (16 * 128 * 256 + 256) + 2 * (16 * 256 * 256 + 256) + 256 * 8 + 8
)
MLP = (8 * 256 + 256) + (256 * 256 + 256) + (256 * 4096 + 4096)
SPADE = 8 * ((9 * 19 * 128 + 128) + 2 * (9 * 128 * 256 + 256))
SCALE = (16 * 3 * 64 + 64) + (16 * 64 * 128 + 128) + (16 * 128 * 256 + 256) + (16 * 256 * 512 + 512) + (512 + 1)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_at_full_width() -> None:
    assert count(ContentEncoder(64, 4)) == ENCODER
    assert count(Decoder(64, 4)) == DECODER
    assert count(StyleEncoder(64, 8)) == STYLE
    assert count(StyleModulations(8, 256, 256, 8)) == MLP
    assert count(SpadeMaps(19, 128, 256, 8)) == SPADE
    assert count(MultiScaleDiscriminator(64, 4, 3)) == 3 * SCALE


def test_the_hand_computed_counts_are_the_published_ones_in_millions() -> None:
    in_millions = [
        round(n / 1e6, 2) for n in (ENCODER, STYLE, DECODER, MLP, ENCODER + STYLE + DECODER + MLP, 3 * SCALE)
    ]
    assert in_millions == [5.39, 2.76, 5.75, 1.12, 15.03, 8.27]


def test_content_is_a_quarter_of_the_image_and_comes_back_to_its_size() -> None:
    encoder, decoder = ContentEncoder(4, 1), Decoder(4, 1)
    content = encoder(torch.rand(2, 3, 16, 24))
    assert content.shape == (2, 16, 4, 6)
    images = decoder(content)
    assert images.shape == (2, 3, 16, 24)
    assert images.abs().max() <= 1


def test_levels_are_the_features_before_each_halving_and_the_content() -> None:
    encoder, images = ContentEncoder(4, 1), torch.rand(2, 3, 16, 24)
    levels = encoder.levels(images)
    assert [tuple(level.shape) for level in levels] == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6)]
    assert torch.equal(levels[-1], encoder(images))


@pytest.mark.parametrize("norm", [True, False])
def test_instance_norm_is_what_hides_an_images_contrast(norm: bool) -> None:
    encoder, images = ContentEncoder(4, 0, norm=norm), torch.rand(1, 3, 16, 16) - 0.5
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    near = torch.allclose(encoder(images), encoder(0.5 * images), atol=1e-2)
    assert near == norm


def test_a_decoder_with_skips_uses_them_all() -> None:
    decoder = Decoder(2, 1, skips=True)
    skips = [torch.rand(1, 2, 16, 16, requires_grad=True), torch.rand(1, 4, 8, 8, requires_grad=True)]
    decoder(torch.rand(1, 8, 4, 4), skips=skips).square().sum().backward()
    assert all(skip.grad is not None and skip.grad.any() for skip in skips)
    assert count(decoder) - count(Decoder(2, 1)) == (4 * 4 + 4) + (2 * 2 + 2)


def test_a_decoder_that_retouches_adds_to_its_image() -> None:
    decoder, content = Decoder(2, 1, residual=True), torch.rand(1, 8, 4, 4)
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    changed = decoder(content, image=image)
    painted = Decoder(2, 1)
    painted.load_state_dict(decoder.state_dict(), strict=False)
    whole = painted(content).atanh()
    torch.testing.assert_close(changed, torch.tanh(0.1 * whole + image.clamp(-0.98, 0.98).atanh()), rtol=0, atol=1e-5)
    changed.square().sum().backward()
    retouch, last = decoder.retouch, decoder.get_parameter("last.1.weight")
    assert retouch is not None
    parts = (retouch.strength, last, retouch.lens.change, retouch.lens.shift)
    assert all(p.grad is not None and p.grad.any() for p in parts)
    with torch.no_grad():
        retouch.strength.zero_()
        torch.testing.assert_close(decoder(content, image=image), image.clamp(-0.98, 0.98), rtol=0, atol=1e-5)


def test_a_lens_starts_clear_and_can_become_any_small_filter() -> None:
    lens, images = Lens(3, pace=5.0), torch.rand(2, 3, 6, 8) * 2 - 1
    assert torch.equal(lens(images), images)
    with torch.no_grad():  # a box blur of each colour by itself, a tenth brighter
        lens.change[range(3), range(3)] = 1 / 9 / 5
        lens.change[range(3), range(3), 1, 1] -= 1 / 5
        lens.shift.add_(0.1 / 5)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1) + 0.1
    torch.testing.assert_close(lens(images), blurred, rtol=0, atol=1e-5)


def test_noise_starts_at_nothing_and_is_left_out_on_request() -> None:
    decoder, content = Decoder(2, 1, noise=True), torch.rand(1, 8, 4, 4)

    def draw(size: Sequence[int], *, device: torch.device) -> torch.Tensor:
        return torch.randn(tuple(size), device=device)

    quiet = decoder(content)
    assert torch.equal(decoder(content, draw=draw), quiet)
    for strength in decoder.noise:
        nn.init.ones_(strength)
    one, other = decoder(content, draw=draw), decoder(content, draw=draw)
    assert not torch.allclose(one, other)
    assert torch.equal(decoder(content), quiet)
    one.square().sum().backward()
    assert all(strength.grad is not None and strength.grad.any() for strength in decoder.noise)


def test_the_decoder_gives_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Decoder(4, 1)(torch.rand(1, 16, 4, 4)).dtype == torch.float32


def test_the_decoder_uses_every_modulation() -> None:
    decoder, content = Decoder(2, 2), torch.rand(1, 8, 4, 4)
    modulations = [(torch.ones(1, 8, 1, 1, requires_grad=True), torch.rand(1, 8, 1, 1)) for _ in range(4)]
    decoder(content, modulations).square().sum().backward()
    assert all(scale.grad is not None and scale.grad.any() for scale, _ in modulations)


def test_style_codes_become_scale_and_shift_of_every_norm() -> None:
    styles = StyleEncoder(4, 8, downsamplings=2)(torch.rand(2, 3, 32, 32))
    assert styles.shape == (2, 8)
    mlp = StyleModulations(8, 16, 12, 4)
    modulations = mlp(styles)
    assert len(modulations) == 4
    assert all(part.shape == (2, 12, 1, 1) for pair in modulations for part in pair)
    flat = torch.cat([part.flatten(1) for pair in modulations for part in pair], dim=1)
    assert torch.equal(flat, mlp.layers(styles))


def test_a_discriminator_halves_by_layer_and_by_scale() -> None:
    outputs = MultiScaleDiscriminator(4, layers=4, scales=3)(torch.rand(2, 3, 96, 192))
    assert [tuple(output.shape) for output in outputs] == [(2, 1, 6, 12), (2, 1, 3, 6), (2, 1, 1, 3)]


def test_too_small_images_are_refused_with_the_least_size() -> None:
    discriminator = MultiScaleDiscriminator(4, layers=4, scales=3)
    discriminator(torch.rand(1, 3, 64, 64))
    with pytest.raises(ConfigError, match="64 pixels a side"):
        discriminator(torch.rand(1, 3, 32, 64))


def test_scales_have_weights_of_their_own() -> None:
    discriminator = MultiScaleDiscriminator(4, layers=1, scales=2)
    first, second = (next(body.parameters()) for body in discriminator.scales)
    assert not torch.equal(first, second)


def test_fine_details_are_the_difference_to_the_local_mean() -> None:
    assert torch.allclose(fine_details(torch.full((1, 3, 8, 8), 0.3)), torch.zeros(1, 3, 8, 8), atol=1e-6)
    dot = torch.zeros(1, 1, 9, 9)
    dot[..., 4, 4] = 1
    wanted = torch.zeros(1, 1, 9, 9)
    wanted[..., 2:7, 2:7] = -1 / 25
    wanted[..., 4, 4] = 24 / 25
    assert torch.allclose(fine_details(dot), wanted, atol=1e-6)


def test_with_details_only_the_last_scale_sees_brightness() -> None:
    discriminator, images = MultiScaleDiscriminator(4, layers=2, scales=3, details=8), torch.rand(1, 3, 32, 32)
    pairs = list(zip(discriminator(images), discriminator(images + 0.5), strict=True))
    assert [torch.allclose(dark, bright, atol=1e-4) for dark, bright in pairs] == [True, True, False]
    first = discriminator.scales[0]
    assert torch.allclose(pairs[0][0], first(8 * fine_details(images)))
