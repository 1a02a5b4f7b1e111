"""DRN-C-26 as a segmenter: published weights, and its parts' rates."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from uda.nets.drn import Drn26 as Network
from uda.segmenters.drn26 import Drn26, Drn26Config


def test_a_published_file_fills_the_whole_encoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = Network(7, width=0.125)
    state = {f"module.{key}": value for key, value in published.encoder.state_dict().items()}
    state |= {"module.fc.weight": torch.rand(1000, 64, 1, 1), "module.fc.bias": torch.rand(1000)}
    torch.save(state, tmp_path / "drn26.pth")
    segmenter = Drn26(Drn26Config(width=0.125, pretrained=tmp_path / "drn26.pth"), 3)
    loaded = cast(Network, segmenter.network.body).encoder.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in published.encoder.state_dict().items())


def test_encoder_and_classifier_learn_at_their_own_rates() -> None:
    segmenter = Drn26(Drn26Config(width=0.125, head_lr_multiplier=10.0), 3)
    encoder, heads = segmenter.parameter_groups()
    assert (encoder.lr_multiplier, heads.lr_multiplier) == (1.0, 10.0)
    head = cast(Network, segmenter.network.body).head
    assert {id(p) for p in heads.parameters} == {id(p) for p in head.parameters()}
    assert Drn26Config().head_lr_multiplier == 1.0
