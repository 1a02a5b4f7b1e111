"""Markdown tables of several runs of `uda iterate`: mean and sample standard deviation over seeds, row by row.

python tools/results_table.py runs/full/seed_0 runs/full/seed_1 runs/full/seed_2 [--classes]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from uda.core.errors import ConfigError, DataError, UdaError
from uda.stages._report.scores import REPORT, Scores, read_scores
from uda.stages._report.seeds import classes_table, scores_table


def read(run: Path) -> Scores:
    """The scores in a run's `report.json`.

    Raises:
        DataError: there is none, or it is none of this program.
    """
    mend = "give a directory that `uda iterate` came to the end of"
    try:
        report = json.loads((run / REPORT).read_text())
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", run / REPORT, mend) from error
    except ValueError as error:
        raise DataError(f"is no JSON ({error})", run / REPORT, mend) from error
    if not isinstance(report, dict):
        raise DataError("is no report of this program", run / REPORT, mend)
    return read_scores(report, run / REPORT)


def check_seeds(folders: Sequence[Path], runs: Sequence[Scores]) -> None:
    """See that the runs are one pipeline over one label space, each with a seed of its own.

    Raises:
        ConfigError: they are not, and a mean over them would mean nothing.
    """
    seen: dict[int | None, Path] = {}
    for folder, run in zip(folders, runs, strict=True):
        for what in ("pipeline", "label_space", "classes"):
            mine, first = (getattr(one, what) for one in (run, runs[0]))
            if mine != first:
                told = "other classes" if what == "classes" else f"{what.replace('_', ' ')} {mine}, not {first}"
                raise ConfigError(f"has {told} as {folders[0]}", folder, "average seeds of one pipeline")
        if run.seed in seen:
            raise ConfigError(f"has the seed {run.seed} of {seen[run.seed]}", folder, "give each seed once")
        seen[run.seed] = folder


def main() -> None:
    """Print a table of the runs given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories with a report.json, one for each seed")
    parser.add_argument("--classes", action="store_true", help="a table of classes too")
    options = parser.parse_args()
    try:
        runs = [read(run) for run in options.runs]
        check_seeds(options.runs, runs)
    except UdaError as error:
        print(f"results_table.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print("\n".join(scores_table(runs)))
    if options.classes:
        print()
        print("\n".join(classes_table(runs)))


if __name__ == "__main__":
    main()
