"""Sections of a run on the page, as plain values for the template: classes, pseudo-labels, published rows, timings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uda.core.console import duration
from uda.core.errors import ConfigError
from uda.stages._report.published import MARKS, PublishedGroup, PublishedRow, obstacle, published_group
from uda.stages._report.reading import Run
from uda.stages._report.scores import Row, number
from uda.stages._report.tables import NOTHING, percent, points
from uda.stages._report.trail import Step


@dataclass(frozen=True)
class ClassLine:
    """One class's way from source only to the last round, on a scale of 0 to 100.

    Attributes:
        name: of the class.
        marks: kind (base, result, oracle) and place in percent.
        start: where the bar begins.
        width: how long it is.
        value: the last round's, in percent.
        text: the values in words.
        change: in points, signed.
        sign: `up`, `down` or nothing.
    """

    name: str
    marks: tuple[tuple[str, float], ...]
    start: float
    width: float
    value: str
    text: str
    change: str
    sign: str


def class_lines(run: Run) -> list[ClassLine]:
    """A line for each class that the result has a score of."""
    scores = run.scores
    result = scores.result
    if result is None:
        return []
    base = scores.source_only if result is not scores.source_only else None
    oracle = scores.oracle if result is not scores.oracle else None
    shown = [("base", base), ("result", result), ("oracle", oracle)]
    return [_class_line(name, [(kind, row) for kind, row in shown if row is not None]) for name in scores.classes]


def _class_line(name: str, shown: Sequence[tuple[str, Row]]) -> ClassLine:
    values = {kind: row.iou.get(name) for kind, row in shown}
    marks = tuple((kind, round(100 * value, 2)) for kind, value in values.items() if value is not None)
    base, result = values.get("base"), values["result"]
    ends = [100 * (base or 0.0), 100 * (result if result is not None else base or 0.0)]
    change = points(result, base)
    text = ", ".join(f"{row.name} {percent(row.iou.get(name))}" for _, row in shown)
    sign = {"+": "up", "-": "down"}.get(change[:1], "")
    start, width = round(min(ends), 2), round(max(ends) - min(ends), 2)
    return ClassLine(name, marks, start, width, percent(result), text, change, sign)


@dataclass(frozen=True)
class PseudoLabels:
    """Thresholds and coverage: stages with their whole coverage, and classes with threshold, coverage and bar width."""

    stages: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[tuple[str, str, float], ...]], ...]


def pseudo_labels(run: Run) -> PseudoLabels | None:
    """What the pseudo-label stages of a run believed; None where there are none."""
    entries = run.of("pseudo-label")
    tables: list[Mapping[str, Any]] = [entry.manifest.metrics.get("classes") or {} for entry in entries]
    if not any(tables):
        return None
    names = list(dict.fromkeys(name for table in tables for name in table))
    stages = tuple((entry.name, percent(number(entry.manifest.metrics.get("coverage")))) for entry in entries)
    rows = tuple((name, tuple(_believed(table.get(name) or {}) for table in tables)) for name in names)
    return PseudoLabels(stages, rows)


def _believed(one: Mapping[str, Any]) -> tuple[str, str, float]:
    threshold, coverage = number(one.get("threshold")), number(one.get("coverage"))
    return NOTHING if threshold is None else f"{threshold:.3f}", percent(coverage), round(100 * (coverage or 0.0), 1)


_BOUNDS = {"source only": "lower bound", "oracle": "upper bound"}


@dataclass(frozen=True)
class PublishedLine:
    """One line among the published rows.

    Attributes:
        method: its name.
        network: where it is not the group's.
        miou: in percent.
        cells: IoU by class; none where they were not published.
        certainty: what kind of place the number was read in, or that it was not.
        origin: number of the place in the list of origins; None for this run's result.
        kind: of a bound.
        own: whether it is this run's result.
        confirmed: whether the number was read at its origin.
    """

    method: str
    network: str
    miou: str
    cells: tuple[str, ...]
    certainty: str
    origin: int | None
    kind: str = ""
    own: bool = False
    confirmed: bool = True


@dataclass(frozen=True)
class Published:
    """Published rows beside a run, by the number of classes in their mean.

    Attributes:
        title: data sets and network.
        columns: class names.
        blocks: number of classes, and lines from the lowest to the highest mean.
        origins: where the numbers were read.
        obstacle: why they cannot be compared with the run; None where they can.
    """

    title: str
    columns: tuple[str, ...]
    blocks: tuple[tuple[int, tuple[PublishedLine, ...]], ...]
    origins: tuple[str, ...]
    obstacle: str | None


def published(run: Run) -> tuple[Published | None, str | None]:
    """The published rows that the pipeline names, or a warning where there is no such group."""
    if run.scores.published is None:
        return None, None
    try:
        group = published_group(run.scores.published)
    except ConfigError as error:
        return None, f"The pipeline's published rows are not shown: {error}."
    hindered = obstacle(run, group)
    counts = sorted({row.classes for row in group.rows}, reverse=True)
    blocks = tuple((count, _block(run, group, count, comparable=hindered is None)) for count in counts)
    title = f"{group.source} → {group.target}, {group.network}"
    return Published(title, group.columns, blocks, _origins(group), hindered), None


def _origins(group: PublishedGroup) -> tuple[str, ...]:
    """The places of a group's numbers, each once."""
    return tuple(dict.fromkeys(row.origin for row in group.rows))


