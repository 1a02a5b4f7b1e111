"""What `test_distributed` runs in one process and in two: a stage that fits the tiny game, is interrupted and goes on.

Usage: python -m tests.engine.distributed_job OUT
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.engine.players import Game, domain, plan
from uda.core.console import Console
from uda.core.training import ParameterGroup, RuntimeConfig
from uda.data.batch import Batch, Context
from uda.engine import loop, stream
from uda.engine.runtime import make_runtime
from uda.stages.base import Job, Stage, StageConfig, execute

IMAGES, BATCH, STOP = 24, 4, 8
LAST = int(os.environ.get("WORLD_SIZE", "1")) - 1


class Normed(Game):
    """The game beside a BatchNorm that sees what its process is given, and moves nothing."""

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        self.norm = nn.BatchNorm2d(3, affine=False)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {**super().networks, "norm": self.norm}

    def groups(self) -> Mapping[str, Sequence[ParameterGroup]]:
        return {name: group for name, group in super().groups().items() if name != "norm"}

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        self.norm(batch.source_images_BCHW)
        return super().losses(player, batch, context)


def fit(job: Job, game: Game) -> dict[str, Any]:
    """Fit on this process's share, and leave its weights behind."""
    runtime = make_runtime(job.config.runtime)
    batches = stream.batches(domain(5), domain(7, number=1), total=IMAGES, batch=BATCH, runtime=runtime)
    numbers = loop.fit(game, plan(images=IMAGES, batch=BATCH), batches, runtime, job.run, job.console)
    torch.save(game.weights(), job.run.out.with_name(f"weights_{runtime.rank}.pt"))
    (ranks,) = {tuple(runtime.gather([runtime.rank]))}
    if runtime.is_main:
        job.run.write("result.txt", b"made by the first process")
    return {"images": numbers["images_per_second"] > 0, "ranks": list(ranks)}


def interrupt(player: str, context: Context) -> None:
    """Only the last process is asked to stop."""
    if context.images_seen == STOP and player == "maker" and os.environ.get("RANK", "0") == str(LAST):
        os.kill(os.getpid(), signal.SIGINT)


def main(out: Path) -> None:
    config = StageConfig(runtime=RuntimeConfig(device="cpu", precision="float32"))
    games = iter([Normed(random=False, at=interrupt), Normed(random=False)])
    stage = Stage("game", 1, StageConfig, lambda job: fit(job, next(games)), resumes=True)
    speaker = Console(quiet=os.environ.get("RANK", "0") != "0")
    try:
        execute(stage, config, {}, out, speaker)
    except loop.Interrupted as stopped:
        make_runtime(config.runtime).accelerator.wait_for_everyone()
        speaker.say(f"interrupted: {stopped}")
    execute(stage, config, {}, out, speaker)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
