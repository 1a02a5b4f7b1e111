"""Checks and statistics behind `uda prepare`: look into every file of a data set, choose by class, and count.

Nothing stops at a defect: each is named, images that cannot be used are left out of `Report.samples`, and the caller
decides what that means.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uda.core.config import file_digest
from uda.core.errors import ConfigError, DataError, nearest
from uda.core.resources import folder
from uda.data.label_space import IGNORE, UNDECLARED, LabelSpace
from uda.data.pairs import Defect, Index, Pair, index_dataset
from uda.data.read import (
    apply_table,
    mend_undeclared,
    read_image,
    read_label_values,
    say_undeclared,
)
from uda.data.samples import Sample
from uda.data.spec import DatasetSpec, mapping_table, own_table, say_ignored, unmapped

__all__ = ["Defect", "Index", "Pair", "Report", "check_index", "index_dataset", "pairs_with"]


@dataclass
class Report:
    """What `check_index` found.

    Attributes:
        pairs: those without a defect.
        images: images that were looked at.
        sizes: images by (height, width).
        pixels: label pixels by class name, "ignored" included.
        occurrences: images that hold the class, by class name.
        ignored_classes: the data set's classes that the label space does not take in.
        empty_classes: classes of the label space that the data set does not have.
        notes: what is no defect, yet worth knowing.
        content: SHA-256 over names and bytes of all images and labels, so that files which were overwritten are
            noticed, and files which were moved or copied are not.
    """

    pairs: list[Pair] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    images: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: dict[str, int] = field(default_factory=dict)
    occurrences: dict[str, int] = field(default_factory=dict)
    ignored_classes: tuple[str, ...] = ()
    empty_classes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    content: str = ""

    def samples(self, dataset: str, spec_base: Path) -> list[Sample]:
        """The rows of the manifest: pairs without a defect.

        Args:
            dataset: name or path of the spec, for the manifest's `dataset` column.
            spec_base: folder that a relative path in `dataset` starts from.
        """
        return [
            Sample(pair.image, pair.label, dataset, spec_base, split=pair.split, group=pair.group)
            for pair in self.pairs
        ]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values for JSON."""
        counts = Counter(defect.kind for defect in self.defects)
        total = sum(self.pixels.values())
        return {
            "images": self.images,
            "usable": len(self.pairs),
            "labelled": sum(pair.label is not None for pair in self.pairs),
            "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in self.sizes.most_common()],
            "classes": [
                {"class": name, "pixels": n, "share": n / total if total else 0.0, "images": self.occurrences[name]}
                for name, n in self.pixels.items()
            ],
            "ignored_classes": list(self.ignored_classes),
            "empty_classes": list(self.empty_classes),
            "defect_counts": dict(sorted(counts.items())),
            "defects": [{"kind": d.kind, "file": str(d.file), "detail": d.detail} for d in self.defects],
            "notes": self.notes,
            "content": self.content,
        }


@dataclass(frozen=True)
class _Checked:
    """What one pair was found to be."""

    size: tuple[int, int] | None
    histogram: NDArray[np.int64] | None
    defects: tuple[Defect, ...]
    digests: tuple[str, ...] = ()


def pairs_with(
    pairs: Sequence[Pair],
    spec: DatasetSpec,
    space: LabelSpace | None,
    classes: Sequence[str],
    *,
    share: float = 0.0,
    workers: int = 4,
    progress: Callable[[int], None] | None = None,
) -> tuple[Pair, ...]:
    """The pairs whose labels show some classes, in their order; every label is opened, and no image.

    A pair whose label cannot be read is kept, so that `check_index` names it.

    Args:
        pairs: of `index_dataset`.
        spec: the spec they were found by.
        space: whose classes are meant; None: the data set's own.
        classes: their names; a label that shows one of them is enough.
        share: part of the pixels that they must cover together, 0 to 1; at least one pixel must be theirs.
        workers: threads that read.
        progress: is told how many labels are done.

    Raises:
        ConfigError: there is no such class.
    """
    names = tuple(spec.values) if space is None else space.names
    for name in classes:
        if name not in names:
            where = f"dataset {spec.name}" if space is None else f"label space {space.name}"
            raise ConfigError(f"no class '{name}'", where, nearest(name, names))
    table = own_table(spec) if space is None else mapping_table(spec, space)
    wanted = [names.index(name) for name in classes]

    def shows(pair: Pair) -> bool:
        if pair.label is None:
            return False
        try:
            labels = apply_table(read_label_values(pair.label, spec), spec, table)
        except DataError:
            return True
        return int(np.isin(labels, wanted).sum()) >= max(1.0, share * labels.size)

    kept: list[Pair] = []
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(pairs), 16 * workers):
            chunk = pairs[start : start + 16 * workers]
            kept += [pair for pair, chosen in zip(chunk, pool.map(shows, chunk), strict=True) if chosen]
            if progress is not None:
                progress(start + len(chunk))
    return tuple(kept)


