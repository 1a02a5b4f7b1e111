"""Scores of a run: the content of `report.json`, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from uda.core.errors import DataError

REPORT = "report.json"


@dataclass(frozen=True)
class Row:
    """Scores of one evaluation, as fractions; None where a score does not exist.

    Attributes:
        name: as in tables.
        round: None for what is no round: the bounds (source only, oracle) and comparators (another method's rows).
        miou: mean over the label space.
        pixel_accuracy: correct pixels of all labelled ones.
        iou: by class.
        subsets: means over subsets of the classes, by name.
        mean_over: the subset whose mean is the one to look at; None: all classes.
    """

    name: str
    round: int | None
    miou: float | None
    pixel_accuracy: float | None
    iou: Mapping[str, float | None]
    subsets: Mapping[str, float | None]
    mean_over: str | None = None

    @property
    def score(self) -> float | None:
        """The mean that verdicts and the gap closed are about."""
        return self.miou if self.mean_over is None else self.subsets.get(self.mean_over)


@dataclass(frozen=True)
class Scores:
    """The content of an `iterate` run's `report.json`, checked; or what its evaluations say where there is none.

    Attributes:
        classes: names in index order.
        rows: in the order they are shown in.
        gap_closed: part of the way from source only to oracle that the last round went, as `iterate` said it; None
            where the oracle is no better than source only, for then there is no gap.
        pipeline: as it was named on the command line; None where nothing was summed up.
        seed: of the run.
        label_space: a shipped name or a path, as the run was told.
        published: key of the comparable published rows.
        mean_over: the subset whose mean verdicts and the gap closed are about, where the source lacks classes; None:
            all classes.
        steps: paths of the run's steps below its directory; None where the report is older than that.
        segmenter: path of the last round's segmenter there.
        data: one's own manifests, a line for each.
    """

    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    gap_closed: float | None = None
    pipeline: str | None = None
    seed: int | None = None
    label_space: str | None = None
    published: str | None = None
    mean_over: str | None = None
    steps: tuple[str, ...] | None = None
    segmenter: str | None = None
    data: tuple[str, ...] = ()

    def find(self, name: str) -> Row | None:
        """The row called `name`."""
        return next((row for row in self.rows if row.name == name), None)

    @property
    def source_only(self) -> Row | None:
        """The lower bound."""
        return self.find("source only")

    @property
    def oracle(self) -> Row | None:
        """The upper bound, trained with target labels."""
        return self.find("oracle")

    @property
    def has_bounds(self) -> bool:
        """Whether there are both."""
        return self.source_only is not None and self.oracle is not None

    @property
    def gap(self) -> float:
        """How much better the oracle is than source only; 0 where one of them is missing."""
        low, high = self.source_only, self.oracle
        return 0.0 if low is None or high is None else (high.score or 0.0) - (low.score or 0.0)

    @property
    def has_gap(self) -> bool:
        """Whether the oracle is better than source only."""
        return self.gap > 0

    @property
    def result(self) -> Row | None:
        """The last round: it is the result, whatever round scored best. Without rounds the last row but the oracle."""
        others = [row for row in self.rows if row.name != "oracle"]
        return next(iter([*self.adapted[-1:], *others[-1:], *self.rows]), None)

    @property
    def adapted(self) -> list[Row]:
        """Rows of rounds, in order."""
        return sorted((row for row in self.rows if row.round is not None), key=lambda row: row.round or 0)

    @property
    def subsets(self) -> list[str]:
        """Names of all subsets, largest number first."""
        found = {name for row in self.rows for name in row.subsets}
        return sorted(found, key=lambda name: (-int(name) if name.isdigit() else 0, name))


def gap_share(run: Scores, row: Row) -> float | None:
    """(row - source only) / (oracle - source only); None where the oracle is no better."""
    low = run.source_only
    if not run.has_gap or low is None or row.score is None:
        return None
    return (row.score - (low.score or 0.0)) / run.gap


def read_scores(report: Mapping[str, Any], where: object = REPORT) -> Scores:
    """Check the content of a `report.json`.

    Raises:
        DataError: a key is missing or holds something else.
    """
    try:
        mean_over = _text(report.get("mean_over"))
        scores = Scores(
            classes=tuple(str(name) for name in report["classes"]),
            rows=tuple(replace(read_row(one), mean_over=mean_over) for one in report["rows"]),
            gap_closed=number(report.get("gap_closed")),
            pipeline=_text(report.get("pipeline")),
            seed=None if report.get("seed") is None else int(report["seed"]),
            label_space=_text(report.get("label_space")),
            published=_text(report.get("published")),
            mean_over=mean_over,
            steps=None if report.get("steps") is None else tuple(str(one) for one in report["steps"]),
            segmenter=_text(report.get("segmenter")),
            data=tuple(_data_line(name, one) for name, one in (report.get("data") or {}).items()),
        )
        return scores if scores.has_gap else replace(scores, gap_closed=None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"is no report of this program ({type(error).__name__}: {error})"
        raise DataError(what, where, "run `uda iterate` again: it writes it anew") from error


def read_row(data: Mapping[str, Any]) -> Row:
    """One row, checked.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: a key is missing or holds something else.
    """
    return Row(
        name=str(data["name"]),
        round=None if data.get("round") is None else int(data["round"]),
        miou=number(data["miou"]),
        pixel_accuracy=number(data.get("pixel_accuracy")),
        iou={str(name): number(value) for name, value in data["iou"].items()},
        subsets={str(name): number(value) for name, value in data.get("subsets", {}).items()},
    )


def number(value: Any) -> float | None:
    """A finite number, or None: JSON's null and the NaN of a mean over nothing."""
    return None if value is None or not math.isfinite(float(value)) else float(value)


def _data_line(name: str, one: Mapping[str, Any]) -> str:
    count = "" if one.get("images") is None else f", {one['images']} images, {one['labelled']} labelled"
    return f"{name}: {one['path']}{count}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
