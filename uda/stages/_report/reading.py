"""What a report is made of: runs and single stages, read from their directories. Nothing is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uda.core.errors import DataError
from uda.core.manifest import MANIFEST, Manifest, read_manifest
from uda.stages._report.scores import REPORT, Row, Scores, read_row, read_scores
from uda.stages.catalog import stage_names

PARTIAL = ".partial"
_BEGUN = re.compile(r"\.partial(?:\.[^.]*)?$")
"""What a run is made in or set aside in."""
_LEFTOVERS = re.compile(r"\.(?:partial|replaced)(?:\.[^.]*)?$")
"""What a run is made in, set aside in or replaced by."""
_ROUND = re.compile(r"(?:^|/)round_(\d+)(?:/|$)")
_EVALUATION = re.compile(r"^evaluate_|_(?:score|evaluate)$")


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
class Run:
    """One directory of the command line.

    Attributes:
        name: short and unlike that of the other runs.
        directory: as given.
        scores: of its `report.json`, or put together from its evaluations.
        stages: complete stages, in the order of the work.
        unfinished: names of stage directories that are being made, or were left behind by an interruption.
        summed_up: whether `iterate` came to its end and left a `report.json`.
        left: directories of work on its steps that other settings began and left.
        others: what lies there and is no part of the run: steps of an earlier one with other rounds, data or pipeline.
    """

    name: str
    directory: Path
    scores: Scores
    stages: tuple[StageEntry, ...]
    unfinished: tuple[str, ...] = ()
    summed_up: bool = False
    left: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def of(self, stage: str) -> list[StageEntry]:
        """All entries of one kind of stage."""
        return [entry for entry in self.stages if entry.manifest.stage == stage]

    def evaluation(self, row: Row) -> StageEntry | None:
        """The evaluation that a row's scores come from, told by the scores; None where there is none (any more)."""
        for entry in self.of("evaluate"):
            found = _stage_row(entry)
            if found is not None and (found.miou, found.iou) == (row.miou, row.iou):
                return entry
        return None


def read_runs(directories: Sequence[Path], steps: Mapping[str, bool] | None = None) -> list[Run]:
    """Read everything that is to be reported.

    Args:
        directories: of `uda iterate` or of single stages.
        steps: of a run under way, by path below it: whether what lies there counts, or is older and will be made anew.
            None: what `report.json` says; everything where it says nothing.

    Raises:
        DataError: a directory is missing or holds neither a report nor a complete stage; a file cannot be read.
    """
    names = _short_names(directories)
    return [_read_run(directory, name, steps) for directory, name in zip(directories, names, strict=True)]


def _read_run(directory: Path, name: str, steps: Mapping[str, bool] | None) -> Run:
    mend = "give a directory that `uda iterate` or a stage left"
    if not directory.is_dir():
        raise DataError("is no directory" if directory.exists() else "no such directory", directory, mend)
    report = _read_json(directory / REPORT)
    summed_up = "rows" in report
    if not summed_up and (below := _runs_below(directory)):
        raise DataError(f"holds runs, it is none itself: {', '.join(below)}", directory, "name them one by one")
    scores = read_scores(report, directory / REPORT) if summed_up else None
    if steps is None and scores is not None and scores.steps is not None:
        steps = dict.fromkeys(scores.steps, True)
    found, begun = _find_stages(directory)
    stages = [entry for entry in found if steps is None or steps.get(entry.name)]
    made = {entry.name for entry in stages}
    own = [one for one in begun if steps is None or _step(one) in steps]
    unfinished = [_step(one) for one in own if one.endswith(PARTIAL) and _step(one) not in made]
    left = [one for one in own if not one.endswith(PARTIAL) or _step(one) in made]
    if not stages and not summed_up:
        what = "holds no report.json of `uda iterate` and no complete stage"
        raise DataError(f"{what} ({', '.join(unfinished)} unfinished)" if unfinished else what, directory, mend)
    return Run(
        name,
        directory,
        scores or _scores_of_stages(stages),
        tuple(stages),
        tuple(unfinished),
        summed_up,
        left=tuple(left),
        others=() if steps is None else _others([*(entry.name for entry in found), *begun], steps),
    )


def _step(begun: str) -> str:
    """The step that a partial directory, set aside or not, is about."""
    return _BEGUN.sub("", begun)