def check_index(
    index: Index,
    spec: DatasetSpec,
    space: LabelSpace | None = None,
    *,
    workers: int = 4,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Open every image and label, and count.

    Args:
        index: of `index_dataset`.
        spec: the spec it was made by.
        space: count in these classes; None counts in the data set's own.
        workers: threads that read.
        progress: is told how many images are done.
    """
    names = tuple(spec.values) if space is None else space.names
    table, owners = own_table(spec), None if space is None else space.owners()
    places = np.array([i if owners is None else owners.get(name, -1) for i, name in enumerate(spec.values)], np.int64)
    own = np.zeros(len(places), np.int64)
    report = Report(defects=list(index.defects), pixels=dict.fromkeys((*names, "ignored"), 0))
    report.occurrences = dict.fromkeys(report.pixels, 0)
    content = hashlib.sha256()
    if space is not None:
        report.ignored_classes, report.empty_classes = unmapped(spec, space)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(index.pairs), 16 * workers):  # in chunks, so that results never pile up
            chunk = index.pairs[start : start + 16 * workers]
            for pair, checked in zip(chunk, pool.map(lambda one: _check(one, spec, table), chunk), strict=True):
                _add(report, pair, checked, names, places)
                own += 0 if checked.histogram is None else checked.histogram[: len(places)]
                content.update("\n".join((pair.id, *checked.digests, "")).encode(errors="surrogateescape"))
                if progress is not None:
                    progress(report.images)
    report.notes, report.content = _notes(report, index, spec), content.hexdigest()
    if space is not None and (pixels := sum(report.pixels.values())):
        shares = {name: int(count) / pixels for name, count in zip(spec.values, own, strict=True)}
        report.notes += [line] if (line := say_ignored(spec, space, shares)) is not None else []
    return report


def _check(pair: Pair, spec: DatasetSpec, table: NDArray[np.uint8]) -> _Checked:
    try:
        height, width = read_image(pair.image).shape[:2]
    except DataError as error:
        return _Checked(None, None, (Defect("undecodable image", pair.image, error.what),))
    if pair.label is None:
        return _Checked((height, width), None, (), (file_digest(pair.image),))
    try:
        values = read_label_values(pair.label, spec)
    except DataError as error:
        detail = error.what if error.mend is None else f"{error.what}; {error.mend}"
        return _Checked((height, width), None, (Defect("unreadable label", pair.label, detail),))
    if values.shape[:2] != (height, width):
        detail = f"label {values.shape[0]}x{values.shape[1]}, image {height}x{width} (height x width)"
        return _Checked((height, width), None, (Defect("size mismatch", pair.label, detail),))
    labels = apply_table(values, spec, table)
    histogram = np.bincount(labels.ravel(), minlength=256)
    if not histogram[UNDECLARED]:
        return _Checked((height, width), histogram, (), (file_digest(pair.image), file_digest(pair.label)))
    detail = f"{say_undeclared(values, labels)}; {mend_undeclared(spec, values)}"
    return _Checked((height, width), None, (Defect("undeclared label values", pair.label, detail),))


def _add(report: Report, pair: Pair, checked: _Checked, names: tuple[str, ...], places: NDArray[np.int64]) -> None:
    """Count a pair; `places` says as which of the names each of the data set's classes counts, -1 as none."""
    report.images += 1
    report.defects.extend(checked.defects)
    if checked.size is not None:
        report.sizes[checked.size] += 1
    if not checked.defects:
        report.pairs.append(pair)
    if checked.histogram is not None:
        counts = np.zeros(len(names) + 1, np.int64)
        np.add.at(counts, places, checked.histogram[: len(places)])
        counts[-1] += checked.histogram[IGNORE]
        for name, n in zip((*names, "ignored"), counts.tolist(), strict=True):
            report.pixels[name] += n
            report.occurrences[name] += n > 0


def _notes(report: Report, index: Index, spec: DatasetSpec) -> list[str]:
    notes = [f"split '{name}' has no labels" if name else "has no labels" for name in index.unlabelled]
    for folder_, files in index.unfit.items():
        name = files[0].relative_to(index.root / folder_)
        notes.append(f"{len(files)} image files below {folder_}/ fit no pattern, first {name}")
    if len(report.sizes) > 1:
        notes.append(f"{len(report.sizes)} image sizes are mixed")
    strange = sorted(set(report.sizes) - set(spec.known_sizes)) if spec.known_sizes else []
    if strange:
        notes.append(f"sizes that {spec.name} is not known to have: " + ", ".join(f"{h}x{w}" for h, w in strange))
    found = Counter(pair.split for pair in index.pairs)
    if index.left_out:
        return [*notes, f"{len(index.pairs)} of its {len(index.pairs) + index.left_out} images are selected"]
    known = f"; `uda show {spec.name}` tells known defects" if _facts(spec, "known_defects") else ""
    for split, official in ((row["split"], int(row["images"])) for row in _facts(spec, "counts")):
        if split in found and found[split] != official:
            of = f"{spec.name} {split}".strip()
            notes.append(f"{found[split]} of the {official} official images of {of}{known}")
    return notes


def _facts(spec: DatasetSpec, table: str) -> list[dict[str, str]]:
    """The rows of `data_manifests/TABLE.csv` on a shipped spec's data set; none on one's own."""
    if not spec.is_shipped:
        return []
    with (folder("data_manifests") / f"{table}.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["dataset"] == spec.name]
