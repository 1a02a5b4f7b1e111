"""Labels are looked at before a stage that learns from them starts, not when an image is drawn hours later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uda.core.config import digest, file_digest
from uda.core.console import Console
from uda.core.errors import DataError, UdaError
from uda.core.inputs import column_values, file_states
from uda.core.lazy import lazy_import
from uda.core.manifest import RECEIPTS, owning_manifest, read_receipts
from uda.core.resources import find_yaml
from uda.data.label_space import LabelSpace
from uda.data.samples import Sample, load_specs, read_samples
from uda.data.spec import say_ignored, spec_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from uda.data import label_check
else:
    label_check = lazy_import("uda.data.label_check")

CHECKED = "manifest_sha256"
LABELS = "labels_sha256"
"""Keys of the findings that `uda prepare` leaves beside a manifest: the manifest whose labels it has all read, and the
state in which it has read them."""


def require_labels(manifest: Path, purpose: str = "to learn from") -> None:
    """Refuse an image without a label.

    Args:
        manifest: may be made later, in a pipeline; then nothing is looked at.
        purpose: what labels are wanted for, after "have no label".

    Raises:
        DataError: some row has no label, or its file is not there.
    """
    if not manifest.is_file():
        return
    bare = [sample for sample in read_samples(manifest) if sample.label is None or not sample.label.is_file()]
    if bare:
        why = "" if bare[0].label is None else f" ({bare[0].label} is not there)"
        what = f"{len(bare)} images have no label {purpose}, first {bare[0].image}{why}"
        raise DataError(what, manifest, "leave them out, or give a manifest with labels")


def require_some_labels(manifest: Path, mend: str) -> None:
    """Refuse a manifest, if it is there, in which no row has a label.

    Raises:
        DataError: none has one.
    """
    if manifest.is_file() and all(sample.label is None for sample in read_samples(manifest)):
        raise DataError("has no label", manifest, mend)


def check_labels(
    stage: str,
    manifest: Path,
    samples: Sequence[Sample],
    space: LabelSpace,
    console: Console,
    *,
    as_images: bool = True,
) -> None:
    """Open every label of a manifest that this program has not read already, and say which classes are ignored.

    Args:
        stage: who asks, for the progress bar.
        manifest: the file.
        samples: its rows; those without a label are passed over.
        space: the task's classes.
        console: says how far it is, and what one's own specs name that is no class.
        as_images: see too that label and image are of one shape; pseudo-labels need not be.

    Raises:
        DataError: one is missing, undecodable, of another shape than its image, or has values that its spec does not
            declare; or no label shows a class of the label space.
    """
    labelled = say_ignored_classes(stage, manifest, samples, space, console)
    if is_checked(manifest) or not labelled:
        return
    if not count_labels(stage, samples, space, console, as_images=as_images).any():
        what = f"no pixel of its labels is a class of {space.name}"
        raise DataError(what, manifest, "see `uda prepare`'s class statistics, or set label_space")


def say_ignored_classes(
    stage: str, manifest: Path, samples: Sequence[Sample], space: LabelSpace, console: Console
) -> list[Sample]:
    """Say which classes of the labels the task ignores; gives the samples that have a label."""
    labelled = [sample for sample in samples if sample.label is not None]
    for spec in load_specs(labelled).values():
        if (line := say_ignored(spec, space, _counted(manifest))) is not None:
            console.say(f"{stage}: {line}")
    return labelled


def count_labels(
    stage: str,
    samples: Sequence[Sample],
    space: LabelSpace,
    console: Console,
    *,
    size: tuple[int, int] | None = None,
    as_images: bool = False,
) -> NDArray[np.int64]:
    """`label_check.count_labels` with a progress bar."""
    with console.progress(f"{stage}: looking at labels", len(samples)) as progress:
        return label_check.count_labels(samples, space, size=size, as_images=as_images, progress=progress.update)


def _counted(manifest: Path) -> dict[str, float]:
    """The share of each class, as `uda prepare` counted it beside the manifest; nothing where it did not."""
    try:
        found = json.loads(manifest.with_suffix(".json").read_text())
        return {str(one["class"]): float(one["share"]) for one in found["classes"]}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def is_checked(manifest: Path) -> bool:
    """Whether this program made the manifest, as it is, after it read or wrote every label in it.

    That is so in a complete stage directory, and for a CSV for which `uda prepare` vouches in the findings beside it,
    as long as its labels and their specs are the same.
    """
    if owning_manifest(manifest.parent) is not None:
        own, receipts = file_digest(manifest), read_receipts(manifest.with_name(RECEIPTS))
        return any(one.path == manifest.name and one.sha256 == own for one in receipts)
    try:
        found = json.loads(manifest.with_suffix(".json").read_text())
        return isinstance(found, dict) and found.items() >= vouch(manifest).items()
    except (OSError, ValueError, UdaError):
        return False


def vouch(manifest: Path) -> dict[str, str]:
    """What findings say of a manifest whose labels were all read, to be compared later.

    Its digest, and one of its labels' sizes and times and of the specs that they are coded by.

    Raises:
        ConfigError: a spec is missing.
    """
    base = manifest.parent.resolve()
    specs = {
        reference: file_digest(find_yaml("configs/datasets", spec_path(reference, base), "dataset"))
        for reference in sorted(column_values(manifest, "dataset"))
    }
    labels = file_states(manifest.parent, sorted(column_values(manifest, "label")))
    return {CHECKED: file_digest(manifest), LABELS: digest([labels, specs])}
