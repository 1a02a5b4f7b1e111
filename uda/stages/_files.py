"""Small things that stages share: unique names, the manifest of what one made, the size a segmenter was trained at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uda.core.manifest import owning_manifest
from uda.core.rundir import RunDirectory
from uda.data.label_space import LabelSpace
from uda.data.samples import Sample, write_samples
from uda.data.spec import write_index_spec
from uda.stages.base import DATASET

INPUT = "input"
"""Column of a manifest that names what an image was made from: rows of one name are samples of one input."""


def unique_names(samples: Sequence[Sample]) -> list[str]:
    """A file name without ending for each sample: its image's own, with its folder's before it where two are alike."""
    stems = [sample.image.stem for sample in samples]
    doubled = {stem for stem, count in Counter(stems).items() if count > 1}
    names = [
        f"{sample.image.parent.name}__{stem}" if stem in doubled else stem
        for stem, sample in zip(stems, samples, strict=True)
    ]
    if len(set(names)) == len(names):
        return names
    return [f"{index:06d}_{stem}" for index, stem in enumerate(stems)]


def copy_names(name: str, copies: int) -> list[str]:
    """File names without ending of several images that were made of one."""
    return [name] if copies == 1 else [f"{name}_{number}" for number in range(copies)]


def image_stems(folder: Path) -> dict[str, Path]:
    """PNG files of a folder by name without ending; `.PNG` is one too."""
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() == ".png"}


def write_made_samples(
    run: RunDirectory,
    file: str,
    space: LabelSpace,
    samples: Sequence[Sample],
    *,
    images: str | None,
    labels: str | None,
    carried: bool = False,
    copies: int = 1,
) -> None:
    """Write a manifest of images or labels that this stage made out of `samples`.

    Args:
        run: the stage's directory; the label coding is written beside the manifest.
        file: name of the manifest.
        space: whose class indices the labels hold.
        samples: what it was made from, in the order of `unique_names`.
        images: folder of new images; None: the old images.
        labels: folder of new labels; None: no labels.
        carried: the labels are the samples' own, so that a sample without one stays without.
        copies: images made of each sample; they share its label, and the column `input` says which belong together.
    """
    write_index_spec(space, run.path(DATASET))
    run.add(DATASET)
    rows = [
        replace(
            sample,
            image=run.path(f"{images}/{made}.png") if images else sample.image,
            label=run.path(f"{labels}/{name}.png") if labels and (sample.label or not carried) else None,
            dataset=DATASET,
            spec_base=run.partial,
            extra=sample.extra if copies == 1 else {**sample.extra, INPUT: name},
        )
        for name, sample in zip(unique_names(samples), samples, strict=True)
        for made in copy_names(name, copies)
    ]
    write_samples(run.path(file), rows)
    run.add(file)


def trained_size(segmenter: Path) -> tuple[int, int] | None:
    """Height and width of target images in the settings of the stage that left the directory; None: there are none."""
    manifest = owning_manifest(segmenter)
    size = None if manifest is None else (manifest.config.get("target_size") or manifest.config.get("size"))
    return None if size is None else (int(size[0]), int(size[1]))
