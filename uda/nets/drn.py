"""The dilated residual network DRN-C-26 (Yu et al. 2017), with a linear classifier on its features.

A residual network whose last two groups are dilated instead of strided (output stride 8), and two further groups of
falling dilation without skip connections, which take away the grid pattern that dilation leaves. Names are those of the
authors' code, so that their ImageNet weights load.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

OUTPUT_STRIDE = 8
"""Image side over feature side."""
_GROUPS = (
    # channels, blocks, stride, dilation, whether its blocks have skip connections
    (16, 1, 1, 1, True),
    (32, 1, 2, 1, True),
    (64, 2, 2, 1, True),
    (128, 2, 2, 1, True),
    (256, 2, 1, 2, True),
    (512, 2, 1, 4, True),
    (512, 1, 1, 2, False),
    (512, 1, 1, 1, False),
)


class DilatedBlock(nn.Module):
    """Two dilated 3x3 convolutions, each with BatchNorm, ReLU between them and at the end.

    Args:
        in_channels: of what comes in.
        channels: of what comes out.
        stride: of the first convolution.
        dilation: of both.
        residual: whether the input is added before the last ReLU, by a 1x1 convolution where its shape differs.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int, *, residual: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.residual = residual
        self.stride = stride
        self.downsample: nn.Module | None = None
        if residual and (stride != 1 or in_channels != channels):
            shortcut = nn.Conv2d(in_channels, channels, 1, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Features, their sides divided by the stride and rounded up."""
        made = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(features_BCHW)))))
        if self.residual:
            # Every second pixel and then 1x1, which is a strided 1x1: with fewer than 16 channels that one's backward
            # pass writes outside its memory in channels_last on a CPU (PyTorch 2.11 and 2.14: segmentation faults).
            seen = features_BCHW[..., :: self.stride, :: self.stride]
            made = made + (seen if self.downsample is None else self.downsample(seen))
        return F.relu(made)


class Drn26Encoder(nn.Module):
    """7x7 convolution and eight groups of blocks: 20.61 M parameters at width 1.

    Args:
        width: multiplier of all channels; pretrained weights want 1.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        before = max(1, round(_GROUPS[0][0] * width))
        self.conv1 = nn.Conv2d(3, before, 7, 1, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        for number, (base, count, stride, dilation, residual) in enumerate(_GROUPS, 1):
            channels, blocks = max(1, round(base * width)), []
            for index in range(count):
                blocks.append(DilatedBlock(before, channels, 1 if index else stride, dilation, residual=residual))
                before = channels
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.channels = before
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images -> features (B, 512 width, ceil(H / 8), ceil(W / 8))."""
        features = F.relu(self.bn1(self.conv1(images_BCHW)))
        for number in range(1, len(_GROUPS) + 1):
            features = self.get_submodule(f"layer{number}")(features)
        return features


class Drn26(nn.Module):
    """Encoder and a 1x1 convolution to classes; give it to a `SegmenterNetwork`.

    Args:
        num_classes: of the logits.
        width: multiplier of the encoder's channels.
    """

    def __init__(self, num_classes: int, width: float = 1.0) -> None:
        super().__init__()
        self.encoder = Drn26Encoder(width)
        self.head = nn.Conv2d(self.encoder.channels, num_classes, 1)
        nn.init.kaiming_normal_(self.head.weight, mode="fan_out", nonlinearity="relu")
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """{"main": logits_BNHW at stride 8}."""
        return {"main": self.head(self.encoder(images_BCHW))}
