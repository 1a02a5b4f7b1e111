"""What public weights and numbers of FCN-8s hang on."""

from __future__ import annotations

from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from uda.nets.fcn8s import Fcn8s as Network


def _tiny(classes: int = 3) -> Network:
    torch.manual_seed(0)
    return Network(classes, width=1 / 16, fc_width=8).eval()


def test_parameters_are_those_of_the_public_network() -> None:
    with torch.device("meta"):
        network = Network(19, width=1.0, fc_width=4096)
    assert sum(p.numel() for p in network.parameters()) == 134_456_985  # 134.46 M
    convolutions = [layer for layer in network.encoder.features if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 64, 128, 128, *[256] * 3, *[512] * 6]
    assert [layer.padding[0] for layer in convolutions] == [100, *[1] * 12]
    assert network.encoder.fc6.kernel_size == (7, 7)


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 50), (64, 128)])
def test_any_size_gives_logits_of_that_size(size: tuple[int, int]) -> None:
    logits = _tiny()(torch.rand(1, 3, *size))
    assert logits["main"].shape == (1, 3, *size)
    assert logits["main"].abs().max() == 0  # scores start at zero


def test_upsampling_is_bilinear_and_keeps_classes_apart() -> None:
    scores = torch.rand(1, 3, 6, 7)
    for layer, factor in ((_tiny().upscore2, 2), (_tiny().upscore8, 8)):
        wanted = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
        edge = factor // 2
        made = layer(scores)[..., edge : edge + 6 * factor, edge : edge + 7 * factor]
        # At the border the transposed convolution fades to zero where interpolation repeats the edge.
        assert torch.allclose(made[..., factor:-factor, factor:-factor], wanted[..., factor:-factor, factor:-factor])


def test_biases_of_the_three_scores_add_up_inside_the_image() -> None:
    network = _tiny(1)
    for score in (network.score_fr, network.score_pool4, network.score_pool3):
        nn.init.ones_(cast(nn.Parameter, score.bias))
    logits = network(torch.rand(1, 3, 96, 64))["main"]
    # Towards the border the coarse score fades: its map ends there.
    assert torch.allclose(logits[..., 32:64, 32:56], torch.tensor(3.0))
    assert 2 < logits.min() < logits.max() <= 3


class _Features(nn.Module):
    """Stands for the encoder: nothing but one bright cell in the deepest features."""

    def __init__(self, cell: tuple[int, int]) -> None:
        super().__init__()
        self._cell = cell

    def forward(self, images_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        deep = torch.zeros(1, 8, 9, 8)
        deep[0, 0, self._cell[0], self._cell[1]] = 1.0
        return torch.zeros(1, 16, 60, 60), torch.zeros(1, 32, 40, 40), deep


@pytest.mark.parametrize("cell", [(2, 3), (4, 2)])
def test_the_deepest_scores_lie_where_their_receptive_fields_are(cell: tuple[int, int]) -> None:
    # fc6's cell j sees pool5's cells j to j + 6, so its centre is at 32 (j + 3) + 15.5 in the padded image, which
    # begins 99 pixels before the image (100 of padding where an ordinary convolution has 1).
    network = _tiny(1)
    nn.init.ones_(network.score_fr.weight)
    network.encoder = _Features(cell)  # type: ignore[assignment]  # any module with these outputs
    response = network(torch.zeros(1, 3, 256, 224))["main"][0, 0].detach()
    row = (response.sum(1) @ torch.arange(256.0) / response.sum()).item()
    column = (response.sum(0) @ torch.arange(224.0) / response.sum()).item()
    assert (row, column) == pytest.approx((32 * cell[0] + 12.5, 32 * cell[1] + 12.5), abs=1e-3)


@pytest.mark.parametrize("score", ["score_pool3", "score_pool4"])
def test_scores_lie_where_the_image_is(score: str) -> None:
    network = _tiny(1)
    nn.init.ones_(cast(nn.Conv2d, getattr(network, score)).weight)
    images = torch.zeros(1, 3, 160, 128)
    images[..., 72:88, 40:56] = 30.0  # a bright square, centred at (79.5, 47.5)
    response = (network(images)["main"] - network(torch.zeros_like(images))["main"])[0, 0].detach().abs()
    row = (response.sum(1) @ torch.arange(160.0) / response.sum()).item()
    column = (response.sum(0) @ torch.arange(128.0) / response.sum()).item()
    cell = {"score_pool3": 8, "score_pool4": 16}[score]
    assert abs(row - 79.5) < cell / 2 and abs(column - 47.5) < cell / 2


def test_shallow_features_are_scaled_before_they_are_scored() -> None:
    network, images = _tiny(1), torch.rand(1, 3, 64, 64)
    pool3, pool4, _ = network.encoder(images)
    nn.init.ones_(network.score_pool4.weight)
    wanted = network.upscore8(network.upscore_pool4(pool4.sum(1, keepdim=True)[..., 5:13, 5:13]) * 0.01)
    assert torch.allclose(network(images)["main"], wanted[..., 31:95, 31:95], atol=1e-6)
    nn.init.zeros_(network.score_pool4.weight)
    nn.init.ones_(network.score_pool3.weight)
    wanted = network.upscore8(pool3.sum(1, keepdim=True)[..., 9:27, 9:27] * 0.0001)
    assert torch.allclose(network(images)["main"], wanted[..., 31:95, 31:95], atol=1e-7)
