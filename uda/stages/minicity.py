"""`uda minicity`: render the built-in data sets in the true layouts of GTA5, SYNTHIA and Cityscapes."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from uda.core.lazy import lazy_import
from uda.stages.base import Job, Stage, StageConfig

if TYPE_CHECKING:
    from uda.data import minicity
else:
    minicity = lazy_import("uda.data.minicity")


class MinicityConfig(StageConfig):
    """Settings of `uda minicity`."""

    gta5: int = Field(default=400, ge=0)
    """Images in the GTA5 layout."""
    synthia: int = Field(default=200, ge=0)
    """Images in the SYNTHIA layout."""
    cityscapes_train: int = Field(default=300, ge=0)
    """Training images in the Cityscapes layout."""
    cityscapes_val: int = Field(default=100, ge=0)
    """Validation images in the Cityscapes layout."""
    height: int = Field(default=128, ge=64, multiple_of=2)
    """Image height in pixels."""
    width: int = Field(default=256, ge=128, multiple_of=2)
    """Image width in pixels."""
    ideal: bool = False
    """Draw the GTA5 part a second time in the camera's look, in the folder `ideal`, with the same names and labels:
    what a perfect translation would give."""

    @model_validator(mode="after")
    def _draws_something(self) -> Self:
        if not any((self.gta5, self.synthia, self.cityscapes_train, self.cityscapes_val)):
            raise ValueError("gta5, synthia, cityscapes_train and cityscapes_val are all 0: there is nothing to draw")
        if self.ideal and not self.gta5:
            raise ValueError("ideal draws the images of gta5, which is 0")
        return self


def _run(job: Job) -> dict[str, Any]:
    config: MinicityConfig = job.config
    keys = ("gta5", "synthia", "cityscapes_train", "cityscapes_val")
    counts = {key: getattr(config, key) for key in keys}
    root = job.run.path("gta5").parent
    with job.console.progress("minicity", sum(counts.values())) as progress:
        minicity.write_minicity(
            root,
            seed=config.seed,
            counts=counts,
            height=config.height,
            width=config.width,
            processes=config.runtime.workers,
            progress=lambda done, _: progress.update(done),
        )
    if config.ideal:
        with job.console.progress("minicity: ideal", config.gta5) as progress:
            minicity.write_looks(
                root / "ideal",
                seed=config.seed,
                count=config.gta5,
                height=config.height,
                width=config.width,
                processes=config.runtime.workers,
                progress=lambda done, _: progress.update(done),
            )
    folders = ("gta5", "synthia", "cityscapes", "ideal")
    for file in sorted(path for name in folders for path in (root / name).rglob("*.png")):
        job.run.add(file.relative_to(root).as_posix())
    return {"images": counts}


_NETWORKS = ("device", "precision", "cache_mb", "checkpoint_seconds", "tensorboard")
"""Settings of the machine that stages with a network read."""


def _unread(config: MinicityConfig, inputs: Collection[str]) -> dict[str, str]:
    return dict.fromkeys((f"runtime.{key}" for key in _NETWORKS), "there is no network")


STAGE = Stage(
    name="minicity",
    version=1,
    config=MinicityConfig,
    run=_run,
    makes=("gta5", "synthia", "cityscapes", "ideal"),
    alone=True,
    unread=_unread,
)
