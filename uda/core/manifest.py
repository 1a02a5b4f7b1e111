"""The trail: what a stage did, out of what, and how one tells that it is done.

A stage directory holds `manifest.json` (written last: its presence means complete), `files.csv` (path, size and
SHA-256 of each output, computed while writing) and what the stage made. The digest that other stages see is that of
the outputs alone: machine, time and reason are recorded but change nothing downstream.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uda.core.config import digest, file_digest
from uda.core.errors import DataError

SCHEMA = 1
MANIFEST = "manifest.json"
RECEIPTS = "files.csv"


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
        data = json.loads(file.read_text())
        return Manifest(**data)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"is no manifest of this program ({error})", file, "run the stage again with --force"
        ) from error


def complete_manifest(directory: Path) -> Manifest:
    """The manifest of a stage directory that has to be complete.

    Raises:
        DataError: there is none.
    """
    manifest = read_manifest(directory)
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
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [Receipt(row["path"], int(row["size"]), row["sha256"]) for row in csv.DictReader(file)]


def receipts_digest(receipts: Iterable[Receipt]) -> str:
    """Digest of a set of outputs, whatever their order."""
    return digest(sorted((one.path, one.sha256) for one in receipts))


def input_digest(path: Path, *, foreign: bool = False) -> str:
    """Digest of a stage's input: of a stage directory's outputs by its manifest, or of a file's bytes.

    A file inside a stage directory counts as that directory's outputs and its own name, so that a CSV of 25,000
    images stands for the images, which are not read again.

    Args:
        path: file or directory.
        foreign: a directory that no stage made may be given; it counts by its files' names, sizes and times.

    Raises:
        DataError: there is no such input, or it is a directory without a manifest.
    """
    owner = read_manifest(path.parent) if path.parent.is_dir() else None
    if path.is_dir():
        if not foreign or read_manifest(path) is not None:
            return complete_manifest(path).outputs
        # A folder that a stage made, such as one layout of mini-city, stays the same wherever it is moved.
        return _listing_digest(path) if owner is None else digest([owner.outputs, path.name])
    if not path.is_file():
        raise DataError("no such file", path, "check the path")
    if owner is not None and path.name != MANIFEST:
        return digest([owner.outputs, path.name])
    return file_digest(path)


def _listing_digest(root: Path) -> str:
    """Digest of a folder's listing: reading every image of a data set to see that nothing changed would take hours."""
    listing = []
    for folder, _, files in os.walk(root, followlinks=True):
        for name in files:
            file = Path(folder, name)
            status = file.stat()
            listing.append((file.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns))
    return digest(sorted(listing))


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
