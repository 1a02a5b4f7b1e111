"""DeepLabV2 (Chen et al. 2017): a dilated encoder and an atrous spatial pyramid of four branches, summed.

The encoder `resnet101_caffe` is the one that the field's weights and numbers belong to. It differs from torchvision's
(and so from smp's `resnet101`, where the same weights would load and give other features): the stride is in the first
1x1 convolution of a stage, not in its 3x3; the pooling rounds sizes up; every block of a dilated stage is dilated,
the first one too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from uda.nets.encoders import make_features

CAFFE = "resnet101_caffe"
DILATIONS = (6, 12, 18, 24)


class AtrousPyramid(nn.Module):
    """3x3 convolutions of several dilations straight from features to classes, summed.

    Args:
        channels: of the features.
        num_classes: of the logits.
        dilations: one for each branch.
    """

    def __init__(self, channels: int, num_classes: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )
        for branch in self.branches.children():
            assert isinstance(branch, nn.Conv2d) and branch.bias is not None
            nn.init.normal_(branch.weight, 0.0, 0.01)
            nn.init.zeros_(branch.bias)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Logits_BNHW at the features' size."""
        return torch.stack([branch(features_BCHW) for branch in self.branches]).sum(0)


class CaffeResNet101(nn.Module):
    """ResNet-101 as Caffe has it, dilated; parameter names are torchvision's.

    Args:
        output_stride: 8, 16 or 32.
    """

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        dilated = [False, output_stride < 16, output_stride < 32]
        whole = ResNet(Bottleneck, [3, 4, 23, 3], replace_stride_with_dilation=dilated)
        self.conv1, self.bn1, self.relu = whole.conv1, whole.bn1, whole.relu
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        for stage in (self.layer2, self.layer3, self.layer4):
            _as_caffe(stage)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Features of the third (1024 channels) and fourth stage (2048 channels)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(images_BCHW))))
        third = self.layer3(self.layer2(self.layer1(features)))
        return [third, self.layer4(third)]


def _as_caffe(stage: nn.Sequential) -> None:
    """Stride into the first 1x1, and the stage's dilation into its first block."""
    first, last = cast(Bottleneck, stage[0]), cast(Bottleneck, stage[-1])
    first.conv1.stride, first.conv2.stride = first.conv2.stride, (1, 1)
    first.conv2.dilation, first.conv2.padding = last.conv2.dilation, last.conv2.padding


class DeepLabV2(nn.Module):
    """Encoder and pyramids; give it to a `SegmenterNetwork`.

    Args:
        encoder: images_BCHW -> two feature maps, the deeper one last.
        channels: of the two feature maps.
        num_classes: of the logits.
        dilations: of the pyramid's branches.
        multi_level: a second pyramid, `aux`, on the shallower features (AdaptSegNet).
    """

    def __init__(
        self,
        encoder: nn.Module,
        channels: tuple[int, int],
        num_classes: int,
        dilations: Sequence[int],
        *,
        multi_level: bool,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict({"main": AtrousPyramid(channels[1], num_classes, dilations)})
        if multi_level:
            self.heads["aux"] = AtrousPyramid(channels[0], num_classes, dilations)

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """Logits of each head at the output stride."""
        shallow, deep = self.encoder(images_BCHW)
        return {name: head(deep if name == "main" else shallow) for name, head in self.heads.items()}


def make_deeplabv2(
    encoder: str, output_stride: int, num_classes: int, *, aspp_branches: int, multi_level: bool
) -> DeepLabV2:
    """DeepLabV2 on `resnet101_caffe` or any encoder of smp and timm; see `DeepLabV2Config` for the settings."""
    if encoder == CAFFE:
        features: nn.Module = CaffeResNet101(output_stride)
        channels = (1024, 2048)
    else:
        features, channels = make_features(encoder, output_stride)
    return DeepLabV2(features, channels, num_classes, DILATIONS[:aspp_branches], multi_level=multi_level)
