"""Parameter counts (computed by hand, and as published), sizes, and what is normalised by what."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrize

from uda.core.errors import ConfigError, DataError
from uda.nets.oasis_discriminator import DiscriminatorAsSegmenter, OasisDiscriminator, _Block
from uda.nets.spade_discriminator import ImageEncoder, MultiScalePatchDiscriminator
from uda.nets.spade_resnet import (
    Spade,
    SpadeBlock,
    SpadeGenerator,
    label_edges,
    label_layout,
    make_oasis_generator,
    make_spade_generator,
    reestimate_statistics,
)
from uda.nets.spectral import spectral_normalise
from uda.nets.vgg19 import Vgg19Features, load_vgg19

CITYSCAPES = 34 + 1
"""Its label values and `unknown`."""


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def conv(before: int, after: int, kernel: int = 3) -> int:
    return kernel * kernel * before * after + after


def spade(channels: int, condition: int) -> int:
    return conv(condition, 128) + 2 * conv(128, channels)


def block(before: int, after: int, condition: int) -> int:
    middle = min(before, after)
    skip = before * after + spade(before, condition) if before != after else 0
    return conv(before, middle) + conv(middle, after) + spade(before, condition) + spade(middle, condition) + skip


def generator(condition: int, channels: list[int]) -> int:
    blocks = sum(block(a, b, condition) for a, b in pairwise(channels))
    return conv(condition, channels[0]) + blocks + conv(channels[-1], 3)


def test_generators_have_the_published_parameter_counts() -> None:
    wide = [1024, 1024, 1024, 1024, 512, 256, 128, 64]
    with torch.device("meta"):
        edged = {n: count(make_spade_generator(CITYSCAPES + 1, doublings=n)) for n in (5, 6, 7)}
        plain, oasis = count(make_spade_generator(CITYSCAPES)), count(make_oasis_generator(CITYSCAPES + 64))
        oasis_19 = count(make_oasis_generator(19 + 1 + 64))
    assert edged[5] == edged[6] == generator(36, wide) == 93_048_003
    assert edged[7] == generator(36, [*wide, 32])
    assert plain == generator(35, wide) == 93_018_051
    assert oasis == generator(99, wide[1:]) == 71_107_523
    assert [round(n / 1e6, 2) for n in (edged[6], plain, oasis, oasis_19)] == [93.05, 93.02, 71.11, 70.69]


def test_discriminators_have_the_published_parameter_counts() -> None:
    down, up = (
        [3, 128, 128, 256, 256, 512, 512],
        [(512, 512), (1024, 256), (512, 256), (512, 128), (256, 128), (256, 64)],
    )
    pairs = [*pairwise(down), *up]
    unet = sum(conv(a, b) + conv(b, b) + (conv(a, b, 1) if a != b else 0) for a, b in pairs) + conv(64, 34 + 1, 1)
    # Norms take the biases of the middle convolutions.
    scale = conv(36 + 3, 64, 4) + 16 * (64 * 128 + 128 * 256 + 256 * 512) + conv(512, 1, 4)
    with torch.device("meta"):
        assert count(OasisDiscriminator(34)) == unet
        assert count(MultiScalePatchDiscriminator(36 + 3)) == 2 * scale
    assert round(unet / 1e6, 2) == 22.25


def test_the_image_encoder_has_the_authors_sizes() -> None:
    with torch.device("meta"):
        counted = count(ImageEncoder())
    widths = [3, 64, 128, 256, 512, 512, 512]
    downward = sum(9 * a * b for a, b in pairwise(widths))
    assert counted == downward + 2 * (512 * 16 * 256 + 256)
    mean, log_variance = ImageEncoder(2, 5)(torch.rand(3, 3, 32, 64))
    assert mean.shape == log_variance.shape == (3, 5)


def test_unknown_pixels_have_a_channel_of_their_own() -> None:
    labels = torch.tensor([[[0, 2, 255], [1, 1, 254]]])
    layout = label_layout(labels, 3)
    assert layout.shape == (1, 4, 2, 3) and layout.dtype == torch.float32
    assert torch.equal(layout.sum(1), torch.ones(1, 2, 3))
    assert torch.equal(layout.argmax(1), torch.tensor([[[0, 2, 3], [1, 1, 3]]]))


def test_edges_are_where_a_neighbour_has_another_label() -> None:
    labels = torch.zeros(1, 4, 5, dtype=torch.long)
    labels[:, 2:, 3:] = 7
    wanted = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0]])
    assert torch.equal(label_edges(labels)[0, 0].long(), wanted)
    layout = label_layout(labels, 9, edges=True)
    assert layout.shape == (1, 11, 4, 5)
    assert torch.equal(layout[0, -1].long(), wanted)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_spade_is_norm_times_one_plus_gamma_plus_beta(norm: Any) -> None:
    torch.manual_seed(0)
    layer, features, condition = Spade(4, 3, 6, norm).train(), torch.randn(2, 4, 5, 5), torch.rand(2, 3, 5, 5)
    over = (0, 2, 3) if norm == "batch" else (2, 3)
    mean, variance = features.mean(over, keepdim=True), features.var(over, keepdim=True, unbiased=False)
    hidden = F.relu(layer.shared(condition))
    wanted = (features - mean) / (variance + 1e-5).sqrt() * (1 + layer.gamma(hidden)) + layer.beta(hidden)
    assert torch.allclose(layer(features, condition), wanted, atol=1e-5)


@pytest.mark.parametrize("doublings", [5, 6, 7])
def test_doublings_make_the_images_size_and_refuse_another(doublings: Any) -> None:
    network, side = make_spade_generator(3, 2, doublings=doublings, hidden=2), 2**doublings
    assert network.stride == side
    images = network(torch.rand(2, 3, side, 2 * side))
    assert images.shape == (2, 3, side, 2 * side) and images.abs().max() <= 1
    with pytest.raises(
        ConfigError, match=rf"\[{side}, {side + 8}\] is not divisible by {side}.*use \[{side}, {side}\]"
    ):
        network(torch.rand(1, 3, side, side + 8))


def test_a_norm_over_a_single_value_is_refused() -> None:
    batch, instance = (make_spade_generator(3, 2, hidden=2, norm=norm) for norm in ("batch", "instance"))
    with pytest.raises(ConfigError, match="batch norm a single value"):
        batch(torch.rand(1, 3, 64, 64))
    assert batch(torch.rand(2, 3, 64, 64)).shape == (2, 3, 64, 64)
    assert batch.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    for network in (instance, instance.eval()):
        with pytest.raises(ConfigError, match="instance norm a single value"):
            network(torch.rand(2, 3, 64, 64))


def test_each_block_sees_the_map_at_its_own_size_by_nearest_neighbours() -> None:
    network, seen = make_oasis_generator(3, 2, hidden=2), []
    for one in network.blocks:
        one.register_forward_pre_hook(lambda _, given: seen.append(given))
    condition = torch.rand(2, 3, 64, 96)
    network(condition)
    assert [given[0].shape[-2:] for given in seen] == [(2 * 2**n, 3 * 2**n) for n in range(6)]
    for features, small in seen:
        assert torch.equal(small, F.interpolate(condition, size=features.shape[-2:], mode="nearest"))


def test_a_style_code_starts_the_image_at_any_size() -> None:
    torch.manual_seed(0)
    network = make_spade_generator(3, 2, doublings=5, hidden=2, style=4, start_grid=(2, 4)).eval()
    condition = torch.rand(1, 3, 64, 128)
    one, two = (network(condition, style) for style in torch.randn(2, 1, 4))
    assert one.shape == (1, 3, 64, 128) and not torch.equal(one, two)
    assert network(condition[..., :96], torch.randn(1, 4)).shape == (1, 3, 64, 96)


def normalised(network: SpadeGenerator | OasisDiscriminator | MultiScalePatchDiscriminator | ImageEncoder) -> set[str]:
    """Names of the convolutions with spectral norm, after it was put where the network says."""
    for part in network.normalised():
        spectral_normalise(part)
    return {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and parametrize.is_parametrized(module, "weight")
    }


def convolutions(network: nn.Module) -> set[str]:
    return {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


def test_spectral_norm_is_where_the_authors_have_it() -> None:
    made = make_oasis_generator(3, 2, hidden=2)
    skips = {f"blocks.{n}.skip" for n in range(2, 6)}
    assert normalised(made) == {f"blocks.{n}.{part}" for n in range(6) for part in ("first", "second")} | skips
    unet, patches, encoder = OasisDiscriminator(3, 2), MultiScalePatchDiscriminator(6, 2), ImageEncoder(2, 4)
    assert normalised(unet) == convolutions(unet) - {"last"}
    ends = {f"scales.{scale}.{end}" for scale in range(2) for end in ("first", "last")}
    assert normalised(patches) == convolutions(patches) - ends
    assert normalised(encoder) == convolutions(encoder)


@pytest.mark.parametrize("after", [4, 6])
def test_a_block_is_two_convolutions_behind_spade_and_a_skip(after: int) -> None:
    torch.manual_seed(0)
    block, features, map_ = SpadeBlock(4, after, 3, 5, "instance"), torch.randn(2, 4, 8, 8), torch.rand(2, 3, 8, 8)
    hidden = block.first(F.leaky_relu(block.norm_first(features, map_), 0.2))
    assert hidden.shape[1] == 4  # the fewer of both
    skipped = features
    if after != 4:
        assert block.skip is not None and block.norm_skip is not None and block.skip.bias is None
        skipped = block.skip(block.norm_skip(features, map_))
    wanted = skipped + block.second(F.leaky_relu(block.norm_second(hidden, map_), 0.2))
    torch.testing.assert_close(block(features, map_), wanted)


def test_the_u_net_gives_one_logit_more_than_classes_at_full_size() -> None:
    network = OasisDiscriminator(5, 2)
    assert network(torch.rand(2, 3, 64, 128)).shape == (2, 6, 64, 128)
    with pytest.raises(ConfigError, match=r"\[64, 100\] is not divisible by 64.*use \[64, 128\]"):
        network(torch.rand(1, 3, 64, 100))


def test_the_u_nets_skips_may_change_places_with_the_resizing() -> None:
    torch.manual_seed(0)
    features, one = torch.randn(1, 4, 8, 8), _Block(4, 6)
    hidden = one.second(F.leaky_relu(one.first(F.leaky_relu(features, 0.2)), 0.2))
    assert torch.allclose(one.smaller(features), F.avg_pool2d(one.skip(features) + hidden, 2), atol=1e-6)
    larger = F.interpolate(features, scale_factor=2.0)
    hidden = one.second(F.leaky_relu(one.first(F.leaky_relu(larger, 0.2)), 0.2))
    assert torch.allclose(one.larger(features), one.skip(larger) + hidden, atol=1e-6)


def test_as_a_segmenter_it_leaves_fake_out_and_takes_any_size() -> None:
    torch.manual_seed(0)
    network = OasisDiscriminator(5, 2).eval()
    body, images = DiscriminatorAsSegmenter(network), torch.rand(1, 3, 64, 128)
    assert torch.equal(body(images)["main"], network(images)[:, :5])
    assert body(images[..., :50, :101])["main"].shape == (1, 5, 50, 101)


def test_patch_discriminators_give_features_and_raw_maps_by_scale() -> None:
    made = MultiScalePatchDiscriminator(5, 2, layers=3, scales=2)(torch.rand(2, 5, 32, 64))
    shapes = [[tuple(features.shape[1:]) for features in scale] for scale in made]
    assert shapes == [
        [(2, 17, 33), (4, 9, 17), (8, 10, 18), (1, 11, 19)],
        [(2, 9, 17), (4, 5, 9), (8, 6, 10), (1, 7, 11)],
    ]


def test_statistics_become_the_mean_over_the_given_batches() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(spectral_normalise(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4, affine=False), nn.Dropout(0.5))
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    network.train()
    network[2].eval()
    frozen = {key: value.clone() for key, value in network[0].state_dict().items()}
    batches = [torch.randn(2, 3, 4, 4), 5 + torch.randn(2, 3, 4, 4)]
    reestimate_statistics(network, ((batch,) for batch in batches))
    features = [network.eval()[0](batch) for batch in batches]
    for kept, statistic in ((norm.running_mean, torch.mean), (norm.running_var, torch.var)):
        assert kept is not None
        wanted = torch.stack([statistic(one, (0, 2, 3)) for one in features]).mean(0)
        assert torch.allclose(kept, wanted, atol=1e-5)
    assert norm.momentum == 0.1
    assert all(torch.equal(frozen[key], value) for key, value in network[0].state_dict().items())


def test_estimating_statistics_keeps_modes_and_without_batches_all() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2, affine=False), nn.Dropout())
    network.train()
    network[1].eval()
    network(torch.randn(4, 2, 3, 3))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    reestimate_statistics(network, [])
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    reestimate_statistics(network, [(torch.randn(4, 2, 3, 3),)])
    assert network.training and network[0].training and not network[1].training


def test_vgg_is_torchvisions_up_to_the_fifth_stage() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.vgg19(weights=None)
        ours = Vgg19Features()
    wanted = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()}.items() <= wanted.items()
    kinds = [type(layer) for layer in theirs.features]
    assert [type(layer) for layer in ours.features] == kinds[:30]
    assert ours._ends == [1, 6, 11, 20, 29]


def test_vgg_reads_its_weights_and_refuses_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Vgg19Features()
    state = {**network.state_dict(), "classifier.0.weight": torch.zeros(2, 2)}
    save_file(state, tmp_path / "vgg19.safetensors")
    before = torch.random.get_rng_state()
    loaded = load_vgg19(tmp_path / "vgg19.safetensors")
    assert torch.equal(before, torch.random.get_rng_state())  # a fit that reads it draws what one that has it does
    images = torch.rand(1, 3, 32, 32)
    made = loaded(images)
    assert [tuple(one.shape) for one in made] == [(1, 64 * 2 ** min(n, 3), 32 // 2**n, 32 // 2**n) for n in range(5)]
    assert all(torch.equal(*pair) for pair in zip(made, network(images), strict=True))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"other\.safetensors: holds no VGG-19 \('features\.0\.weight'"):
        load_vgg19(tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="no such weights file"):
        load_vgg19(tmp_path / "absent.pth")
