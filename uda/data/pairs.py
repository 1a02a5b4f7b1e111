"""Find a data set's images and labels and pair them by their names; no file is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uda.core.errors import ConfigError, DataError, nearest
from uda.data.spec import DatasetSpec

DefectKind = Literal[
    "missing label",
    "label without image",
    "second image for one id",
    "undecodable image",
    "unreadable label",
    "size mismatch",
    "undeclared label values",
]


@dataclass(frozen=True)
class Defect:
    """One thing wrong with one file."""

    kind: DefectKind
    file: Path
    detail: str


@dataclass(frozen=True)
class Pair:
    """An image and its label (None in a split that has no labels)."""

    id: str
    image: Path
    label: Path | None
    split: str
    group: str


@dataclass(frozen=True)
class Index:
    """A data set's files, paired by name.

    Attributes:
        root: the data set's folder.
        pairs: usable as far as names go, in natural order of split and id.
        defects: files that found no partner.
        unlabelled: splits ("" where the data set has none) without a single label file.
    """

    root: Path
    pairs: tuple[Pair, ...]
    defects: tuple[Defect, ...]
    unlabelled: tuple[str, ...]


def natural_key(text: str) -> list[tuple[int, int | str]]:
    """Sort key that puts `frame9` before `frame10`."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part]


def index_dataset(root: Path, spec: DatasetSpec, split: str | None = None) -> Index:
    """Find a data set's images and labels and pair them by id.

    Args:
        root: the data set's folder, as the spec's patterns see it; links are followed.
        spec: its spec.
        split: one split; None takes all that have images.

    Raises:
        ConfigError: the spec has no such split.
        DataError: there is no such folder, or no image in it fits the pattern.
    """
    if split is not None and split not in spec.splits:
        hint = nearest(split, spec.splits) if spec.splits else "leave --split out: it comes in one piece"
        raise ConfigError(f"no split '{split}'", f"dataset {spec.name}", hint)
    if not root.is_dir():
        raise DataError("no such folder", root, "give the data set's folder")
    root = root.absolute()
    pairs: list[Pair] = []
    defects: list[Defect] = []
    unlabelled = []
    for name in (split,) if split is not None else spec.splits or ("",):
        found, bad, labels = _index_split(root, spec, name)
        pairs += found
        defects += bad
        if found and not labels:
            unlabelled.append(name)
    if not pairs and not defects:
        wanted = " or ".join(pattern.replace("{split}", split or "{split}") for pattern in spec.images)
        seen = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
        raise DataError(f"no image is called {wanted} (it holds {seen})", root, "give the folder that holds these")
    return Index(root, tuple(pairs), tuple(defects), tuple(unlabelled))


def _index_split(root: Path, spec: DatasetSpec, split: str) -> tuple[list[Pair], list[Defect], int]:
    labels = {} if spec.labels is None else _find(root, spec.labels, split)
    taken, defects = set(labels.values()), []
    images: dict[str, Path] = {}
    for pattern in spec.images:
        for id_, path in _find(root, pattern, split).items():
            if id_ in images:
                defects.append(Defect("second image for one id", path, f"{images[id_].name} is taken"))
            elif path not in taken:
                images[id_] = path
    pairs = []
    for id_ in sorted(images, key=natural_key):
        if labels and id_ not in labels:
            expected = str(spec.labels).replace("{split}", split).replace("{id}", id_)
            defects.append(Defect("missing label", images[id_], f"{expected} is not there"))
            continue
        match = re.search(spec.group, id_) if spec.group else None
        pairs.append(Pair(id_, images[id_], labels.get(id_), split, (match[1] or "") if match else ""))
    orphans = sorted(labels.keys() - images.keys(), key=natural_key)
    defects += [Defect("label without image", labels[id_], f"no image of id {id_}") for id_ in orphans]
    return pairs, defects, len(labels)


def _find(root: Path, pattern: str, split: str) -> dict[str, Path]:
    """Paths below `root` that fit the pattern, by id."""
    pattern = pattern.replace("{split}", split)
    before, after = pattern.split("{id}")
    fits = re.compile(f"{re.escape(before)}(.+){re.escape(after)}")
    start = root / before.rpartition("/")[0]
    matches = ((fits.fullmatch(path.relative_to(root).as_posix()), path) for path in _walk(start))
    return {match[1]: path for match, path in matches if match}


def _walk(start: Path) -> Iterator[Path]:
    """All files below `start`; links are followed, a folder that links lead back to is entered once."""
    entered: set[tuple[int, int]] = set()
    for current, folders, files in os.walk(start, followlinks=True):
        status = Path(current).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        yield from (Path(current, name) for name in files)
