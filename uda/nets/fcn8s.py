"""FCN-8s on VGG-16 (Long et al. 2015): scores at strides 32, 16 and 8, added and brought up by bilinear kernels.

Layers are those of the authors' Caffe network "at once": 100 pixels of padding before the first convolution, so that
fc6 fits even a small image, and crops by fixed offsets that undo it. VGG's layers have torchvision's names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_PADDING = 100
_CROPS = (5, 9, 31)
"""Where the image begins in pool4's scores, in pool3's and in the result; they follow from the padding."""
_SCALES = (0.01, 0.0001)
"""Factors of pool4 and pool3 before they are scored: with zeros as first weights, the coarse scores learn first."""


class Vgg16(nn.Module):
    """VGG-16 with its first two linear layers as convolutions.

    Args:
        width: multiplier of the 13 convolutions' channels.
        fc_width: channels of fc6 and fc7.
    """

    def __init__(self, width: float, fc_width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.channels, self._pools, before = [], [], 3
        for base, convolutions in _STAGES:
            after = max(1, round(base * width))
            for _ in range(convolutions):
                layers += [nn.Conv2d(before, after, 3, padding=1 if layers else _PADDING), nn.ReLU(inplace=True)]
                before = after
            self.channels.append(after)
            self._pools.append(len(layers))
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.fc6, self.fc7 = nn.Conv2d(before, fc_width, 7), nn.Conv2d(fc_width, fc_width, 1)
        self.dropout = nn.Dropout2d(0.5)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features after pool3, pool4 and fc7."""
        kept, features = [], images_BCHW
        for index, layer in enumerate(self.features):
            features = layer(features)
            if index in self._pools[2:4]:
                kept.append(features)
        for layer in (self.fc6, self.fc7):
            features = self.dropout(layer(features).relu())
        return kept[0], kept[1], features


class Fcn8s(nn.Module):
    """Encoder, three scores that start at zero, and three upsamplings that stay as they are.

    Args:
        num_classes: of the logits.
        width: multiplier of VGG's channels.
        fc_width: channels of fc6 and fc7.
    """

    def __init__(self, num_classes: int, width: float, fc_width: int) -> None:
        super().__init__()
        self.encoder = Vgg16(width, fc_width)
        self.score_fr = _score(fc_width, num_classes)
        self.score_pool4 = _score(self.encoder.channels[3], num_classes)
        self.score_pool3 = _score(self.encoder.channels[2], num_classes)
        self.upscore2 = _bilinear(num_classes, 2)
        self.upscore_pool4 = _bilinear(num_classes, 2)
        self.upscore8 = _bilinear(num_classes, 8)

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """{"main": logits_BNHW at the images' size}."""
        pool3, pool4, deep = self.encoder(images_BCHW)
        scores = self.upscore2(self.score_fr(deep))
        scores = scores + _crop(self.score_pool4(pool4 * _SCALES[0]), _CROPS[0], scores.shape[-2:])
        scores = self.upscore_pool4(scores)
        scores = scores + _crop(self.score_pool3(pool3 * _SCALES[1]), _CROPS[1], scores.shape[-2:])
        return {"main": _crop(self.upscore8(scores), _CROPS[2], images_BCHW.shape[-2:])}


def _crop(maps_BNHW: Tensor, start: int, size: torch.Size) -> Tensor:
    return maps_BNHW[..., start : start + size[0], start : start + size[1]]


def _score(channels: int, num_classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, num_classes, 1)
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _bilinear(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Bilinear upsampling by `factor` as a fixed transposed convolution (dense, as in public weight files)."""
    size = 2 * factor
    layer = nn.ConvTranspose2d(channels, channels, size, stride=factor, bias=False)
    ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = torch.outer(ramp, ramp)
    return layer.requires_grad_(False)
