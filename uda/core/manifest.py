"""The trail: what a stage did, out of what, and how one tells that it is done.

A stage directory holds `manifest.json` (written last: its presence means complete), `files.csv` (path, size and
SHA-256 of each output, computed while writing) and what the stage made. The digest that other stages see is that of
the outputs alone: machine, time and reason are recorded but change nothing downstream.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uda.core.config import digest, file_digest
from uda.core.errors import DataError

SCHEMA = 1
MANIFEST = "manifest.json"
RECEIPTS = "files.csv"
_REMOVE = "remove its folder if it is not wanted, and run the stage again"


@dataclass(frozen=True)
class Receipt:
    """One output file: path relative to the stage directory, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is written as `manifest.json`.

    Attributes:
        stage: the stage's name.
        version: the stage's version, raised by hand when its meaning changes.
        fingerprint: digest of name, version, settings that matter and the digests of the inputs.
        reason: why it ran.
        settings: the settings that matter, as they went into the fingerprint.
        config: all resolved settings.
        inputs: name -> {"path", "digest"}.
        outputs: digest of all receipts; what downstream stages see.
        metrics: the stage's results.
        recorded: code, versions, machine, seconds (`uda.core.provenance`); no part of any digest.
    """

    stage: str
    version: int
    fingerprint: str
    reason: str
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str]]
    outputs: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Write atomically as JSON."""
        write_atomically(path, json.dumps(asdict(self), indent=2, default=str).encode() + b"\n")


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in a stage directory (or at a JSON file's path), None where there is none.

    Raises:
        DataError: there is one and it cannot be read.
    """
    file = path / MANIFEST if path.is_dir() else path
    if not file.is_file():
        return None
    try:
        manifest = Manifest(**json.loads(file.read_text()))
        if manifest.schema != SCHEMA:
            raise ValueError(f"its schema is {manifest.schema}, this program's {SCHEMA}")
        return manifest
    except (ValueError, TypeError) as error:
        mend = "run the stage again with --force" if unread_stage(file.parent) is not None else _REMOVE
        raise DataError(f"is no manifest of this program ({error})", file, mend) from error


def unread_stage(folder: Path) -> str | None:
    """The stage that left a manifest which cannot be read here: old results, which that stage may replace.

    Returns:
        Its name; "" where that cannot be read either, and receipts beside it tell that a stage left it; None where
        nothing says that the folder is a stage's.
    """
    received = (folder / RECEIPTS).is_file()
    try:
        data = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return "" if received else None
    if not _is_a_stages(data) or not (received or data.get("schema", SCHEMA) != SCHEMA):
        return None
    return str(data.get("stage", ""))


def _is_a_stages(data: Any) -> bool:
    """Whether a JSON of a manifest's name is one, and not somebody else's."""
    return isinstance(data, dict) and bool(data.keys() & {"stage", "fingerprint"})


def owning_manifest(folder: Path) -> Manifest | None:
    """The manifest of the stage that made a folder; None where no stage did, though it holds a JSON of that name.

    Raises:
        DataError: there is one and it cannot be read.
    """
    file = folder / MANIFEST
    if file.is_file():
        try:
            data = json.loads(file.read_text())
        except ValueError:  # a broken one may be a stage's, whose receipts lie beside it
            data = {"stage": None} if (folder / RECEIPTS).is_file() else None
        if not _is_a_stages(data):
            return None
    return read_manifest(folder)


def complete_manifest(directory: Path) -> Manifest:
    """The manifest of a stage directory that has to be complete.

    Raises:
        DataError: there is none.
    """
    manifest = owning_manifest(directory)
    if manifest is None:
        raise DataError("is no complete stage directory", directory / MANIFEST, "run its stage to the end first")
    return manifest


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def write_receipts(path: Path, receipts: Iterable[Receipt]) -> None:
    """Write `files.csv`, sorted by path."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "size", "sha256"))
        writer.writerows((one.path, one.size, one.sha256) for one in sorted(receipts, key=lambda one: one.path))


def read_receipts(path: Path) -> list[Receipt]:
    """Read `files.csv`; empty where there is none."""
    return list(iterate_receipts(path))


def iterate_receipts(path: Path) -> Iterator[Receipt]:
    """Read `files.csv` one by one; nothing where there is none.

    Raises:
        DataError: it is no such table.
    """
    if not path.is_file():
        return
    with path.open(newline="") as file:
        rows = csv.reader(file)
        try:
            next(rows, None)
            for name, count, sha256 in rows:
                yield Receipt(name, int(count), sha256)
        except (ValueError, csv.Error) as error:
            mend = "run the stage again with --force"
            raise DataError(f"is no table of receipts ({error})", path, mend) from error


def receipts_digest(receipts: Iterable[Receipt]) -> str:
    """Digest of a set of outputs, whatever their order."""
    return digest(sorted((one.path, one.sha256) for one in receipts))


def verify(directory: Path, *, deep: bool) -> list[str]:
    """Compare a stage directory with its receipts; returns one line for each difference.

    Args:
        directory: a complete stage directory.
        deep: hash every file again; else only presence and size are looked at.
    """
    manifest = complete_manifest(directory)
    found = []
    receipts = read_receipts(directory / RECEIPTS)
    for one in receipts:
        file = directory / one.path
        if not file.is_file():
            found.append(f"{file}: missing")
        elif file.stat().st_size != one.size:
            found.append(f"{file}: {file.stat().st_size} bytes instead of {one.size}")
        elif deep and file_digest(file) != one.sha256:
            found.append(f"{file}: content changed (SHA-256 differs)")
    if receipts_digest(receipts) != manifest.outputs:
        found.append(f"{directory / RECEIPTS}: does not belong to {MANIFEST}")
    return found