def _block(run: Run, group: PublishedGroup, count: int, *, comparable: bool) -> tuple[PublishedLine, ...]:
    lines = [(row.miou, _published_line(group, row)) for row in group.rows if row.classes == count]
    result = run.scores.result
    value = None if result is None else _mean_over(run, result, count)
    if comparable and result is not None and value is not None:
        left_out = _left_out(group, count)
        cells = tuple(NOTHING if name in left_out else percent(result.iou.get(name)) for name in group.columns)
        name, network = f"{run.name}: {result.name}", _network(run)
        own = PublishedLine(name, network, percent(value), cells, "this run", None, own=True)
        lines.append((100 * value, own))
    places = {"lower bound": 0, "upper bound": 2}
    return tuple(line for _, line in sorted(lines, key=lambda one: (places.get(one[1].kind, 1), one[0])))


def _left_out(group: PublishedGroup, count: int) -> set[str]:
    """Columns that none of the rows over so many classes has a value in."""
    rows = [row.iou for row in group.rows if row.classes == count and row.iou is not None]
    return {name for name, *values in zip(group.columns, *rows, strict=True) if rows and set(values) == {None}}


def _network(run: Run) -> str:
    """The run's last segmenter by its settings' name, and by what they name of its parts."""
    *_, last = [entry.manifest.config.get("segmenter") or {} for entry in run.of("segment")] or [{}]
    return ", ".join(str(last[key]) for key in ("name", "architecture", "encoder") if last.get(key))


def _published_line(group: PublishedGroup, row: PublishedRow) -> PublishedLine:
    return PublishedLine(
        method=row.method,
        network=row.network or "",
        miou=f"{row.miou:.1f}",
        cells=tuple(NOTHING if value is None else f"{value:.1f}" for value in row.iou or ()),
        certainty=MARKS[row.mark] if row.confirmed else "not checked",
        origin=_origins(group).index(row.origin) + 1,
        kind=_BOUNDS.get(row.bound or "", ""),
        confirmed=row.confirmed,
    )


def _mean_over(run: Run, row: Row, count: int) -> float | None:
    """The run's mean over so many classes, where it has one."""
    return row.miou if count == len(run.scores.classes) else row.subsets.get(str(count))


@dataclass(frozen=True)
class Timing:
    """One line of the timings: step, time, its part of the longest in percent, why it ran, when it was done."""

    name: str
    time: str
    width: float
    reason: str
    finished: str


def timings(steps: Sequence[Step]) -> tuple[list[Timing], str]:
    """How long each step took and why it ran; and the sum."""
    known = [step.seconds for step in steps if step.seconds is not None]
    longest = max([*known, 1e-9])
    lines = [
        Timing(
            name=step.entry.name,
            time=step.time,
            width=round(100 * (step.seconds or 0.0) / longest, 1),
            reason=step.entry.manifest.reason,
            finished=str(step.entry.manifest.recorded.get("finished", NOTHING)).replace("T", " "),
        )
        for step in steps
    ]
    return lines, duration(sum(known))
