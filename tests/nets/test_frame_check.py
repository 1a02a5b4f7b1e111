"""Weights of one image frame in a network of another: noticed by what their first BatchNorm remembers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.data import fakes
from uda.nets.frame_check import frame_doubt
from uda.nets.segmenter import FRAMES, SegmenterNetwork, to_frame
from uda.segmenters.base import FrameName
from uda.segmenters.fcn8s import Fcn8s, Fcn8sConfig
from uda.segmenters.smp import Smp, SmpConfig
from uda.stages import segment


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"main": self.head(self.encoder(images))}


def learnt_in(frame: str) -> Body:
    """A body whose BatchNorm has seen many pictures in a frame."""
    body, pictures = Body(), torch.stack([torch.tensor(fakes.picture((48, 64), seed)) for seed in range(16)])
    images = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
    body.train()
    for _ in range(60):
        body(to_frame(images, frame))
    return body.eval()


@pytest.mark.parametrize("frame", FRAMES)
def test_weights_in_their_own_frame_raise_no_doubt(frame: str) -> None:
    assert frame_doubt(SegmenterNetwork(learnt_in(frame), frame=frame)) is None


@pytest.mark.parametrize(
    ("learnt", "used", "said"), [("imagenet", "caffe_bgr", "times more"), ("caffe_bgr", "imagenet", "times less")]
)
def test_another_frames_weights_are_told_with_the_frame_that_fits(learnt: str, used: str, said: str) -> None:
    network = SegmenterNetwork(learnt_in(learnt), frame=used)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    doubt = frame_doubt(network)
    assert doubt is not None and said in doubt and f"segmenter.frame={learnt}" in doubt
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_without_statistics_nothing_is_said() -> None:
    assert frame_doubt(SegmenterNetwork(Body(), frame="caffe_bgr")) is None  # nothing seen yet
    assert frame_doubt(Fcn8s(Fcn8sConfig.tiny(), 3).network) is None  # no BatchNorm
    strange = learnt_in("imagenet")
    norm = strange.encoder[1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
    norm.running_var *= 1e9
    assert frame_doubt(SegmenterNetwork(strange, frame="caffe_bgr")) is None  # no frame would fit


def test_weights_that_a_fit_starts_from_are_looked_at_too(tmp_path: Path) -> None:
    network = SegmenterNetwork(learnt_in("imagenet"), frame="caffe_bgr")
    bare: Any = SimpleNamespace(network=network, segmenter=SimpleNamespace(loaded=None))
    assert segment._frame_doubt(bare, None) is None  # it has loaded nothing
    doubt = segment._frame_doubt(bare, tmp_path / "theirs.pth")
    assert doubt is not None and "set segmenter.frame=imagenet" in doubt


def test_a_network_for_images_of_one_size_is_let_be() -> None:
    body = learnt_in("imagenet")
    body.encoder.insert(0, nn.Flatten(2))  # the convolution behind it wants images
    network = SegmenterNetwork(body, frame="caffe_bgr")
    assert frame_doubt(network) is None
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_true_imagenet_weights_are_known_by_their_frame() -> None:
    file = fakes.SHARED_DATA.parent / "weights" / "mobilenet_v2_imagenet.pt"
    if not file.is_file():
        pytest.skip("no ImageNet weights beside the real data sets (weights/mobilenet_v2_imagenet.pt)")
    cases: list[tuple[FrameName, bool]] = [("imagenet", False), ("caffe_bgr", True)]
    for frame, doubted in cases:
        config = SmpConfig(encoder="mobilenet_v2", pretrained=file, frame=frame)
        assert (frame_doubt(Smp(config, 11).network) is not None) is doubted
