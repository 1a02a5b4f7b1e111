"""Frames in closed form, sizes of logits, and the guide."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from uda.nets.segmenter import FRAMES, SegmenterNetwork, as_guide, to_frame

RGB = (1.0, -0.2, -1.0)  # in [-1, 1]: 1, 0.4 and 0 in [0, 1]; 255, 102 and 0 in bytes
FRAMED = {
    "imagenet": ((1 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0 - 0.406) / 0.225),
    "caffe_bgr": (0 - 104.00698793, 102 - 116.66876762, 255 - 122.67891434),
    "unit": RGB,
}


@pytest.mark.parametrize("frame", FRAMES)
def test_frames_by_hand(frame: str) -> None:
    images = torch.tensor(RGB).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    framed = to_frame(images, frame)
    assert framed.shape == images.shape
    assert framed[1, :, 2, 3].tolist() == pytest.approx(FRAMED[frame], abs=1e-4)
    assert torch.equal(framed, framed[:, :, :1, :1].expand_as(framed))


class _Body(nn.Module):
    """Half-size logits that tell what they saw."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        full = self.layers(images)
        return {"main": full[..., ::2, ::2], "aux": full}


@pytest.mark.parametrize("align_corners", [True, False])
def test_logits_come_back_to_the_images_size(align_corners: bool) -> None:
    torch.manual_seed(0)
    network = SegmenterNetwork(_Body(), frame="unit", align_corners=align_corners).eval()
    images = torch.rand(2, 3, 6, 10) * 2 - 1
    levels = network.levels(images)
    raw = network.body(images)
    wanted = F.interpolate(raw["main"], size=(6, 10), mode="bilinear", align_corners=align_corners)
    assert torch.equal(levels["main"], wanted)
    assert torch.equal(levels["aux"], raw["aux"])
    assert levels["aux"]._base is None  # no slice of everything, whose gradient would be a copy
    assert torch.equal(network(images), levels["main"])


class _Divisible(_Body):
    """Takes sides divisible by 4 alone, as many decoders do."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        assert not any(side % 4 for side in images.shape[-2:])
        return super().forward(images)


def test_sides_that_the_body_cannot_take_are_padded_and_cut_off_again() -> None:
    network = SegmenterNetwork(_Divisible(), frame="unit", multiple=4).eval()
    images = torch.rand(2, 3, 6, 11) * 2 - 1
    padded = F.pad(images, (0, 1, 0, 2), mode="replicate")
    for name, logits in network.levels(images).items():
        assert logits.shape[-2:] == (6, 11)
        assert torch.equal(logits, network.levels(padded)[name][..., :6, :11])


def test_a_guide_lets_gradients_through_to_the_images_alone() -> None:
    network = as_guide(SegmenterNetwork(_Body(), frame="imagenet").train())
    images = torch.rand(1, 3, 4, 4, requires_grad=True)
    network(images).square().sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert not network.training
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
