"""Several runs side by side: their bounds and last rounds, mean and deviation over seeds, differing settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from uda.stages._report.reading import Run
from uda.stages._report.scores import Row, Scores
from uda.stages._report.tables import NOTHING, percent, subset_title
from uda.stages._report.trail import flat, given


@dataclass(frozen=True)
class Compared:
    """One line of the comparison: a run's row, or mean and standard deviation over the seeds of a group."""

    run: str
    pipeline: str
    seed: str
    row: str
    cells: Sequence[str]
    spread: bool = False


def comparison(runs: Sequence[Run]) -> tuple[list[str], list[str], list[Compared]]:
    """Mean and deviation over seeds, then last rounds (and bounds and comparators) of all runs.

    Returns:
        Titles of the summaries, names of all classes, and the lines.
    """
    subsets = list(dict.fromkeys(name for run in runs for name in run.scores.subsets))
    classes = list(dict.fromkeys(name for run in runs for name in run.scores.classes))
    titles = ["gap closed", "mIoU", *(subset_title(name) for name in subsets), "pixel acc."]
    lines = [line for group in seed_groups(runs) for line in _spread_lines(group, subsets, classes)]
    unsure = lost_in_noise(runs)
    lines += [
        Compared(
            run=run.name,
            pipeline=run.scores.pipeline or NOTHING,
            seed=NOTHING if run.scores.seed is None else str(run.scores.seed),
            row=row.name,
            cells=[percent(value) for value in _values(run, row, subsets, classes, with_gap=run.name not in unsure)],
        )
        for run in runs
        for row in _compared_rows(run)
    ]
    return titles, classes, lines


def _compared_rows(run: Run) -> list[Row]:
    """The bounds and the last round; every row where there are no rounds."""
    scores = run.scores
    if not scores.adapted:
        return list(scores.rows)
    last = scores.adapted[-1]
    return [row for row in scores.rows if row.round is None or row is last]


def _values(
    run: Run, row: Row, subsets: Sequence[str], classes: Sequence[str], *, with_gap: bool = True
) -> list[float | None]:
    own = [row.miou, *(row.subsets.get(name) for name in subsets), row.pixel_accuracy]
    closed = run.scores.gap_closed if with_gap and row.round is not None else None
    return [closed, *own, *(row.iou.get(name) for name in classes)]


def seed_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one pipeline with the same settings, data and rows and with different seeds: two at least, one a seed."""
    groups: dict[str, dict[int | None, Run]] = {}
    for run in runs:
        if run.scores.pipeline is not None and run.scores.rows:
            settings = [(step, sorted(own.items())) for step, own in sorted(flat_settings(run).items())]
            names = [row.name for row in _compared_rows(run)]
            data = sorted(given(run).items())
            group = groups.setdefault(repr((run.scores.pipeline, names, settings, data)), {})
            group.setdefault(run.scores.seed, run)
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def _spread_lines(group: Sequence[Run], subsets: Sequence[str], classes: Sequence[str]) -> list[Compared]:
    """Mean and sample standard deviation of each row over a group's runs."""
    rows = [_compared_rows(run) for run in group]
    sure = sure_gaps([run.scores for run in group])
    lines = []
    for same in zip(*rows, strict=True):
        table = [_values(run, row, subsets, classes) for run, row in zip(group, same, strict=True)]
        closed, *values = zip(*table, strict=True)
        lines.append(
            Compared(
                run=f"mean of {len(group)} runs",
                pipeline=str(group[0].scores.pipeline),
                seed=", ".join(str(run.scores.seed) for run in group),
                row=same[0].name,
                cells=[over_seeds([one for one, fits in zip(closed, sure, strict=True) if fits]), *map(spread, values)],
                spread=True,
            )
        )
    return lines


def sure_gaps(seeds: Sequence[Scores]) -> list[bool]:
    """Whether each seed's gap is one: larger than twice the deviation of source only and of the oracle over the seeds.

    Chance alone makes a smaller one, and a part of it is any number, which would drown the other seeds' in a mean.
    """
    bounds = [
        [row.score for row in rows if row is not None and row.score is not None]
        for rows in ([one.source_only for one in seeds], [one.oracle for one in seeds])
    ]
    noise = max(stdev(values) if len(values) > 1 else 0.0 for values in bounds)
    return [one.has_gap and one.gap > 2 * noise for one in seeds]


def lost_in_noise(runs: Sequence[Run]) -> list[str]:
    """Names of the runs whose bounds are too near each other beside other seeds'."""
    groups = [(group, sure_gaps([run.scores for run in group])) for group in seed_groups(runs)]
    pairs = [pair for group, sure in groups for pair in zip(group, sure, strict=True)]
    return [run.name for run, sure in pairs if not sure and run.scores.has_bounds]


def gap_note(seeds: Sequence[object]) -> str:
    """Why the gap closed leaves some seeds out."""
    return (
        f"Gap closed without seed {', '.join(map(str, seeds))}: oracle and source only are no further apart there than "
        "twice their deviation over the seeds, so that a part of the gap says nothing."
    )


def spread(values: Sequence[float | None], *, scale: float = 100.0, decimals: int = 1) -> str:
    """Mean ± sample standard deviation (n - 1), in percent unless scaled otherwise; `-` unless every run has the score.

    Args:
        values: one for each run.
        scale: what values are multiplied by.
        decimals: digits after the point.
    """
    there = [scale * value for value in values if value is not None]
    return f"{mean(there):.{decimals}f} ± {stdev(there):.{decimals}f}" if len(there) == len(values) > 1 else NOTHING


def over_seeds(values: Sequence[float | None], *, scale: float = 100.0, decimals: int = 1) -> str:
    """As `spread`; the value alone where there is one."""
    if len(values) != 1:
        return spread(values, scale=scale, decimals=decimals)
    return NOTHING if values[0] is None else f"{scale * values[0]:.{decimals}f}"


def flat_settings(run: Run) -> dict[str, dict[str, str]]:
    """Settings that matter by step and dotted key, without seeds; a stage on its own is its own step."""
    alone = len(run.stages) == 1
    return {
        entry.manifest.stage if alone else entry.name: {
            key: value for key, value in flat(entry.manifest.settings) if key != "seed"
        }
        for entry in run.stages
    }


def alike(first: Run, other: Run) -> bool:
    """Whether two runs have a step in common, so that their settings can be laid side by side."""
    return bool(set(flat_settings(first)) & set(flat_settings(other)))


def differences(first: Run, other: Run) -> list[str]:
    """What two runs differ in, one line for each setting and for each thing they were given."""
    before, after = flat_settings(first), flat_settings(other)
    lines = [f"without {step}" for step in sorted(set(before) - set(after))]
    lines += [f"with {step}" for step in sorted(set(after) - set(before))]
    for step in sorted(set(before) & set(after)):
        for key in sorted(set(before[step]) | set(after[step])):
            old, new = before[step].get(key, "default"), after[step].get(key, "default")
            if old != new:
                lines.append(f"{step}: {key} {old} → {new}")
    data, own = given(first), given(other)
    return lines + [f"{name}: other data" for name in sorted(set(data) & set(own)) if data[name] != own[name]]
