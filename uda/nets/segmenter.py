"""The one place where image frames meet: a segmentation network that takes images in the library's frame.

The library's frame is RGB in [-1, 1]. Pretrained networks want another one; `SegmenterNetwork` converts, runs the body,
and brings logits back to the images' size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

FRAMES: Mapping[str, tuple[bool, float, tuple[float, float, float], tuple[float, float, float]]] = {
    # name: (BGR order, scale of 1.0, mean, std)
    "imagenet": (False, 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # AdaptSegNet and BDL: BGR in 0..255 minus the mean of Caffe's ImageNet, no std.
    "caffe_bgr": (True, 255.0, (104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0)),
    "unit": (False, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def to_frame(images_BCHW: Tensor, frame: str) -> Tensor:
    """Images from RGB in [-1, 1] to a network's frame.

    Args:
        images_BCHW: RGB in [-1, 1].
        frame: a key of `FRAMES`.
    """
    bgr, scale, mean, std = FRAMES[frame]
    images = (images_BCHW + 1) * (scale / 2)
    if bgr:
        images = images.flip(1)
    return (images - _of_channels(mean, images)) / _of_channels(std, images)


def _of_channels(values: Sequence[float], like_BCHW: Tensor) -> Tensor:
    """A number for each channel, (C, 1, 1); filled on the device: a tensor of Python's numbers would wait for it."""
    return torch.stack([like_BCHW.new_full((1, 1), value) for value in values])


class SegmenterNetwork(nn.Module):
    """A body in its own frame behind the library's frame.

    Args:
        body: images in `frame` -> {"main": logits at any stride, "aux": ...}.
        frame: a key of `FRAMES`.
        norm: BatchNorm policy, see `SegmenterConfigBase.norm`.
        align_corners: of the bilinear upsampling (the recipes' networks: True).
        multiple: what the sides of the body's images have to be divisible by; others are padded below and at the
            right by repeating the border, and the logits there are cut off again.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        frame: str,
        norm: Literal["frozen_affine", "frozen", "trained"] = "trained",
        align_corners: bool = False,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        self.body, self.frame, self.norm, self.align_corners = body, frame, norm, align_corners
        self.multiple = multiple
        if norm != "trained":
            for layer in self._norms():
                for parameter in layer.parameters(recurse=False):
                    parameter.requires_grad_(False)

    def _norms(self) -> list[_BatchNorm]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    @property
    def estimates_statistics(self) -> bool:
        """Whether it has BatchNorm layers that learn the statistics of the images they see."""
        return self.norm != "frozen" and bool(self._norms())

    def statistics(self) -> list[tuple[Tensor, Tensor]]:
        """Running mean and variance of each BatchNorm layer, copied."""
        return [(mean.clone(), variance.clone()) for mean, variance in self._running()]

    def mix_statistics(self, others: Sequence[tuple[Tensor, Tensor]], share: float) -> None:
        """Running statistics <- (1 - share) times themselves + share times others (Schneider et al. 2020).

        Args:
            others: of `statistics`, of the same network.
            share: of the others, in [0, 1].
        """
        for own, other in zip(self._running(), others, strict=True):
            for mine, theirs in zip(own, other, strict=True):
                mine.lerp_(theirs, share)

    def _running(self) -> list[tuple[Tensor, Tensor]]:
        found = [(layer.running_mean, layer.running_var) for layer in self._norms()]
        return [(mean, variance) for mean, variance in found if mean is not None and variance is not None]

    def train(self, mode: bool = True) -> SegmenterNetwork:
        """Switch between training and evaluation, keeping frozen BatchNorm frozen."""
        super().train(mode)
        if self.norm == "frozen":
            for layer in self._norms():
                layer.eval()
        return self

    def levels(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """Logits of every head, {"main": logits_BNHW, ...}, float32 at the images' size."""
        height, width = images_BCHW.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        padded = F.pad(images_BCHW, (0, right, 0, below), mode="replicate") if below or right else images_BCHW
        size = padded.shape[-2:]
        raw = cast(dict[str, Tensor], self.body(to_frame(padded, self.frame)))
        whole = {
            name: logits.float()
            if logits.shape[-2:] == size
            else F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=self.align_corners)
            for name, logits in raw.items()
        }
        if size == (height, width):
            return whole  # a slice of everything would cost its gradient a copy
        return {name: logits[..., :height, :width] for name, logits in whole.items()}

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Main logits_BNHW, float32 at the images' size."""
        return self.levels(images_BCHW)["main"]


def as_guide(network: SegmenterNetwork) -> SegmenterNetwork:
    """The network frozen and in eval mode: gradients pass through it to the images, never into it."""
    return network.eval().requires_grad_(False)
