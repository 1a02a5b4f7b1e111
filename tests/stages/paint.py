"""A small stage that paints files in one colour, and how tests run it and ask what is decided about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uda.core.console import Console
from uda.core.manifest import Manifest
from uda.core.training import OptimizerConfig
from uda.stages.base import Decision, Job, Stage, StageConfig, decide, execute


class PaintConfig(StageConfig):
    runtime_only = frozenset({"batch"})
    colour: str = "red"
    batch: int = 4
    size: tuple[int, int] = (2, 4)
    weights: Path | None = None
    optimizer: OptimizerConfig = OptimizerConfig(name="sgd", lr=0.1)


def paint(job: Job) -> dict[str, Any]:
    """Two files of one colour; every file that is there already is kept."""
    written = []
    for name in ("a.txt", "b.txt"):
        if not job.run.has(name):
            job.run.write(name, job.config.colour.encode())
            written.append(name)
    return {"written": written, "inputs": sorted(job.inputs)}


PAINT = Stage(
    name="paint",
    version=1,
    config=PaintConfig,
    run=paint,
    required=("canvas",),
    optional=("frame", "pins"),
    foreign=("pins",),
    resumes=True,
)


def go(
    canvas: Path, config: PaintConfig | None = None, *, stage: Stage = PAINT, force: bool = False, **more: Path
) -> Manifest:
    inputs = {"canvas": canvas, **more}
    return execute(stage, config or PaintConfig(), inputs, canvas.parent / "out", Console(), force=force)


def what(
    canvas: Path, config: PaintConfig | None = None, *, stage: Stage = PAINT, force: bool = False, **more: Path
) -> Decision:
    inputs = {"canvas": canvas, **more}
    return decide(stage, config or PaintConfig(), inputs, canvas.parent / "out", force=force)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def failing(stage: Stage, after: Callable[[Job], object] = lambda job: None) -> Stage:
    def run(job: Job) -> dict[str, Any]:
        after(job)
        raise RuntimeError("no paint left")

    return dataclasses.replace(stage, run=run)
