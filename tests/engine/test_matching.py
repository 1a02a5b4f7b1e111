from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine.players import cpu
from uda.engine import matching


class Painted:
    """Images of blocks of 4x4 pixels, each in the channel of its class."""

    def __init__(self, blocks_NHW: Tensor) -> None:
        self._classes = blocks_NHW.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = 255 * torch.nn.functional.one_hot(self._classes[index], 3).movedim(-1, 0)
        return {"image": image.to(torch.uint8), "label": torch.full((2, 2), 255), "index": index}


def guide(images_BCHW: Tensor) -> Tensor:
    """A class for each channel: that of the brightest."""
    assert images_BCHW.min() >= -1
    return images_BCHW


BLOCKS = torch.randint(3, (5, 2, 3), generator=torch.Generator().manual_seed(0))


def seen(runtime: Any, told: list[int] | None = None) -> Any:
    progress = ([] if told is None else told).append
    painted: Any = Painted(BLOCKS)  # stands for a data set
    return matching.see_classes(painted, guide, runtime, batch=2, progress=progress)


def test_maps_hold_the_guides_classes_at_a_quarter_of_the_size_in_the_images_order() -> None:
    told: list[int] = []
    maps = seen(cpu(), told)
    assert np.array_equal(np.stack(maps), BLOCKS.numpy()) and maps[0].dtype == np.uint8
    assert told == [2, 4, 5]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_look_at_a_share_each_and_gather(processes: int) -> None:
    gathered: list[Any] = []

    def runtime(rank: int) -> Any:
        def gather(items: list[Any]) -> list[Any]:
            gathered.extend(items)
            return gathered

        keys = {"device": torch.device("cpu"), "config": cpu().config, "autocast": nullcontext, "gather": gather}
        return SimpleNamespace(rank=rank, processes=processes, **keys)

    maps = [seen(runtime(rank)) for rank in reversed(range(processes))][-1]
    assert len(gathered) == len(BLOCKS)
    assert np.array_equal(np.stack(maps), BLOCKS.numpy())
