"""Over which classes the rows' mIoU goes: a class that no label has counts as 0 as soon as it is predicted once."""

from __future__ import annotations

import csv

from uda.stages._report.reading import Run, StageEntry
from uda.stages._report.scores import Row
from uda.stages._report.tables import percent, points

_SHOWN = 6
"""So many classes are named."""


def uneven_means(run: Run) -> list[str]:
    """A line where predictions of classes without any label pull rows down, with the scores over the other classes."""
    rows = [row for row in run.scores.rows if row.miou is not None]
    bare = {row.name: _without_label(run, row) for row in rows}
    counted = {row.name: [one for one in _counted(row) if one in bare[row.name]] for row in rows}
    if not any(counted.values()):
        return []
    names = [one for one in run.scores.classes if any(one in own for own in bare.values())]
    listed = ", ".join([*names[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])])
    each = ", ".join(f"{name} {len(own)}" for name, own in counted.items())
    alike = len({tuple(own) for own in counted.values()}) == 1
    parts = [
        f"{len(names)} of {len(run.scores.classes)} classes occur in no label ({listed}); one that is predicted all "
        f"the same counts as 0 in mIoU ({each} of them{'' if alike else ': rows average over different classes'})"
    ]
    if (fair := _over_labelled(run, bare)) is not None:
        parts.append(f"Over the classes that the labels have: {fair}")
    return [". ".join([*parts, "Give the label space that your labels have (--set label_space=FILE)."])]


def _counted(row: Row) -> list[str]:
    """The classes that a row's mean goes over."""
    return [name for name, value in row.iou.items() if value is not None]


def _without_label(run: Run, row: Row) -> set[str]:
    """Classes that no label of the images behind a row has.

    The evaluation counted their pixels. Where it is gone, they are those that all others found none of, and those that
    some row does not count: a class that occurs in labels counts in every row.
    """
    entry = run.evaluation(row)
    if entry is not None and (own := _found_none(entry)) is not None:
        return own
    others = [found for entry in run.of("evaluate") if (found := _found_none(entry)) is not None]
    uncounted = {name for other in run.scores.rows for name, value in other.iou.items() if value is None}
    return uncounted.union(set.intersection(*others) if others else ())


def _found_none(entry: StageEntry) -> set[str] | None:
    """Classes that an evaluation found no labelled pixels of; None where it has no table that says so."""
    table = entry.directory / "iou.csv"
    if not table.is_file():
        return None
    try:
        with table.open(newline="") as opened:
            return {line["class"] for line in csv.DictReader(opened) if int(line["pixels"]) == 0}
    except (KeyError, TypeError, ValueError, csv.Error):
        return None


def _over_labelled(run: Run, bare: dict[str, set[str]]) -> str | None:
    """Source only, result and oracle over the classes that the labels behind all of them have."""
    scores = run.scores
    shown = [row for row in (scores.source_only, scores.result, scores.oracle) if row is not None and row.name in bare]
    shown = list({row.name: row for row in shown}.values())
    names = [one for one in scores.classes if all(one in _counted(row) and one not in bare[row.name] for row in shown)]
    if not names:
        return None
    means = {row.name: sum(row.iou[one] or 0.0 for one in names) / len(names) for row in shown}
    base = means.get("source only")
    parts = []
    for row in shown:
        change = points(means[row.name], base) if row is scores.result and row is not scores.source_only else ""
        parts.append(f"{row.name} {percent(means[row.name])}" + (f" ({change} points)" if change else ""))
    return ", ".join(parts)
