"""Markdown tables of several runs of `uda iterate`: mean and sample standard deviation over seeds, row by row.

python tools/results_table.py runs/full_0 runs/full_1 runs/full_2 [--classes]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any


def main() -> None:
    """Print a table of the runs given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories with a report.json, one for each seed")
    parser.add_argument("--classes", action="store_true", help="a table of classes too")
    options = parser.parse_args()
    reports = [json.loads((run / "report.json").read_text()) for run in options.runs]
    print("\n".join(scores_table(reports)))
    if options.classes:
        print()
        print("\n".join(classes_table(reports)))


def scores_table(reports: list[dict[str, Any]]) -> list[str]:
    """One line a row: mIoU of each seed, their mean and deviation, and how much of the gap that closes."""
    seeds = [str(report["seed"]) for report in reports]
    lines = [
        f"| row | {' | '.join(f'seed {seed}' for seed in seeds)} | mIoU | gap closed |",
        f"|---|{'---|' * (len(seeds) + 2)}",
    ]
    for name in row_names(reports):
        scores = [100 * find(report, name)["miou"] for report in reports]
        closed = [100 * share for report in reports if (share := gap_share(report, name)) is not None]
        cells = [*(f"{score:.1f}" for score in scores), spread(scores), f"{spread(closed)} %" if closed else ""]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def classes_table(reports: list[dict[str, Any]]) -> list[str]:
    """One line a class: mean IoU over the seeds of each row."""
    names = row_names(reports)
    lines = [f"| IoU [%] | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for one in reports[0]["classes"]:
        cells = []
        for name in names:
            values = [find(report, name)["iou"][one] for report in reports]
            known = [100 * value for value in values if value is not None]
            cells.append(f"{mean(known):.1f}" if known else "-")
        lines.append(f"| {one} | {' | '.join(cells)} |")
    return lines


def row_names(reports: list[dict[str, Any]]) -> list[str]:
    """Names of the rows that every run has."""
    return [row["name"] for row in reports[0]["rows"] if all(has(report, row["name"]) for report in reports)]


def has(report: dict[str, Any], name: str) -> bool:
    """Whether a run has a row of this name."""
    return any(row["name"] == name for row in report["rows"])


def find(report: dict[str, Any], name: str) -> dict[str, Any]:
    """A run's row."""
    return next(dict(row) for row in report["rows"] if row["name"] == name)


def gap_share(report: dict[str, Any], name: str) -> float | None:
    """(row - source only) / (oracle - source only); None for the bounds themselves."""
    if name in ("source only", "oracle") or not (has(report, "source only") and has(report, "oracle")):
        return None
    low, high = float(find(report, "source only")["miou"]), float(find(report, "oracle")["miou"])
    return (float(find(report, name)["miou"]) - low) / (high - low) if high != low else None


def spread(values: list[float]) -> str:
    """Mean ± sample standard deviation; the value alone where there is one."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{mean(values):.1f}"


if __name__ == "__main__":
    main()
