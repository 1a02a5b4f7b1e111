"""What a report is made of: runs and single stages, read from their directories. Nothing is written."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uda.core.errors import DataError
from uda.core.manifest import MANIFEST, Manifest, read_manifest

REPORT = "report.json"
_LEFTOVERS = (".partial", ".partial.old", ".replaced")
_ROUND = re.compile(r"(?:^|/)round_(\d+)(?:/|$)")


@dataclass(frozen=True)
class StageEntry:
    """One complete stage of a run.

    Attributes:
        name: path of its directory below the run, `/` between parts.
        directory: where it lies.
        manifest: its trail.
        round: the round it belongs to, None outside the rounds.
    """

    name: str
    directory: Path
    manifest: Manifest
    round: int | None


@dataclass(frozen=True)
class Row:
    """Scores of one evaluation, as fractions; None where a score does not exist.

    Attributes:
        name: as in tables.
        round: None for what is no round (source only, oracle).
        miou: mean over the label space.
        pixel_accuracy: correct pixels of all labelled ones.
        iou: by class.
        subsets: means over subsets of the classes, by name.
    """

    name: str
    round: int | None
    miou: float | None
    pixel_accuracy: float | None
    iou: Mapping[str, float | None]
    subsets: Mapping[str, float | None]


@dataclass(frozen=True)
class Scores:
    """The content of an `iterate` run's `report.json`, checked."""

    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    gap_closed: float | None = None
    pipeline: str | None = None
    seed: int | None = None
    label_space: str | None = None
    published: str | None = None

    def find(self, name: str) -> Row | None:
        """The row called `name`."""
        return next((row for row in self.rows if row.name == name), None)

    @property
    def adapted(self) -> list[Row]:
        """Rows of rounds, in order."""
        return sorted((row for row in self.rows if row.round is not None), key=lambda row: row.round or 0)

    @property
    def subsets(self) -> list[str]:
        """Names of all subsets, largest number first."""
        found = {name for row in self.rows for name in row.subsets}
        return sorted(found, key=lambda name: (-int(name) if name.isdigit() else 0, name))


@dataclass(frozen=True)
class Run:
    """One directory of the command line.

    Attributes:
        name: short and unlike that of the other runs.
        directory: as given.
        scores: of its `report.json`, or put together from its evaluations.
        stages: complete stages, in the order of the work.
        unfinished: names of stage directories that are being made, or were left behind by an interruption.
    """

    name: str
    directory: Path
    scores: Scores
    stages: tuple[StageEntry, ...]
    unfinished: tuple[str, ...] = field(default=())

    def of(self, stage: str) -> list[StageEntry]:
        """All entries of one kind of stage."""
        return [entry for entry in self.stages if entry.manifest.stage == stage]


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """Read everything that is to be reported.

    Raises:
        DataError: a directory is missing or holds neither a report nor a complete stage; a file cannot be read.
    """
    names = _short_names(directories)
    return [_read_run(directory, name) for directory, name in zip(directories, names, strict=True)]


def _read_run(directory: Path, name: str) -> Run:
    if not directory.is_dir():
        raise DataError("no such directory", directory, "give a directory that `uda iterate` or a stage left")
    stages, unfinished = _find_stages(directory)
    report = _read_json(directory / REPORT)
    if "rows" in report:
        scores = read_scores(report, directory / REPORT)
    elif stages:
        scores = _scores_of_stages(stages)
    else:
        what = "holds no report.json of `uda iterate` and no complete stage"
        mend = "give a directory that `uda iterate` or a stage left"
        raise DataError(f"{what} ({', '.join(unfinished)} unfinished)" if unfinished else what, directory, mend)
    return Run(name, directory, scores, tuple(stages), tuple(unfinished))


def _short_names(directories: Sequence[Path]) -> list[str]:
    """As many last parts of the paths as tell them apart; a directory given twice gets a number."""
    parts = [path.absolute().resolve().parts for path in directories]
    names = ["/".join(one[-1:]) for one in parts]
    for depth in range(2, max((len(one) for one in parts), default=0) + 1):
        if len(set(names)) == len(names):
            return names
        names = ["/".join(one[-depth:]).lstrip("/") for one in parts]
    return [name if names.index(name) == i else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _find_stages(root: Path) -> tuple[list[StageEntry], list[str]]:
    """Complete stages at or below `root`, and names of unfinished ones; looks into no stage's own folders."""
    found: list[StageEntry] = []
    unfinished: list[str] = []
    for folder, below, files in os.walk(root):
        path = Path(folder)
        unfinished += [
            (path / one).relative_to(root).as_posix().removesuffix(".partial") for one in below if one.endswith(".partial")
        ]
        below[:] = [] if MANIFEST in files else [one for one in below if not one.endswith(_LEFTOVERS)]
        if MANIFEST in files and (manifest := read_manifest(path)) is not None:
            name = path.relative_to(root).as_posix() if path != root else root.absolute().name
            number = _ROUND.search(name)
            found.append(StageEntry(name, path, manifest, int(number[1]) if number else None))
    found.sort(key=lambda one: (one.round or 0, str(one.manifest.recorded.get("finished", "")), one.name))
    return found, sorted(unfinished)


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        data = json.loads(file.read_text())
    except ValueError as error:
        raise DataError(f"is no JSON ({error})", file, "run `uda iterate` again: it writes it anew") from error
    return data if isinstance(data, dict) else {}


def read_scores(report: Mapping[str, Any], where: object = REPORT) -> Scores:
    """Check the content of a `report.json`.

    Raises:
        DataError: a key is missing or holds something else.
    """
    try:
        classes = tuple(str(name) for name in report["classes"])
        return Scores(
            classes=classes,
            rows=tuple(_row(one) for one in report["rows"]),
            gap_closed=number(report.get("gap_closed")),
            pipeline=report.get("pipeline"),
            seed=report.get("seed"),
            label_space=report.get("label_space"),
            published=report.get("published"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"is no report of this program ({type(error).__name__}: {error})"
        raise DataError(what, where, "run `uda iterate` again: it writes it anew") from error


def _row(data: Mapping[str, Any]) -> Row:
    return Row(
        name=str(data["name"]),
        round=data.get("round"),
        miou=number(data["miou"]),
        pixel_accuracy=number(data.get("pixel_accuracy")),
        iou={str(name): number(value) for name, value in data["iou"].items()},
        subsets={str(name): number(value) for name, value in data.get("subsets", {}).items()},
    )


def number(value: Any) -> float | None:
    """A finite number, or None: JSON's null and the NaN of a mean over nothing."""
    return None if value is None or not math.isfinite(float(value)) else float(value)


def _scores_of_stages(stages: Sequence[StageEntry]) -> Scores:
    """A row for each evaluation of directories that no `iterate` summed up (single stages, an unfinished loop)."""
    scored = [one for one in stages if one.manifest.stage == "evaluate" and "iou" in one.manifest.metrics]
    rows = [_row({"name": one.name, "round": one.round, **one.manifest.metrics}) for one in scored]
    classes = list(dict.fromkeys(name for row in rows for name in row.iou))
    spaces = {one.manifest.config.get("label_space") for one in stages} - {None}
    return Scores(tuple(classes), tuple(rows), label_space=spaces.pop() if len(spaces) == 1 else None)
