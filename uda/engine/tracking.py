"""Curves of a run: JSON lines always, TensorBoard where asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from uda.core.rundir import RunDirectory
from uda.engine.runtime import Runtime

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Tracker:
    """Writes the means of loss terms to `log.jsonl` and to `tensorboard/`.

    Args:
        run: the stage's directory.
        runtime: only the first process writes, what it has seen of each batch.
        seen: images seen before; later points of a run that was killed are taken back from TensorBoard, not from
            `log.jsonl`, whose lines stay.
    """

    def __init__(self, run: RunDirectory, runtime: Runtime, seen: int = 0) -> None:
        self._run, self._writes = run, runtime.is_main
        self._board: SummaryWriter | None = None
        if runtime.config.tensorboard and runtime.is_main:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run.path("tensorboard/x").parent), purge_step=seen + 1 if seen else None)

    def log(self, images_seen: int, terms: Mapping[str, float]) -> None:
        """One point of every curve."""
        if not self._writes:
            return
        self._run.log(images=images_seen, time=time.time(), **terms)
        if self._board is not None:
            for name, value in terms.items():
                self._board.add_scalar(name, value, images_seen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()
