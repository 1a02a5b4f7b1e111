"""Reading in worker processes: errors are those of the data set, and signals are the first process's affair."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from tests.engine.players import cpu
from uda.core.errors import DataError
from uda.engine.loading import read_batches


class Numbers(Dataset[Any]):
    """Each item is its index, and the process that read it; item 5 cannot be read."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == 5:
            raise DataError("cannot be decoded", Path("images/5.png"), "replace the file")
        return {"index": index, "process": os.getpid()}


@pytest.mark.parametrize("workers", [0, 1, 999])  # of which there are no more than cores
def test_batches_come_in_the_chosen_order(workers: int) -> None:
    found = [item["index"] for item in read_batches(Numbers(), [[2, 0], [3]], cpu(workers=workers))]
    assert torch.equal(torch.cat(found), torch.tensor([2, 0, 3]))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_keeps_its_kind_place_and_mend(workers: int) -> None:
    with pytest.raises(DataError, match=r"^images/5.png: cannot be decoded; replace the file$") as caught:
        list(read_batches(Numbers(), [[1], [4, 5]], cpu(workers=workers)))
    assert (caught.value.where, caught.value.mend) == (Path("images/5.png"), "replace the file")


def test_workers_outlive_a_signal_to_the_whole_group() -> None:
    items = read_batches(Numbers(), [[at % 4] for at in range(12)], cpu(workers=1))
    (worker,) = next(items)["process"].tolist()
    assert worker != os.getpid()
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(worker, number)
    assert {int(item["process"]) for item in items} == {worker}
