"""Digests of a stage's inputs: cheap enough to ask before every run, and true to what lies on the disk.

What a stage made and what agrees with its receipts counts by that stage's outputs, wherever it lies: 25,000 images are
not read again. What no stage made counts by bytes, and the images and labels that a manifest of one's own names, like
the files of a data set's folder, by their sizes and times.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from uda.core.config import digest, file_digest, read_yaml
from uda.core.errors import DataError
from uda.core.manifest import MANIFEST, RECEIPTS, complete_manifest, iterate_receipts, owning_manifest
from uda.core.walk import walk

_SMALL = 16 * 2**20
"""Bytes up to which a file is hashed to see that it is as it was made."""


def input_digest(path: Path, *, foreign: bool = False, manifest: bool | None = None) -> str:
    """Digest of a stage's input: of a stage directory's outputs by its manifest, or of a file's bytes.

    A file inside a stage directory, if it is as the stage made it, counts as that directory's outputs and its own name,
    so that a CSV of 25,000 images stands for the images, which are not read again. A CSV that no stage made, or that
    was changed since, counts by its bytes and by the sizes and times of the images and labels that it names; where it
    names dataset specs by their files, by its rows and what those say in the place of how they are called.

    Args:
        path: file or directory.
        foreign: a directory that no stage made may be given; it counts by its files' names, sizes and times.
        manifest: whether the file is a manifest, which names other files; None: if it is called `.csv`.

    Raises:
        DataError: there is no such input, or it is a directory without a manifest.
    """
    owner = owning_manifest(path.parent) if path.parent.is_dir() else None
    if path.is_dir():
        if not foreign or owning_manifest(path) is not None:
            return complete_manifest(path).outputs
        # A folder that a stage made, such as one layout of mini-city, stays the same wherever it is moved.
        return digest([owner.outputs, path.name]) if owner is not None and _is_made_folder(path) else _listing(path)
    if not path.is_file():
        raise DataError("no such file", path, "check the path")
    if owner is not None and path.name != MANIFEST and _is_made_file(path):
        return digest([owner.outputs, path.name])
    is_manifest = path.suffix == ".csv" if manifest is None else manifest
    named = sorted(column_values(path, "image", "label")) if is_manifest else []
    return digest([_content(path), file_states(path.parent, named)]) if named else file_digest(path)


def is_yaml_path(reference: str) -> bool:
    """Whether a dataset spec or a label space is named by its file, and not as one that ships."""
    return reference.endswith((".yaml", ".yml"))


def _content(manifest: Path) -> str:
    """Digest of a manifest's bytes, or of its rows with what their specs say where these are files."""
    names = [one for one in column_values(manifest, "dataset") if is_yaml_path(one)]
    said = {one: digest(read_yaml(manifest.parent / one)) for one in names if (manifest.parent / one).is_file()}
    if not said:
        return file_digest(manifest)
    with manifest.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = list(csv.reader(file, skipinitialspace=True))
    place = rows[0].index("dataset")
    return digest([[said.get(one, one) if at == place else one for at, one in enumerate(row)] for row in rows])


def manifest_instead(folder: Path) -> str:
    """What to give in the place of a folder where a manifest is wanted."""
    made = folder / "samples.csv"
    return f"give {made}" if made.is_file() else "give a manifest; `uda prepare` writes one"


def step_of_run(run: Path, stage: str) -> Path | None:
    """The directory that a stage left last in that of a whole run: in its last round, else before the rounds."""
    rounds = [folder for folder in run.glob("round_*") if folder.name.removeprefix("round_").isdecimal()]
    rounds.sort(key=lambda folder: int(folder.name.removeprefix("round_")), reverse=True)
    for place in (*rounds, run):
        made = {file: owning_manifest(file.parent) for file in place.glob(f"*/{MANIFEST}")}
        files = [file for file, manifest in made.items() if manifest is not None and manifest.stage == stage]
        if files:
            return max(files, key=lambda file: (file.parent.name == stage, file.stat().st_mtime_ns)).parent
    return None


def column_names(manifest: Path) -> list[str]:
    """The header of a CSV; nothing where it is no table."""
    with manifest.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        try:
            return next(csv.reader(file, skipinitialspace=True), [])
        except csv.Error:
            return []


def column_values(manifest: Path, *columns: str) -> set[str]:
    """What the rows of a CSV hold in some columns, blanks left out; nothing where it is no table (the stage tells)."""
    with manifest.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.reader(file, skipinitialspace=True)
        try:
            header = next(rows, [])
            places = [header.index(column) for column in columns if column in header]
            return {row[place] for row in rows for place in places if place < len(row) and row[place]}
        except csv.Error:
            return set()


def file_states(base: Path, named: list[str]) -> list[tuple[str, int, int] | tuple[str]]:
    """Sizes and times of the files that a manifest in `base` names; the missing ones are the stage's to tell."""
    folder = str(base.resolve())
    states: list[tuple[str, int, int] | tuple[str]] = []
    for text in named:
        # Strings instead of paths: a manifest may name 50,000 files, and is asked about at each step of a pipeline.
        file = os.path.join(folder, text)  # noqa: PTH118  # faster than a path
        try:
            status = os.stat(os.path.normpath(file) if ".." in text else file)  # noqa: PTH116  # faster than a path
            states.append((text, status.st_size, status.st_mtime_ns))
        except (OSError, ValueError):
            states.append((text,))
    return states


def _is_made_file(file: Path) -> bool:
    """Whether a file in a stage directory is one of the stage's outputs, as it was made.

    Small files are hashed, and so is what was written after the manifest; else the size has to do.
    """
    receipt = next((one for one in iterate_receipts(file.parent / RECEIPTS) if one.path == file.name), None)
    if receipt is None or (status := file.stat()).st_size != receipt.size:
        return False
    later = status.st_mtime_ns > (file.parent / MANIFEST).stat().st_mtime_ns
    return file_digest(file) == receipt.sha256 if later or receipt.size <= _SMALL else True


def _is_made_folder(folder: Path) -> bool:
    """Whether a folder in a stage directory holds the stage's outputs, of the sizes that they were made in, alone."""
    prefix = f"{folder.name}/"
    made = {one.path: one.size for one in iterate_receipts(folder.parent / RECEIPTS) if one.path.startswith(prefix)}
    return bool(made) and made == {prefix + name: status.st_size for name, status in _files(folder)}


def _listing(root: Path) -> str:
    """Digest of a folder's listing: reading every image of a data set to see that nothing changed would take hours."""
    return digest(sorted((name, status.st_size, status.st_mtime_ns) for name, status in _files(root)))


def _files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All files below a folder; a link that leads nowhere counts as the link does."""
    for file in walk(root):
        try:
            status = file.stat()
        except OSError:
            status = file.lstat()
        yield file.relative_to(root).as_posix(), status
