"""Markdown tables of several runs of `uda iterate`: mean and sample standard deviation over seeds, row by row.

python tools/results_table.py runs/full/seed_0 runs/full/seed_1 runs/full/seed_2 [--classes]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from uda.stages._report.scores import REPORT, read_scores
from uda.stages._report.seeds import classes_table, scores_table


def main() -> None:
    """Print a table of the runs given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories with a report.json, one for each seed")
    parser.add_argument("--classes", action="store_true", help="a table of classes too")
    options = parser.parse_args()
    runs = [read_scores(json.loads((run / REPORT).read_text()), run / REPORT) for run in options.runs]
    print("\n".join(scores_table(runs)))
    if options.classes:
        print()
        print("\n".join(classes_table(runs)))


if __name__ == "__main__":
    main()
