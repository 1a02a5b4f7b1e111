"""`uda report`: one self-contained HTML file about runs or single stages, and the tables of `uda iterate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uda.core.console import Console
from uda.core.errors import ConfigError
from uda.core.manifest import write_atomically
from uda.stages._report.page import render
from uda.stages._report.reading import Run, read_runs
from uda.stages._report.scores import gap_share, read_scores
from uda.stages._report.seeds import scores_table
from uda.stages._report.summary import verdict, warnings
from uda.stages._report.tables import csv_table, text_table

_ENDINGS = (".html", ".htm")


def write_report(directories: Sequence[Path], out: Path, steps: Mapping[str, bool] | None = None) -> Path:
    """Write the page about some directories, whole or not at all; the same directories give the same bytes.

    Args:
        directories: of `uda iterate` (finished or not) or of single stages; several are compared.
        out: the HTML file.
        steps: as `read_runs`, of a run under way.

    Returns:
        The file.

    Raises:
        ConfigError: `out` is no place for an HTML file.
        DataError: a directory is missing or holds nothing to report, or a file in it cannot be read.
    """
    _write(_read(directories, out, steps), out)
    return out


def run_report(directories: Sequence[Path], out: Path, console: Console) -> Path:
    """The same, saying on the way what came out of each run and what is to be known about it.

    Raises:
        ConfigError, DataError: as `write_report`.
    """
    runs = _read(directories, out)
    for run in runs:
        console.say(f"{run.name}: {verdict(run)}")
        for line in warnings(run, runs):
            console.say(f"{run.name}: {line}")
    _write(runs, out)
    return out


def format_seeds(reports: Sequence[Mapping[str, Any]]) -> str:
    """The contents of several seeds' `report.json` as a Markdown table for terminals, mIoU in percent.

    Raises:
        DataError: one is no report of this program.
    """
    return "\n".join(scores_table([read_scores(report) for report in reports]))


def write_iou_csv(report: Mapping[str, Any], path: Path) -> None:
    """Write the rows of a `report.json` as CSV: one line a row, IoU as fractions, empty where a class does not occur.

    Raises:
        DataError: `report` is no report of this program.
    """
    write_atomically(path, csv_table(read_scores(report)).encode())


def format_table(report: Mapping[str, Any]) -> str:
    """The rows of a `report.json` as text: classes as lines, rows as columns, IoU in percent, the gap closed last.

    Raises:
        DataError: `report` is no report of this program.
    """
    return text_table(read_scores(report))


def gap_closed(report: Mapping[str, Any]) -> float | None:
    """The last round's part of the gap, of a `report.json`'s content; None where there is no gap, or no round.

    The last round's: choosing the best by target labels would be selection on the test set.

    Raises:
        DataError: `report` is no report of this program.
    """
    scores = read_scores(report)
    return gap_share(scores, scores.adapted[-1]) if scores.adapted else None


def _read(directories: Sequence[Path], out: Path, steps: Mapping[str, bool] | None = None) -> list[Run]:
    runs = read_runs(directories, steps)
    if out.suffix.lower() not in _ENDINGS or out.is_dir():
        raise ConfigError("is no name of an HTML file", out, "end --out in .html")
    return runs


def _write(runs: Sequence[Run], out: Path) -> None:
    page = render(runs)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError("its folder is a file", out, "choose another --out") from error
    write_atomically(out, page.encode(errors="replace"))  # names on disk need not be text