def _others(there: Sequence[str], steps: Collection[str]) -> tuple[str, ...]:
    """What is no step; the folder alone where it holds no step at all."""
    tops = {step.split("/")[0] for step in steps}
    foreign = [name for name in there if _step(name) not in steps]
    return tuple(sorted({name if (top := name.split("/")[0]) in tops else top for name in foreign}))


def _runs_below(directory: Path) -> list[str]:
    """Names of folders that `iterate` summed up, directly below."""
    return sorted(path.parent.name for path in directory.glob(f"*/{REPORT}") if "rows" in _read_json(path))


def _short_names(directories: Sequence[Path]) -> list[str]:
    """As many last parts of the paths as tell them apart; a directory given twice gets a number."""
    parts = [path.absolute().resolve().parts for path in directories]
    names = ["/".join(one[-1:]) for one in parts]
    for depth in range(2, max((len(one) for one in parts), default=0) + 1):
        if len(set(names)) == len(set(parts)):
            break
        names = ["/".join(one[-depth:]).lstrip("/") for one in parts]
    return [name if names.index(name) == i else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _find_stages(root: Path) -> tuple[list[StageEntry], list[str]]:
    """Complete stages at or below `root`, and directories of begun ones; looks into no stage's own folders."""
    found: list[StageEntry] = []
    begun: list[str] = []
    for folder, below, files in os.walk(root):
        path = Path(folder)
        begun += [(path / one).relative_to(root).as_posix() for one in below if _BEGUN.search(one)]
        below[:] = [] if MANIFEST in files else [one for one in below if not _LEFTOVERS.search(one)]
        # A stage's directory may be a link, to a large disk, say; the walk enters none.
        linked = [path / one for one in below if (path / one).is_symlink()]
        for place in (path, *linked):
            if (place / MANIFEST).is_file() and (manifest := read_manifest(place)) is not None:
                name = place.relative_to(root).as_posix() if place != root else root.absolute().name
                number = _ROUND.search(name)
                found.append(StageEntry(name, place, manifest, int(number[1]) if number else None))
    found.sort(key=_order)
    return found, sorted(begun)


def _order(entry: StageEntry) -> tuple[int, str, int, str]:
    """The order of the work: by round and time; by kind where stages were done within a second."""
    kinds, kind = stage_names(), entry.manifest.stage
    place = kinds.index(kind) if kind in kinds else len(kinds)
    return entry.round or 0, str(entry.manifest.recorded.get("finished", "")), place, entry.name


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        data = json.loads(file.read_text())
    except ValueError as error:
        raise DataError(f"is no JSON ({error})", file, "run `uda iterate` again: it writes it anew") from error
    return data if isinstance(data, dict) else {}


def _scores_of_stages(stages: Sequence[StageEntry]) -> Scores:
    """A row for each evaluation of directories that no `iterate` summed up (single stages, an unfinished loop)."""
    rows = [row for one in stages if one.manifest.stage == "evaluate" and (row := _stage_row(one)) is not None]
    rows.sort(key=_place)
    classes = list(dict.fromkeys(name for row in rows for name in row.iou))
    spaces = {str(space) for one in stages if (space := one.manifest.config.get("label_space"))}
    return Scores(tuple(classes), tuple(rows), label_space=spaces.pop() if len(spaces) == 1 else None)


def _place(row: Row) -> tuple[int, int]:
    """Where a row stands: source only, comparators, rounds in order, oracle."""
    return (2, row.round) if row.round is not None else ({"source only": 0, "oracle": 3}.get(row.name, 1), 0)


def _stage_row(entry: StageEntry) -> Row | None:
    """The scores in an evaluation's manifest; None where they are none."""
    name, number_of_round = _row_name(entry)
    try:
        return read_row({**entry.manifest.metrics, "name": name, "round": number_of_round})
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _row_name(entry: StageEntry) -> tuple[str, int | None]:
    """What the row of an evaluation would be called, by the names of steps that the shipped pipelines use.

    `source_only_score` is `source only`, `round_2/evaluate` is `round 2`; any other step of a round is a comparator.
    """
    step = entry.name if entry.round is None else entry.name.rsplit("/", 1)[-1]
    words = (_EVALUATION.sub("", step) or step).replace("_", " ")
    if entry.round is None:
        return words, None
    return (f"round {entry.round}", entry.round) if step == "evaluate" else (f"{words}, round {entry.round}", None)
