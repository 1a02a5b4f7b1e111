from __future__ import annotations

import torch
from torch import Tensor

from uda.metrics.nearest import NearestLayout


def noise(count: int, size: tuple[int, int] = (24, 32), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, *size), generator=generator, dtype=torch.uint8)


def test_the_nearest_image_is_that_of_the_same_layout() -> None:
    wanted = noise(2, (32, 64))
    others = noise(5, (32, 64), seed=1)
    paler = (wanted // 2 + 90).flip(0)
    nearest = NearestLayout(wanted)
    for batch in (others[:2], torch.cat((others[2:], paler[:1])), paler[1:]):
        nearest.update(batch)
    assert torch.equal(nearest.images[0], paler[1])
    assert torch.equal(nearest.images[1], paler[0])


def test_flat_images_are_near_to_nothing_but_there() -> None:
    nearest = NearestLayout(torch.full((1, 3, 24, 32), 10, dtype=torch.uint8))
    nearest.update(noise(1))
    assert torch.equal(nearest.images[0], noise(1)[0])
