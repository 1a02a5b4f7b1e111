"""What public weights and numbers of DRN-C-26 hang on."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

from uda.nets.drn import OUTPUT_STRIDE, DilatedBlock, Drn26Encoder
from uda.nets.drn import Drn26 as Network

BLOCKS = (1, 1, 2, 2, 2, 2, 1, 1)
CHANNELS = (16, 32, 64, 128, 256, 512, 512, 512)
STRIDES = (1, 2, 2, 2, 1, 1, 1, 1)
DILATIONS = (1, 1, 1, 1, 2, 4, 2, 1)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _encoder() -> Drn26Encoder:
    with torch.device("meta"):
        return Drn26Encoder(1.0)


def _groups(encoder: Drn26Encoder) -> list[list[DilatedBlock]]:
    groups = [encoder.get_submodule(f"layer{number}").children() for number in range(1, 9)]
    return [[cast(DilatedBlock, block) for block in group] for group in groups]


def test_parameters_are_those_of_the_architecture() -> None:
    # 7x7 convolution and its norm; in each block two 3x3 and two norms; a 1x1 and a norm where the shape changes.
    wanted, before = 49 * 3 * 16 + 2 * 16, 16
    for blocks, channels in zip(BLOCKS, CHANNELS, strict=True):
        if before != channels:
            wanted += before * channels + 2 * channels
        for _ in range(blocks):
            wanted += 9 * before * channels + 9 * channels * channels + 4 * channels
            before = channels
    assert _count(_encoder()) == wanted == 20_613_584
    with torch.device("meta"):
        assert _count(Network(19)) == 20_623_331  # 20.62 M with 19 classes
        assert _count(Network(1000)) == 21_126_584  # 21.1 M in the authors' table: ImageNet's classifier


def test_it_has_26_layers() -> None:
    names = [name for name, module in _encoder().named_modules() if isinstance(module, nn.Conv2d)]
    assert len([name for name in names if "downsample" not in name]) == 25  # and the classifier


def test_groups_are_those_of_the_paper() -> None:
    for group, blocks, channels, stride, dilation in zip(
        _groups(_encoder()), BLOCKS, CHANNELS, STRIDES, DILATIONS, strict=True
    ):
        assert len(group) == blocks
        for index, block in enumerate(group):
            assert block.conv1.stride == ((1, 1) if index else (stride, stride))
            for layer in (block.conv1, block.conv2):
                assert layer.out_channels == channels
                assert layer.dilation == layer.padding == (dilation, dilation)


def test_the_last_two_groups_have_no_skip_connections() -> None:
    residual = [[block.residual for block in group] for group in _groups(_encoder())]
    assert residual == [[True] * blocks for blocks in BLOCKS[:6]] + [[False], [False]]
    features = torch.rand(1, 4, 5, 5)
    for wanted in (True, False):
        block = DilatedBlock(4, 4, 1, 2, residual=wanted).eval()
        nn.init.zeros_(block.conv2.weight)
        with torch.no_grad():
            made = block(features)
        assert torch.equal(made, features if wanted else torch.zeros_like(features))


def test_names_are_those_of_the_published_weights() -> None:
    state = set(_encoder().state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer8.0.bn2.bias"} <= state
    shortcuts = {key for key in state if key.endswith("downsample.0.weight")}
    assert shortcuts == {f"layer{number}.0.downsample.0.weight" for number in (2, 3, 4, 5, 6)}
    assert {key.split(".")[0] for key in state} == {"conv1", "bn1", *(f"layer{number}" for number in range(1, 9))}


@pytest.mark.parametrize(("size", "wanted"), [((64, 96), (8, 12)), ((65, 97), (9, 13)), ((8, 9), (1, 2))])
def test_the_output_stride_is_8_and_sizes_are_rounded_up(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    network = Network(3, width=0.125).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, *size))["main"].shape == (1, 3, *wanted)
    assert OUTPUT_STRIDE == 8


def test_first_weights_are_drawn_by_fan_out() -> None:
    torch.manual_seed(0)
    network = Network(19, width=0.5)
    layer = network.encoder.get_submodule("layer6.1.conv2")
    assert isinstance(layer, nn.Conv2d)
    assert layer.weight.std().item() == pytest.approx((2 / (9 * layer.out_channels)) ** 0.5, rel=0.02)
    assert network.head.weight.std().item() == pytest.approx((2 / 19) ** 0.5, rel=0.05)
    assert network.head.bias is not None and not network.head.bias.any()
