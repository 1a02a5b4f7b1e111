"""Steps whose needs are estimated, of a few images, as tests of the estimate ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from uda.core.console import Console
from uda.cost import estimate
from uda.pipeline import Planned, Source
from uda.stages.catalog import get_stage
from uda.stages.trial import Speed

IMAGES = 160
SIZE = [32, 64]
EACH = 0.25
"""Seconds to run an image of that size through a network."""
SPEED = Speed(1.0, EACH / (SIZE[0] * SIZE[1]))


def planned(folder: Path, name: str = "segment", settings: Mapping[str, Any] | None = None, **steps: str) -> Planned:
    """A step that learns from two images of one's own, or from what other steps make."""
    manifest = folder / "own.csv"
    if not manifest.exists():
        manifest.write_text("image,label,dataset\na.png,a.png,gta5\nb.png,b.png,gta5\n")
    stage = get_stage(name)
    key = "segmenter" if name == "segment" else "translator"
    method = {"segment": "deeplabv2", "translate": "cyclegan"}[name]
    base = {key: {"name": method}, "size": SIZE, "fit": {"images": IMAGES}}
    config = stage.config.model_validate({**base, **(settings or {})})
    own = {"source": Source(None, manifest), **({"target": Source(None, manifest)} if name == "translate" else {})}
    inputs = own | {key: Source(step, folder / step / "samples.csv") for key, step in steps.items()}
    return Planned(name, stage, config, inputs, folder / name)


def seconds(*todo: Planned, force: bool = False) -> float | None:
    return estimate.estimate(todo, todo, Console(quiet=True), measure=True, force=force).seconds


def seconds_beside(one: Planned, *others: Planned) -> float | None:
    """Seconds of a step alone, whose inputs the others have made."""
    return estimate.estimate([*others, one], [one], Console(quiet=True), measure=True).seconds


def of_three(folder: Path, one: Planned) -> Planned:
    """The step with three target images of one's own."""
    manifest = folder / "three.csv"
    manifest.write_text("image,label,dataset\n" + "".join(f"{name}.png,,gta5\n" for name in "cde"))
    return replace(one, inputs={**one.inputs, "target": Source(None, manifest)})


def predicting(folder: Path, name: str, settings: Mapping[str, Any]) -> Planned:
    """A step that runs a segmenter over the two images of one's own."""
    stage = get_stage(name)
    inputs = {"segmenter": Source("segment", folder / "segment"), "target": Source(None, folder / "own.csv")}
    return Planned(name, stage, stage.config.model_validate(settings), inputs, folder / name)
