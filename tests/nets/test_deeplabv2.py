"""What public weights and numbers of DeepLabV2 hang on."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn
from torchvision.models import resnet101
from torchvision.models.resnet import Bottleneck

from uda.nets.deeplabv2 import AtrousPyramid, CaffeResNet101, make_deeplabv2


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_those_of_the_public_network() -> None:
    with torch.device("meta"):
        network = make_deeplabv2("resnet101_caffe", 8, 19, aspp_branches=4, multi_level=False)
        two = make_deeplabv2("resnet101_caffe", 8, 19, aspp_branches=2, multi_level=True)
    assert _count(network.encoder) == 42_500_160  # 42.50 M
    assert _count(network.heads) == 1_400_908  # 1.40 M
    assert [len(cast(AtrousPyramid, head).branches) for head in two.heads.values()] == [2, 2]
    assert _count(two.heads) == 2 * (2048 + 1024) * 9 * 19 + 4 * 19


def test_the_caffe_encoder_has_torchvisions_names() -> None:
    with torch.device("meta"):
        ours, theirs = CaffeResNet101(8).state_dict(), resnet101().state_dict()
    wanted = {key: value.shape for key, value in theirs.items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.items()} == wanted


@pytest.mark.parametrize(("output_stride", "dilations"), [(8, (1, 2, 4)), (16, (1, 1, 2)), (32, (1, 1, 1))])
def test_the_stride_is_in_the_first_1x1_and_whole_stages_are_dilated(
    output_stride: int, dilations: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        encoder = CaffeResNet101(output_stride)
    for number, (stage, dilation) in enumerate(
        zip((encoder.layer2, encoder.layer3, encoder.layer4), dilations, strict=True)
    ):
        blocks = [cast(Bottleneck, block) for block in stage]
        stride = 2 if output_stride >= 8 * 2**number else 1
        assert blocks[0].conv1.stride == (stride, stride) == blocks[0].downsample[0].stride
        for block in blocks:
            assert block.conv2.stride == (1, 1)
            assert block.conv2.dilation == block.conv2.padding == (dilation, dilation)


def test_the_caffe_encoder_rounds_sizes_up() -> None:
    encoder = CaffeResNet101(8).eval()
    with torch.no_grad():
        third, fourth = encoder(torch.zeros(1, 3, 64, 96))
    # 64 -> 32 -> ceil: 17 -> 9; torchvision's pooling gives 16 and 8.
    assert third.shape == (1, 1024, 9, 13) and fourth.shape == (1, 2048, 9, 13)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_the_output_stride_holds_for_other_encoders(output_stride: int) -> None:
    network = make_deeplabv2("tu-test_resnet", output_stride, 3, aspp_branches=4, multi_level=True).eval()
    logits = network(torch.zeros(1, 3, 64, 128))
    assert logits["main"].shape[-2:] == (64 // output_stride, 128 // output_stride)
    assert logits["aux"].shape[-2:] == (64 // min(output_stride, 16), 128 // min(output_stride, 16))


def test_branches_are_summed() -> None:
    torch.manual_seed(0)
    pyramid, features = AtrousPyramid(5, 3, (6, 12, 18, 24)), torch.randn(2, 5, 30, 30)
    wanted = torch.zeros(2, 3, 30, 30)
    for branch, dilation in zip(pyramid.branches, (6, 12, 18, 24), strict=True):
        layer = cast(nn.Conv2d, branch)
        wanted = wanted + nn.functional.conv2d(features, layer.weight, layer.bias, padding=dilation, dilation=dilation)
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert torch.allclose(pyramid(features), wanted, atol=1e-6)
