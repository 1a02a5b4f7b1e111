"""One run's scores as tables: text for the terminal, CSV, and cells for the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from uda.stages._report.scores import Row, Scores

NOTHING = "-"


@dataclass(frozen=True)
class Cell:
    """A score in a table: percent, change against source only in points, and whether it leads its column."""

    text: str
    change: str = ""
    sign: str = ""
    best: bool = False


@dataclass(frozen=True)
class Column:
    """A column of scores: title, which value of a row it shows, and whether it is a class or a summary."""

    title: str
    value: Callable[[Row], float | None]
    is_class: bool = False


def percent(value: float | None) -> str:
    """A fraction in percent with one decimal; `-` for None."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def points(value: float | None, base: float | None) -> str:
    """The difference of two fractions in percentage points, signed."""
    if value is None or base is None:
        return ""
    difference = round(100 * (value - base), 1)
    return f"{difference:+.1f}" if difference else "0.0"


def subset_title(name: str) -> str:
    """`mIoU16`, or `mIoU rare` where the subset is no number."""
    return f"mIoU{name}" if name.isdigit() else f"mIoU {name}"


def mean_title(scores: Scores) -> str:
    """What the mean that verdicts are about is called."""
    return "mIoU" if scores.mean_over is None else subset_title(scores.mean_over)


def mean_columns(scores: Scores) -> list[Column]:
    """The means over all classes and over subsets, the one that verdicts are about first."""
    found = [Column("mIoU", lambda row: row.miou)]
    found += [Column(subset_title(name), _of_subset(name)) for name in scores.subsets]
    return sorted(found, key=lambda one: one.title != mean_title(scores))


def columns(scores: Scores) -> list[Column]:
    """Summaries first, as they are looked for first; then the classes in index order."""
    summaries = [*mean_columns(scores), Column("pixel acc.", lambda row: row.pixel_accuracy)]
    return summaries + [Column(name, _of_class(name), is_class=True) for name in scores.classes]


def _of_subset(name: str) -> Callable[[Row], float | None]:
    return lambda row: row.subsets.get(name)


def _of_class(name: str) -> Callable[[Row], float | None]:
    return lambda row: row.iou.get(name)


def score_cells(scores: Scores) -> list[tuple[Row, list[Cell]]]:
    """The rows x columns table; the best value of each column is marked, the oracle's left out.

    Source only and comparators contend too: where adaptation does not help a class, the reader sees what does.
    """
    base = scores.source_only
    shown = columns(scores)
    rivals = [row for row in scores.rows if row is not scores.oracle]
    values = [[value for row in rivals if (value := one.value(row)) is not None] for one in shown]
    best = [max(found) if len(set(found)) > 1 else None for found in values]
    table = []
    for row in scores.rows:
        cells = []
        for one, top in zip(shown, best, strict=True):
            value = one.value(row)
            change = points(value, one.value(base)) if base is not None and row is not base else ""
            leads = row in rivals and value is not None and value == top
            cells.append(Cell(percent(value), change, {"+": "up", "-": "down"}.get(change[:1], ""), leads))
        table.append((row, cells))
    return table


def text_table(scores: Scores) -> str:
    """Classes as lines, rows as columns, in percent; the gap closed last."""
    shown = columns(scores)
    lines = [one for one in shown if one.is_class]
    summaries = [one if one.title != "pixel acc." else Column("pixel accuracy", one.value) for one in shown]
    summaries = [one for one in summaries if not one.is_class]
    left = max((len(one.title) for one in (*lines, *summaries)), default=0)
    widths = [max(len(row.name), 6) for row in scores.rows]

    def line(one: Column) -> str:
        values = (percent(one.value(row)).rjust(width) for row, width in zip(scores.rows, widths, strict=True))
        return "  ".join((one.title.ljust(left), *values)).rstrip()

    names = (row.name.rjust(width) for row, width in zip(scores.rows, widths, strict=True))
    head = "  ".join(("IoU [%]".ljust(left), *names)).rstrip()
    rule = "-" * len(head)
    closed = NOTHING if scores.gap_closed is None else f"{percent(scores.gap_closed)} %"
    return "\n".join([head, rule, *map(line, lines), rule, *map(line, summaries), f"gap closed: {closed}"])


def csv_table(scores: Scores) -> str:
    """One line for each row, scores as fractions, empty where there is none; `miou_16` is the mean over a subset."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    subsets = scores.subsets
    writer.writerow(("row", "round", "miou", *(f"miou_{name}" for name in subsets), "pixel_accuracy", *scores.classes))
    for row in scores.rows:
        means = (row.miou, *(row.subsets.get(name) for name in subsets), row.pixel_accuracy)
        writer.writerow((row.name, row.round, *means, *(row.iou.get(name) for name in scores.classes)))
    return buffer.getvalue()
