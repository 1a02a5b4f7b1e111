"""Runs of one pipeline with several seeds as Markdown tables: mean and sample standard deviation, row by row."""

from __future__ import annotations

from collections.abc import Sequence

from uda.stages._report.comparison import gap_note, over_seeds, sure_gaps
from uda.stages._report.scores import Row, Scores, gap_share
from uda.stages._report.tables import mean_title, percent

_BOUNDS = ("source only", "oracle")


def scores_table(runs: Sequence[Scores]) -> list[str]:
    """One line a row: mIoU of each seed, their mean and deviation, and how much of the gap that closes, in percent.

    A note follows where the gap of some seeds is lost in noise.
    """
    sure = sure_gaps(runs)
    lines = [
        f"| row | {' | '.join(f'seed {run.seed}' for run in runs)} | {mean_title(runs[0])} | gap closed |",
        f"|---|{'---|' * (len(runs) + 2)}",
    ]
    for name, rows in common_rows(runs).items():
        scores = [row.score for row in rows]
        bound = name in _BOUNDS
        shares = [gap_share(run, row) for run, row, fits in zip(runs, rows, sure, strict=True) if fits]
        closed = "" if bound else over_seeds(shares)
        lines.append(f"| {' | '.join([name, *map(percent, scores), over_seeds(scores), closed])} |")
    unsure = [run.seed for run, fits in zip(runs, sure, strict=True) if run.has_bounds and not fits]
    noted = len(runs) > 1 and unsure and set(common_rows(runs)) - set(_BOUNDS)
    return [*lines, "", gap_note(unsure)] if noted else lines


def classes_table(runs: Sequence[Scores]) -> list[str]:
    """One line a class: mean IoU over the seeds of each row, in percent."""
    common = common_rows(runs)
    lines = [f"| IoU [%] | {' | '.join(common)} |", f"|---|{'---|' * len(common)}"]
    for one in runs[0].classes:
        cells = [over_seeds([row.iou[one] for row in rows]).split(" ")[0] for rows in common.values()]
        lines.append(f"| {' | '.join([one, *cells])} |")
    return lines


def common_rows(runs: Sequence[Scores]) -> dict[str, list[Row]]:
    """The rows that every run has, by name."""
    found = {row.name: [run.find(row.name) for run in runs] for row in runs[0].rows}
    return {name: [row for row in rows if row] for name, rows in found.items() if all(rows)}
