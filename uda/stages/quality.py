"""`uda quality`: how good translations are, each measure beside the untranslated source's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from uda.core.config import Size
from uda.core.errors import ConfigError
from uda.core.lazy import lazy_import
from uda.data.label_space import LabelSpace, load_space
from uda.data.read import Interpolation
from uda.data.samples import Sample, read_samples
from uda.segmenters import _store as store
from uda.stages._labels import check_labels
from uda.stages._quality_table import Role, as_frame, as_json, as_text, from_json
from uda.stages._unread import NO_CACHE, NO_FIT
from uda.stages.base import Job, Stage, StageConfig

if TYPE_CHECKING:
    from uda.engine import runtime
    from uda.stages import _quality_grid as grid_module
    from uda.stages import _quality_measure as measuring
else:
    grid_module = lazy_import("uda.stages._quality_grid")
    measuring = lazy_import("uda.stages._quality_measure")
    runtime = lazy_import("uda.engine.runtime")

_MADE = "samples.csv"
"""Name of the manifest in every directory that a stage left."""


class QualityConfig(StageConfig):
    """Settings of `uda quality`."""

    runtime_only = frozenset({"batch"})

    label_space: str = "cityscapes19"
    """A shipped label space or a YAML file; of the label maps that translations are held against."""
    size: Size = (512, 1024)
    """Height and width that every image is resized to: textures and sharpness of different sizes do not compare. 3x3 at
    least; MS-SSIM needs 11x11, LPIPS 31x31."""
    batch: int = Field(default=8, ge=1)
    """Images at once."""
    interpolation: Interpolation = "bicubic"
    """How images are resized."""
    inception_weights: Path | None = None
    """torch-fidelity's Inception v3 (FID, KID, Inception Score); None: its file in PyTorch's download cache."""
    lpips_weights: Path | None = None
    """torchvision's AlexNet (LPIPS); None: its file in PyTorch's download cache."""
    download: bool = False
    """Fetch weights that are not in the cache. Without them their measures are left out, with a note."""
    kid_subsets: int = Field(default=100, ge=1)
    """Random subsets that KID is the mean of (paper)."""
    kid_subset_size: int = Field(default=1000, ge=2)
    """Images in each subset (paper); all where there are fewer."""
    kid_images: int = Field(default=10000, ge=2)
    """KID looks at so many images of a set at most, drawn uniformly, so that memory is bounded (not from the paper)."""
    inception_splits: int = Field(default=10, ge=1)
    """Parts that the Inception Score is the mean of (paper)."""
    samples: int = Field(default=10, ge=2)
    """Samples of one input whose pairs are compared at most (not from a paper)."""
    grid_rows: int = Field(default=4, ge=1)
    """Inputs shown in `grid.png`."""

    @field_validator("size")
    @classmethod
    def _has_inner_pixels(cls, size: Size) -> Size:
        if min(size) < _LEAST_SIDE:
            raise ValueError(
                f"{size[0]}x{size[1]} has no square of {_LEAST_SIDE}x{_LEAST_SIDE} pixels, in which textures and "
                f"sharpness are measured: make both sides {_LEAST_SIDE} or more"
            )
        return size


_LEAST_SIDE = 3
"""Of the square around a pixel that its local binary pattern and its Laplacian are taken from."""
_RESERVED = ("source", "real", "input", "labels", "nearest real")
"""Rows and columns of the grid that are no translation."""


def name_rows(manifests: Sequence[Path]) -> dict[str, Path | None]:
    """Inputs of the stage for several `--images`: `images.NAME` -> manifest.

    A `samples.csv` is named after its directory, another manifest after itself; where names are alike, or are those of
    what stands beside the translations, the folders above come before them.

    Raises:
        ConfigError: a manifest is given twice.
    """
    whole = [path.absolute() for path in manifests]
    if len(set(whole)) < len(whole):
        raise ConfigError("is given twice", Counter(whole).most_common(1)[0][0], "give each --images once")
    tails = [path.parent.parts if path.name == _MADE else (*path.parent.parts, path.stem) for path in whole]
    for length in range(1, max(map(len, tails), default=0) + 1):
        names = ["/".join(tail[-length:]) for tail in tails]
        if len({*names, *_RESERVED}) == len(names) + len(_RESERVED):
            return dict(zip((f"images.{name}" for name in names), whole, strict=True))
    return {f"images.{path}": path for path in whole}  # a.csv beside a folder a with its samples.csv


def _sets(inputs: Mapping[str, Path], *, check_files: bool) -> list[tuple[str, Role, list[Sample]]]:
    """Name, role and images of each row, the source first."""
    found: list[tuple[str, Role, list[Sample]]] = []
    if "source" in inputs:
        found.append(("source", "source", read_samples(inputs["source"], check_files=check_files)))
    for key, path in inputs.items():
        if key.partition(".")[0] == "images":
            name = key.partition(".")[2] or next(iter(name_rows([path]))).partition(".")[2]
            found.append((name, "translation", read_samples(path, check_files=check_files)))
    return found


def _run(job: Job) -> dict[str, Any]:
    config: QualityConfig = job.config
    space = load_space(config.label_space)
    real = read_samples(job.inputs["real"], check_files=True)
    sets = _sets(job.inputs, check_files=True)
    if "source" not in job.inputs:
        job.console.say("quality: no row of the untranslated source to compare with; give --source")
    if "segmenter" in job.inputs:  # the alignment compares with labels, after all else
        for manifest in (path for key, path in job.inputs.items() if key.partition(".")[0] in ("source", "images")):
            check_labels("quality", manifest, read_samples(manifest), space, job.console)
    if (line := measuring.too_small(config, [samples for _, _, samples in sets])) is not None:
        job.console.say(f"quality: {line}")
    rt = runtime.make_runtime(config.runtime)
    tools = measuring.load_tools(config, space, rt, job.inputs.get("segmenter"))
    gauge = measuring.Gauge(config, space, rt, tools, job.console)
    grid = _grid(config, space, sets)
    rows = [gauge.measure_real(real, grid.see_real)]
    rows += [gauge.measure(name, role, samples) for name, role, samples in sets]
    report = as_json(rows)
    job.run.write("quality.json", (json.dumps(report, indent=2) + "\n").encode())
    job.run.write("quality.csv", as_frame(rows).to_csv(index=False).encode())
    job.run.write("grid.png", grid.png())
    return report


def _grid(
    config: QualityConfig, space: LabelSpace, sets: Sequence[tuple[str, Role, list[Sample]]]
) -> grid_module.QualityGrid:
    source = next((samples for _, role, samples in sets if role == "source"), None)
    translations = {name: samples for name, role, samples in sets if role == "translation"}
    return grid_module.QualityGrid(
        source, translations, space, rows=config.grid_rows, size=config.size, interpolation=config.interpolation
    )


def _check(config: QualityConfig, inputs: Mapping[str, Path]) -> None:
    for key in ("inception_weights", "lpips_weights"):
        file: Path | None = getattr(config, key)
        if file is not None and not file.is_file():
            raise ConfigError("no such weights file", f"{key}: {file}", "mend the path, or leave it out")
    for key, path in inputs.items():
        if key != "segmenter" and path.is_file():  # in a pipeline it may be made later
            read_samples(path)
    store.check_input(inputs, "segmenter", load_space(config.label_space).names)


def _text(metrics: Mapping[str, Any]) -> str:
    return as_text(from_json(metrics))


def _unread(config: QualityConfig, inputs: Collection[str]) -> dict[str, str]:
    return {**NO_FIT, **NO_CACHE}


STAGE = Stage(
    name="quality",
    version=2,  # 2: sharpness_gap is a logarithm
    config=QualityConfig,
    run=_run,
    required=("images", "real"),
    optional=("source", "segmenter"),
    repeated=("images",),
    manifests=("images", "real", "source"),
    alone=True,
    check=_check,
    text=_text,
    unread=_unread,
)
