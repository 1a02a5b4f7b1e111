"""SG-GAN's discriminator: a patch is scored by the weights of its classes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uda.nets.semantic_discriminator import SemanticDiscriminator
from uda.translators._maps import one_hot

CLASSES = 3


def test_a_patch_is_scored_by_the_weights_of_its_class() -> None:
    torch.manual_seed(0)
    network = SemanticDiscriminator(CLASSES, 4, 2)
    images = torch.rand(1, 3, 32, 32)
    raw = network.patches(images)
    assert raw.shape == (1, CLASSES, 6, 6)
    for index in range(CLASSES):
        scores, known = network(images, one_hot(torch.full((1, 32, 32), index), CLASSES))
        assert torch.allclose(scores[:, 0], raw[:, index])
        assert torch.equal(known, torch.ones(1, 1, 6, 6))


def test_mixed_patches_are_scored_by_shares_and_unknown_pixels_have_none() -> None:
    torch.manual_seed(0)
    network = SemanticDiscriminator(CLASSES, 4, 2)
    images, labels = torch.rand(1, 3, 32, 32), torch.full((1, 32, 32), 255)
    # Output (0, 0) lies over the cell of rows and columns 4 to 7, output (0, 1) over the next one.
    labels[:, 4:8, 4:7], labels[:, 4:8, 7:8] = 0, 1
    labels[:, 4:6, 8:12] = 2
    scores, known = network(images, one_hot(labels, CLASSES))
    raw = network.patches(images)[0, :, 0]
    assert scores[0, 0, 0, 0].item() == pytest.approx((0.75 * raw[0, 0] + 0.25 * raw[1, 0]).item(), rel=1e-4)
    assert scores[0, 0, 0, 1].item() == pytest.approx(raw[2, 1].item(), rel=1e-4)
    assert known[0, 0, 0].tolist() == [1, 0.5, 0, 0, 0, 0]
    assert not known[0, 0, 1:].any()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("size", [(32, 48), (37, 50)])
def test_masks_fit_the_outputs_at_any_size(size: tuple[int, int], layers: int) -> None:
    network = SemanticDiscriminator(CLASSES, 4, layers)
    scores, known = network(torch.rand(1, 3, *size), torch.zeros(1, CLASSES, *size))
    assert scores.shape == known.shape == (1, 1, *(side // 2**layers - 2 for side in size))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_an_outputs_receptive_field_is_centred_on_its_cell(layers: int) -> None:
    cell, size = 2**layers, 12 * 2**layers
    convolutions = [layer for layer in SemanticDiscriminator(1, 1, layers).patches.body if isinstance(layer, nn.Conv2d)]
    at = 3  # an output, counted back to the first and the last pixel that it sees
    first = last = at
    for layer in reversed(convolutions):
        first, last = first * layer.stride[0] - 1, last * layer.stride[0] + 2
    assert first >= 0 and last < size
    wanted = (at + 1) * cell + (cell - 1) / 2  # the middle of the cell that its share is taken from
    assert (first + last) / 2 == wanted
