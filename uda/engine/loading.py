"""Data sets read batch by batch, here or in worker processes: what fails there is told as if it had failed here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, default_collate

from uda.core.errors import UdaError
from uda.engine.runtime import Runtime


class _Careful(Dataset[Any]):
    """Items, or errors in their place, of which PyTorch would carry over the text alone, with a worker's traceback."""

    def __init__(self, data: Dataset[Any]) -> None:
        self._data = data

    def __getitem__(self, index: int) -> Any:
        try:
            return self._data[index]
        except UdaError as error:
            return error


def _collate(items: list[Any]) -> Any:
    broken = (item for item in items if isinstance(item, UdaError))
    return next(broken, None) or default_collate(items)


def _stay(_: int) -> None:
    """Leave signals to the first process: it finishes its step, for which it needs the workers, and then ends them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_batches(data: Dataset[Any], chosen: Iterable[list[int]], runtime: Runtime) -> Iterator[Any]:
    """Collated items, in the order in which they are chosen.

    Args:
        data: the items.
        chosen: indices of each batch.
        runtime: how many worker processes read, no more than there are cores, and whether memory is pinned for a GPU.

    Raises:
        UdaError: of the first item that could not be read.
    """
    workers = min(runtime.config.workers, _cores())  # more than cores would read no faster, and PyTorch warns
    loader = DataLoader(
        data if workers == 0 else _Careful(data),
        batch_sampler=chosen,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_stay,
        pin_memory=runtime.device.type == "cuda",
    )
    for item in loader:
        if isinstance(item, UdaError):
            raise item
        yield item
