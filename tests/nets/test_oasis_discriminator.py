from __future__ import annotations

import torch

from uda.nets.oasis_discriminator import OasisDiscriminator


def test_the_last_layer_is_what_the_network_gives_and_twelve_come_before() -> None:
    torch.manual_seed(0)
    network, images = OasisDiscriminator(3, 2), torch.rand(2, 3, 64, 128)
    layers = network.layers(images)
    assert torch.equal(layers[-1], network(images))
    strides = [2, 4, 8, 16, 32, 64, 32, 16, 8, 4, 2, 1]
    assert [tuple(one.shape[-2:]) for one in layers[:-1]] == [(64 // n, 128 // n) for n in strides]
    assert [one.shape[1] for one in layers[:-1]] == [4, 4, 8, 8, 16, 16, 16, 8, 8, 4, 4, 2]
