"""Find a data set's images and labels and pair them by their names; no file is opened."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from uda.core.errors import ConfigError, DataError, nearest
from uda.core.walk import walk
from uda.data.spec import DatasetSpec

DefectKind = Literal[
    "missing label",
    "label without image",
    "second image for one id",
    "second label for one id",
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
        unfit: image files in the images' folders that fit no pattern, by that folder, which is relative to the root.
        left_out: how many pairs are not among `pairs` because others were chosen.
    """

    root: Path
    pairs: tuple[Pair, ...]
    defects: tuple[Defect, ...]
    unlabelled: tuple[str, ...]
    unfit: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)
    left_out: int = 0


IMAGE_ENDINGS = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


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
        DataError: there is no such folder, a folder in it cannot be read, or no image in it fits the pattern.
    """
    if split is not None and split not in spec.splits:
        hint = nearest(split, spec.splits) if spec.splits else "leave --split out: it comes in one piece"
        raise ConfigError(f"no split '{split}'", f"dataset {spec.name}", hint)
    if not root.is_dir():
        raise DataError("no such folder", root, "give the data set's folder")
    files = _Files(root.resolve() if ".." in root.parts else root.absolute())  # links and `..` do not mix as text
    needed = spec.splits or ("",) if split is None or not _are_apart(spec) else (split,)
    parts = {name: _find_split(files, spec, name) for name in needed}
    shared = spec.labels is not None and "{split}" not in spec.labels
    of_all = {id_ for part in parts.values() for id_ in part.images} if shared else set()
    pairs: list[Pair] = []
    defects: list[Defect] = []
    unlabelled = []
    told: set[Path] = set()
    for name in (split,) if split is not None else parts:
        found, bad, bare = _pair(parts[name], spec, name, of_all)
        pairs += found
        defects += [defect for defect in bad if defect.file not in told]  # labels without {split} are all splits' own
        told |= {defect.file for defect in bad}
        if found and bare:
            unlabelled.append(name)
    if not pairs and not defects:
        wanted = " or ".join(pattern.replace("{split}", split or "{split}") for pattern in spec.images)
        seen = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
        raise DataError(f"no image is called {wanted} (it holds {seen})", root, "give the folder that holds these")
    unfit = _unfit(files, spec, (split,) if split is not None else tuple(parts), parts)
    return Index(files.root, tuple(pairs), tuple(defects), tuple(unlabelled), unfit)


@dataclass(frozen=True)
class _Split:
    """What the patterns find for one split: by id, and files whose id is taken, or that shall be ignored."""

    images: dict[str, Path]
    labels: dict[str, Path]
    seconds: tuple[Defect, ...]
    ignored: frozenset[Path]


class _Files:
    """The files below a data set's root; each folder is walked once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._below: dict[Path, list[tuple[str, Path]]] = {}

    def below(self, folder: Path) -> list[tuple[str, Path]]:
        """All files below a folder, with their names below the root, sorted by them."""
        if folder not in self._below:
            self._below[folder] = sorted(
                (path.relative_to(self.root).as_posix(), path) for path in walk(folder, _refuse)
            )
        return self._below[folder]

    def fitting(self, pattern: str, split: str) -> Iterator[tuple[str, Path]]:
        """Ids and files that fit a pattern; those that fit to the letter come first."""
        before, after = pattern.replace("{split}", split).split("{id}")
        stem, dot, ending = after.rpartition(".") if "." in posixpath.basename(after) else (after, "", "")
        text = f"{re.escape(before)}(.+){re.escape(stem)}{re.escape(dot)}((?i:{re.escape(ending)}))"
        fits = re.compile(text, re.DOTALL)  # a name may hold a line's end
        matches = ((fits.fullmatch(name), path) for name, path in self.below(_start(self.root, pattern, split)))
        found = [(match[1], path, match[2] != ending) for match, path in matches if match]
        yield from ((id_, path) for id_, path, _ in sorted(found, key=lambda one: one[2]))


def _start(root: Path, pattern: str, split: str) -> Path:
    """The folder that holds all that may fit a pattern."""
    return root / pattern.replace("{split}", split).partition("{id}")[0].rpartition("/")[0]


def _are_apart(spec: DatasetSpec) -> bool:
    """Whether each split has folders of its own, so that one split's files can be told without the others'."""
    patterns = (*spec.images, *(() if spec.labels is None else (spec.labels,)))
    return all("{split}" in pattern.partition("{id}")[0].rpartition("/")[0] for pattern in patterns)


def _find_split(files: _Files, spec: DatasetSpec, split: str) -> _Split:
    ignored = frozenset(path for pattern in spec.ignored for _, path in files.fitting(pattern, split))
    labels: dict[str, Path] = {}
    images: dict[str, Path] = {}
    seconds = []
    for id_, path in files.fitting(spec.labels, split) if spec.labels is not None else ():
        if path not in ignored and labels.setdefault(id_, path) != path:
            seconds.append(Defect("second label for one id", path, f"{labels[id_].name} is taken"))
    taken = ignored | set(labels.values())
    for id_, path in (one for pattern in spec.images for one in files.fitting(pattern, split)):
        if path not in taken and images.setdefault(id_, path) != path:
            seconds.append(Defect("second image for one id", path, f"{images[id_].name} is taken"))
    return _Split(images, labels, tuple(seconds), ignored)


def _pair(part: _Split, spec: DatasetSpec, split: str, of_all: set[str]) -> tuple[list[Pair], list[Defect], bool]:
    """Pairs and defects of one split, and whether it has no labels.

    Args:
        part: what was found.
        spec: the data set's.
        split: its name.
        of_all: ids of all splits, where labels lie in one place for all of them.
    """
    images, labels = part.images, part.labels
    # In one place with the labels of other splits, a split of which none is there has none.
    bare = not labels or (bool(labels.keys() & of_all) and not labels.keys() & images.keys())
    pairs, defects = [], list(part.seconds)
    for id_ in sorted(images, key=_order):
        if not bare and id_ not in labels:
            expected = str(spec.labels).replace("{split}", split).replace("{id}", id_)
            defects.append(Defect("missing label", images[id_], f"{expected} is not there"))
            continue
        match = re.search(spec.group, id_) if spec.group else None
        pairs.append(Pair(id_, images[id_], labels.get(id_), split, (match[1] or "") if match else ""))
    orphans = sorted(labels.keys() - images.keys() - of_all, key=_order)
    defects += [Defect("label without image", labels[id_], f"no image of id {id_}") for id_ in orphans]
    return pairs, defects, bare


def _order(id_: str) -> tuple[list[tuple[int, int | str]], str]:
    """`natural_key`, and for `1` and `01`, which are one number, the text."""
    return natural_key(id_), id_


def _unfit(
    files: _Files, spec: DatasetSpec, splits: tuple[str, ...], parts: Mapping[str, _Split]
) -> dict[Path, tuple[Path, ...]]:
    known: set[Path] = set()
    for part in parts.values():
        known |= part.ignored | {*part.images.values(), *part.labels.values(), *(one.file for one in part.seconds)}
    folders = dict.fromkeys(_start(files.root, pattern, split) for split in splits for pattern in spec.images)
    unfit = {
        folder: tuple(
            path for _, path in files.below(folder) if path.suffix.lower() in IMAGE_ENDINGS and path not in known
        )
        for folder in folders
    }
    return {folder.relative_to(files.root): paths for folder, paths in unfit.items() if paths}


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):  # not every split need be there
        raise DataError(f"cannot be read ({error.strerror})", error.filename, "see who may read the folder") from error
